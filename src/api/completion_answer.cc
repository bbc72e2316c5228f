#include "api/completion_answer.h"

#include <algorithm>
#include <utility>

#include "http/event_stream.h"

namespace infer::api {

namespace {

constexpr const char* kEndOfStream = "data: [DONE]\n\n";

std::string event_of(const Json& data) { return http::event_text({.type = {}, .data = data.dump(), .id = {}}); }

}  // namespace

Json CompletionAnswer::head() const {
  return Json::object()
      .set("id", "cmpl-" + options_.facts.id)
      .set("object", "text_completion")
      .set("created", options_.facts.created)
      .set("model", options_.facts.model)
      .set("system_fingerprint", nullptr);
}

void CompletionAnswer::note_logprobs(State& state, const sampling::Logprobs& logprobs) {
  const Json one = logprob_json(logprobs, tokenizer_);
  state.logprobs.tokens.push(*one.find("token"));
  state.logprobs.logprobs.push(*one.find("logprob"));
  Json top = Json::object();
  for (const Json& each : one.find("top_logprobs")->elements()) {
    top.set(each.find("token")->as_string().value_or(""), *each.find("logprob"));
  }
  state.logprobs.top.push(std::move(top));
  state.logprobs.offsets.push(state.offset);
  state.offset += tokenizer_.piece(logprobs.chosen.token, false).size();
}

Json CompletionAnswer::logprobs_of(State& state) const {
  if (!options_.has_logprobs) return {};
  LogprobLists lists = std::exchange(state.logprobs, LogprobLists());
  return Json::object()
      .set("tokens", std::move(lists.tokens))
      .set("token_logprobs", std::move(lists.logprobs))
      .set("top_logprobs", std::move(lists.top))
      .set("text_offset", std::move(lists.offsets));
}

// `result`: of the choice that ends with this event; null within one.
std::string CompletionAnswer::event(size_t choice, std::string text, const engine::RequestResult* result) {
  Json one = Json::object();
  one.set("text", std::move(text))
      .set("index", choice)
      .set("logprobs", logprobs_of(states_[choice]))
      .set("finish_reason", result != nullptr ? Json(finish_reason_of(*result)) : Json());
  Json chunk = head().set("choices", Json::array().push(std::move(one)));
  if (options_.includes_usage) chunk.set("usage", nullptr);
  if (result != nullptr) {
    chunk.set("timings", timings_json(*result)).set("infer_os", infer_os_json(options_.facts, *result));
  }
  return event_of(chunk);
}

std::string CompletionAnswer::add(size_t choice, engine::AnswerPiece piece) {
  State& state = states_[choice];
  if (piece.logprobs && options_.has_logprobs) note_logprobs(state, *piece.logprobs);
  if (!options_.is_stream) {
    state.text += piece.text;
    return {};
  }
  if (piece.text.empty()) return {};
  if (options_.has_logprobs) return event(choice, std::move(piece.text), nullptr);
  if (!state.within) state.within.emplace(event(choice, TextEvent::kPlace, nullptr));
  return state.within->with(piece.text);
}

std::string CompletionAnswer::end_choice(size_t choice, const engine::RequestResult& result) {
  states_[choice].result = result;
  usage_.add(result, choice % options_.choices_per_prompt > 0);
  return options_.is_stream ? event(choice, "", &result) : std::string();
}

std::string CompletionAnswer::end() {
  std::string events;
  if (options_.includes_usage) {
    events = event_of(head().set("choices", Json::array()).set("usage", usage_json(usage_)));
  }
  return events + kEndOfStream;
}

std::string CompletionAnswer::failed(const ApiError& error) { return event_of(error_json(error)) + kEndOfStream; }

Json CompletionAnswer::whole() {
  Json choices = Json::array();
  for (size_t i = 0; i < states_.size(); ++i) {
    State& state = states_[i];
    Json one = Json::object();
    one.set("text", std::move(state.text))
        .set("index", i)
        .set("logprobs", logprobs_of(state))
        .set("finish_reason", finish_reason_of(*state.result));
    if (states_.size() > 1) one.set("infer_os", infer_os_json(options_.facts, *state.result));
    choices.push(std::move(one));
  }
  const engine::RequestResult& result = *states_.front().result;
  return head()
      .set("choices", std::move(choices))
      .set("usage", usage_json(usage_))
      .set("timings", timings_json(result))
      .set("infer_os", infer_os_json(options_.facts, result));
}

}  // namespace infer::api
