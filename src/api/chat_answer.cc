#include "api/chat_answer.h"

#include <utility>

#include "base/format.h"
#include "http/event_stream.h"

namespace infer::api {

namespace {

constexpr const char* kEndOfStream = "data: [DONE]\n\n";

std::string event_of(const Json& data) { return http::event_text({.type = {}, .data = data.dump(), .id = {}}); }

Json tool_call_json(const chat::ToolCall& call) {
  return Json::object()
      .set("id", call.id)
      .set("type", "function")
      .set("function", Json::object().set("name", call.name).set("arguments", call.arguments));
}

}  // namespace

ChatAnswer::ChatAnswer(ChatAnswerOptions options, const tokenizer::Tokenizer& tokenizer)
    : options_(std::move(options)), tokenizer_(tokenizer) {
  for (size_t i = 0; i < options_.choices; ++i) {
    states_.push_back({.parser = chat::AnswerParser(options_.parser), .result = std::nullopt});
  }
}

Json ChatAnswer::head(std::string_view object) const {
  return Json::object()
      .set("id", "chatcmpl-" + options_.facts.id)
      .set("object", object)
      .set("created", options_.facts.created)
      .set("model", options_.facts.model)
      .set("system_fingerprint", nullptr);
}

// `result`: of the choice that ends with this event; null within one.
std::string ChatAnswer::event(Json choices, std::optional<Json> usage, const engine::RequestResult* result) const {
  Json chunk = head("chat.completion.chunk");
  chunk.set("choices", std::move(choices));
  if (usage) {
    chunk.set("usage", *std::move(usage));
  } else if (options_.includes_usage) {
    chunk.set("usage", nullptr);
  }
  if (result != nullptr) {
    chunk.set("timings", timings_json(*result)).set("infer_os", infer_os_json(options_.facts, *result));
  }
  return event_of(chunk);
}

Json ChatAnswer::logprobs_of(State& state) const {
  if (!options_.has_logprobs) return {};
  return Json::object().set("content", std::exchange(state.logprobs, Json::array())).set("refusal", nullptr);
}

std::string ChatAnswer::delta_event(size_t choice, Json delta) {
  Json one = Json::object();
  one.set("index", choice)
      .set("delta", std::move(delta))
      .set("logprobs", logprobs_of(states_[choice]))
      .set("finish_reason", nullptr);
  return event(Json::array().push(std::move(one)), std::nullopt, nullptr);
}

std::string ChatAnswer::content_event(size_t choice, std::string content) {
  const auto make = [&](std::string text) {
    return delta_event(choice, Json::object().set("content", std::move(text)));
  };
  if (options_.has_logprobs) return make(std::move(content));
  std::optional<TextEvent>& event = states_[choice].content_event;
  if (!event) event.emplace(make(TextEvent::kPlace));
  return event->with(content);
}

std::string ChatAnswer::begin() {
  std::string events;
  for (size_t i = 0; options_.is_stream && i < states_.size(); ++i) {
    events += delta_event(i, Json::object().set("role", "assistant").set("content", ""));
  }
  return events;
}

// Parts of an answer go out, or are kept until the end.
std::string ChatAnswer::take(size_t choice, chat::AnswerParser::Parts parts) {
  State& state = states_[choice];
  std::string events;
  Json calls = Json::array();
  for (chat::ToolCall& call : parts.tool_calls) {
    const size_t index = state.tool_calls.size();
    if (call.id.empty()) call.id = format("call_{}_{}_{}", options_.facts.id, choice, index);
    calls.push(tool_call_json(call).set("index", index));
    state.tool_calls.push_back(std::move(call));
  }
  if (!options_.is_stream) {
    state.content += parts.content;
    state.reasoning += parts.reasoning;
    return events;
  }
  if (!parts.reasoning.empty()) {
    events += delta_event(choice, Json::object().set("reasoning_content", std::move(parts.reasoning)));
  }
  if (!parts.content.empty()) events += content_event(choice, std::move(parts.content));
  if (!calls.elements().empty()) events += delta_event(choice, Json::object().set("tool_calls", std::move(calls)));
  return events;
}

std::string ChatAnswer::add(size_t choice, engine::AnswerPiece piece) {
  if (piece.logprobs && options_.has_logprobs) {
    states_[choice].logprobs.push(logprob_json(*piece.logprobs, tokenizer_));
  }
  return take(choice, states_[choice].parser.push(piece.text));
}

std::string_view ChatAnswer::finish_reason(const State& state) const {
  const std::string_view reason = finish_reason_of(*state.result);
  return reason == "stop" && !state.tool_calls.empty() ? "tool_calls" : reason;
}

std::string ChatAnswer::end_choice(size_t choice, const engine::RequestResult& result) {
  State& state = states_[choice];
  std::string events = take(choice, state.parser.finish());
  state.result = result;
  usage_.add(result, choice > 0);
  if (!options_.is_stream) return events;
  Json one = Json::object();
  one.set("index", choice)
      .set("delta", Json::object())
      .set("logprobs", logprobs_of(state))
      .set("finish_reason", finish_reason(state));
  return events + event(Json::array().push(std::move(one)), std::nullopt, &result);
}

std::string ChatAnswer::end() {
  std::string events;
  if (options_.includes_usage) events += event(Json::array(), usage_json(usage_), nullptr);
  return events + kEndOfStream;
}

std::string ChatAnswer::failed(const ApiError& error) { return event_of(error_json(error)) + kEndOfStream; }

Json ChatAnswer::message_of(const State& state) const {
  Json message = Json::object().set("role", "assistant");
  // A call without words has no content at all.
  message.set("content", state.content.empty() && !state.tool_calls.empty() ? Json() : Json(state.content));
  message.set("refusal", nullptr);
  if (!state.reasoning.empty()) message.set("reasoning_content", state.reasoning);
  if (!state.tool_calls.empty()) {
    Json calls = Json::array();
    for (const chat::ToolCall& call : state.tool_calls) calls.push(tool_call_json(call));
    message.set("tool_calls", std::move(calls));
  }
  return message;
}

Json ChatAnswer::whole() {
  Json choices = Json::array();
  for (size_t i = 0; i < states_.size(); ++i) {
    State& state = states_[i];
    Json one = Json::object();
    one.set("index", i)
        .set("message", message_of(state))
        .set("logprobs", logprobs_of(state))
        .set("finish_reason", finish_reason(state));
    if (states_.size() > 1) one.set("infer_os", infer_os_json(options_.facts, *state.result));
    choices.push(std::move(one));
  }
  const engine::RequestResult& result = *states_.front().result;
  return head("chat.completion")
      .set("choices", std::move(choices))
      .set("usage", usage_json(usage_))
      .set("timings", timings_json(result))
      .set("infer_os", infer_os_json(options_.facts, result));
}

}  // namespace infer::api
