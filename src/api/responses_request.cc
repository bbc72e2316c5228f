#include "api/responses_request.h"

#include <utility>

#include "api/message_fields.h"
#include "api/tool_fields.h"
#include "base/format.h"

namespace infer::api {

namespace {

// A call that the model made earlier belongs to a message of the assistant, with others before it.
void read_function_call(FieldReader& item, std::vector<chat::Message>& messages) {
  const auto name = item.text("name");
  if (!name) return item.fail_missing("name");
  chat::ToolCall call{.id = std::string(item.text("call_id").value_or("")),
                      .name = std::string(*name),
                      .arguments = std::string(item.text("arguments").value_or("{}"))};
  if (messages.empty() || messages.back().role != "assistant") {
    messages.push_back(
        {.role = "assistant", .content = {}, .reasoning = {}, .name = {}, .tool_call_id = {}, .tool_calls = {}});
  }
  messages.back().tool_calls.push_back(std::move(call));
}

void read_item(FieldReader& item, std::vector<chat::Message>& messages) {
  const std::string_view type = item.text("type").value_or("message");
  if (type == "message") {
    messages.push_back(read_message(item));
  } else if (type == "function_call") {
    read_function_call(item, messages);
  } else if (type == "function_call_output") {
    messages.push_back({.role = "tool",
                        .content = read_content(item, "output"),
                        .reasoning = {},
                        .name = {},
                        .tool_call_id = std::string(item.text("call_id").value_or("")),
                        .tool_calls = {}});
  } else if (type != "reasoning") {  // What the model thought earlier, templates leave out.
    item.fail("type", format("Invalid '{}': this server has no items of type '{}'.", item.path_of("type"), type));
  }
}

void read_input(FieldReader& fields, std::vector<chat::Message>& messages) {
  if (const auto instructions = fields.text("instructions")) {
    messages.push_back({.role = "system",
                        .content = std::string(*instructions),
                        .reasoning = {},
                        .name = {},
                        .tool_call_id = {},
                        .tool_calls = {}});
  }
  const Json* input = fields.any("input");
  if (input == nullptr) return fields.fail_missing("input");
  if (const auto text = input->as_string()) {
    messages.push_back({.role = "user",
                        .content = std::string(*text),
                        .reasoning = {},
                        .name = {},
                        .tool_call_id = {},
                        .tool_calls = {}});
    return;
  }
  if (!input->is_array()) return fields.fail_kind("input", "a string or an array of items", *input);
  if (input->elements().empty()) return fields.fail("input", "Invalid 'input': expected at least one item.");
  for (size_t i = 0; i < input->elements().size() && !fields.failed(); ++i) {
    const Json& given = input->elements()[i];
    const std::string name = format("input[{}]", i);
    if (!given.is_object()) return fields.fail_kind(name, "an object", given);
    FieldReader item = fields.inside(name, given);
    read_item(item, messages);
  }
}

void read_logprobs(FieldReader& fields, ChatRequest& request) {
  const auto top = fields.integer("top_logprobs", 0, engine::kTopLogprobsMax);
  bool wanted = top.value_or(0) > 0;
  if (const Json* include = fields.array("include")) {
    for (const Json& name : include->elements()) {
      wanted = wanted || name.as_string() == "message.output_text.logprobs";  // Other names tell of what we have not.
    }
  }
  if (wanted) request.top_logprobs = static_cast<int>(top.value_or(0));
}

// Which change the answer, so that they cannot be ignored.
void refuse_unsupported(FieldReader& fields) {
  for (const char* name : {"previous_response_id", "conversation"}) {
    if (fields.any(name) == nullptr) continue;
    fields.fail(name, format("'{}' is not supported: nothing is stored, send the whole conversation.", name),
                "unsupported_parameter");
  }
  if (fields.boolean("background").value_or(false)) {
    fields.fail("background", "'background' is not supported: wait for the answer, or stream it.",
                "unsupported_parameter");
  }
}

}  // namespace

ChatRequest read_responses_request(FieldReader& fields, const ServedModel& model, uint64_t seed) {
  ChatRequest request{.generation = read_generation_fields(fields, model, seed)};
  request.generation.choices = 1;
  request.generation.shows_markers = true;
  request.generation.tokens_max =
      static_cast<int>(fields.integer("max_output_tokens", -1, int64_t{1} << 30).value_or(-1));
  read_input(fields, request.messages);
  read_logprobs(fields, request);
  if (const Json* text = fields.object("text")) {
    FieldReader inside = fields.inside("text", *text);
    if (auto format = read_format(inside, "format", model)) request.generation.grammar = std::move(format);
  }
  if (const Json* reasoning = fields.object("reasoning")) {
    if (const auto effort = fields.inside("reasoning", *reasoning).text("effort")) {
      request.variables.emplace_back("reasoning_effort", Json(*effort).dump());
    }
  }
  ToolFields tools = read_tools(fields, model);
  request.tools = std::move(tools.tools);
  request.has_one_call_at_most = tools.has_one_call_at_most;
  if (tools.grammar) request.generation.grammar = std::move(tools.grammar);
  refuse_unsupported(fields);
  return request;
}

}  // namespace infer::api
