#include "api/responses_answer.h"

#include <utility>

#include "base/format.h"
#include "http/event_stream.h"

namespace infer::api {

namespace {

Json output_text(std::string_view text, Json logprobs) {
  return Json::object()
      .set("type", "output_text")
      .set("text", text)
      .set("annotations", Json::array())
      .set("logprobs", std::move(logprobs));
}

Json usage_of(const engine::RequestResult& result, int64_t reasoning_tokens) {
  return Json::object()
      .set("input_tokens", result.prompt_tokens)
      .set("input_tokens_details", Json::object().set("cached_tokens", result.cached_tokens))
      .set("output_tokens", result.generated_tokens)
      .set("output_tokens_details", Json::object().set("reasoning_tokens", reasoning_tokens))
      .set("total_tokens", result.prompt_tokens + result.generated_tokens);
}

// What kept an answer from being complete, in the API's words where it has one.
std::string_view incomplete_reason(const engine::RequestResult& result) {
  return result.finish_reason == engine::FinishReason::kLength ? "max_output_tokens"
                                                               : engine::finish_reason_name(result.finish_reason);
}

}  // namespace

ResponsesAnswer::ResponsesAnswer(ResponsesAnswerOptions options, const ServedModel& model)
    : options_(std::move(options)), model_(model), parser_(options_.parser) {}

std::string ResponsesAnswer::event(std::string_view type, const Json& data) {
  if (!options_.is_stream) return {};
  Json whole = Json::object().set("type", type).set("sequence_number", sequence_++);
  for (const auto& [key, value] : data.members()) whole.set(key, value);
  return http::event_text({.type = std::string(type), .data = whole.dump(), .id = {}});
}

Json ResponsesAnswer::place() const {
  return Json::object().set("item_id", items_.back().id).set("output_index", items_.size() - 1);
}

Json ResponsesAnswer::item_json(const Item& item, bool is_open) const {
  const std::string_view status = is_open ? "in_progress" : item.is_complete ? "completed" : "incomplete";
  Json json = Json::object().set("id", item.id);
  if (item.kind == Kind::kCall) {
    return json.set("type", "function_call")
        .set("status", status)
        .set("call_id", item.call.id)
        .set("name", item.call.name)
        .set("arguments", item.text);
  }
  const bool is_message = item.kind == Kind::kMessage;
  Json content = Json::array();
  if (!is_open && is_message) content.push(output_text(item.text, item.logprobs));
  if (!is_open && !is_message) content.push(Json::object().set("type", "reasoning_text").set("text", item.text));
  json.set("type", is_message ? "message" : "reasoning").set("status", status);
  if (is_message) {
    json.set("role", "assistant");
  } else {
    json.set("summary", Json::array());
  }
  return json.set("content", std::move(content));
}

Json ResponsesAnswer::response_json(std::string_view status) const {
  Json output = Json::array();
  for (const Item& item : items_) output.push(item_json(item, false));
  Json json = Json::object();
  json.set("id", "resp_" + options_.facts.id)
      .set("object", "response")
      .set("created_at", options_.facts.created)
      .set("status", status)
      .set("error", error_ ? Json::object().set("code", error_->code).set("message", error_->message) : Json())
      .set("incomplete_details",
           status == "incomplete" ? Json::object().set("reason", incomplete_reason(*result_)) : Json())
      .set("model", options_.facts.model);
  for (const auto& [key, value] : options_.echoed.members()) json.set(key, value);
  json.set("output", std::move(output));
  json.set("usage", result_ ? usage_of(*result_, reasoning_tokens_) : Json());
  if (result_) json.set("timings", timings_json(*result_)).set("infer_os", infer_os_json(options_.facts, *result_));
  return json;
}

std::string ResponsesAnswer::begin() {
  const std::string events = event("response.created", Json::object().set("response", response_json("in_progress")));
  return events + event("response.in_progress", Json::object().set("response", response_json("in_progress")));
}

std::string ResponsesAnswer::open(Kind kind) {
  constexpr const char* kPrefixes[] = {"rs", "msg", "fc"};
  items_.push_back({.kind = kind,
                    .id = format("{}_{}_{}", kPrefixes[static_cast<size_t>(kind)], options_.facts.id, items_.size()),
                    .text = {}});
  std::string events =
      event("response.output_item.added",
            Json::object().set("output_index", items_.size() - 1).set("item", item_json(items_.back(), true)));
  if (kind != Kind::kMessage) return events;
  return events + event("response.content_part.added",
                        place().set("content_index", 0).set("part", output_text("", Json::array())));
}

// Ends the item that is open, if one is.
std::string ResponsesAnswer::close() {
  if (items_.empty() || items_.back().is_complete) return {};
  Item& item = items_.back();
  item.is_complete = true;
  std::string events;
  if (item.kind == Kind::kMessage) {
    events += event("response.output_text.done",
                    place().set("content_index", 0).set("text", item.text).set("logprobs", item.logprobs));
    events += event("response.content_part.done",
                    place().set("content_index", 0).set("part", output_text(item.text, item.logprobs)));
  } else if (item.kind == Kind::kReasoning) {
    events += event("response.reasoning_text.done", place().set("content_index", 0).set("text", item.text));
  } else {
    events +=
        event("response.function_call_arguments.done", place().set("name", item.call.name).set("arguments", item.text));
  }
  return events + event("response.output_item.done",
                        Json::object().set("output_index", items_.size() - 1).set("item", item_json(item, false)));
}

std::string ResponsesAnswer::grow(Kind kind, std::string_view text, Json logprobs) {
  if (text.empty()) return {};
  std::string events;
  if (items_.empty() || items_.back().kind != kind || items_.back().is_complete) {
    events = close();
    events += open(kind);
  }
  items_.back().text += text;
  for (const Json& each : logprobs.elements()) items_.back().logprobs.push(each);
  Json delta = place().set("content_index", 0).set("delta", text);
  if (kind == Kind::kReasoning) return events + event("response.reasoning_text.delta", delta);
  return events + event("response.output_text.delta", delta.set("logprobs", std::move(logprobs)));
}

std::string ResponsesAnswer::add_call(chat::ToolCall call) {
  std::string events = close();
  events += open(Kind::kCall);
  Item& item = items_.back();
  item.text = call.arguments;
  item.call = std::move(call);
  if (item.call.id.empty()) item.call.id = format("call_{}_{}", options_.facts.id, items_.size() - 1);
  events += event("response.function_call_arguments.delta", place().set("delta", item.text));
  return events + close();
}

std::string ResponsesAnswer::take(chat::AnswerParser::Parts parts, Json logprobs) {
  std::string events = grow(Kind::kReasoning, parts.reasoning);
  events += grow(Kind::kMessage, parts.content, std::move(logprobs));
  for (chat::ToolCall& call : parts.tool_calls) events += add_call(std::move(call));
  return events;
}

std::string ResponsesAnswer::add(size_t, engine::AnswerPiece piece) {
  if (options_.has_logprobs && piece.logprobs) logprobs_.add(*piece.logprobs, model_);
  chat::AnswerParser::Parts parts = parser_.push(piece.text);
  Json logprobs = logprobs_.take(piece.text.size(), parts.content.size(), parser_.held_bytes());
  if (piece.token != kNoToken && !parts.reasoning.empty()) ++reasoning_tokens_;
  return take(std::move(parts), std::move(logprobs));
}

std::string ResponsesAnswer::end_choice(size_t, const engine::RequestResult& result) {
  chat::AnswerParser::Parts parts = parser_.finish();
  Json logprobs = logprobs_.take(0, parts.content.size(), parser_.held_bytes());
  std::string events = take(std::move(parts), std::move(logprobs));
  result_ = result;
  const bool is_whole = finish_reason_of(result) == "stop";
  events += close();
  if (!is_whole && !items_.empty()) items_.back().is_complete = false;
  return events;
}

std::string ResponsesAnswer::end() {
  const bool is_whole = finish_reason_of(*result_) == "stop";
  return event(is_whole ? "response.completed" : "response.incomplete",
               Json::object().set("response", response_json(is_whole ? "completed" : "incomplete")));
}

std::string ResponsesAnswer::failed(const ApiError& error) {
  error_ = error;
  return event("response.failed", Json::object().set("response", response_json("failed")));
}

Json ResponsesAnswer::whole() {
  return response_json(finish_reason_of(*result_) == "stop" ? "completed" : "incomplete");
}

}  // namespace infer::api
