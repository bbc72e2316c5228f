#include "api/message_fields.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "base/format.h"

namespace infer::api {

namespace {

constexpr std::array<std::string_view, 6> kRoles{"system", "developer", "user", "assistant", "tool", "function"};

}  // namespace

std::string read_content(FieldReader& fields, std::string_view name) {
  const Json* content = fields.any(name);
  if (content == nullptr) return {};
  if (const auto text = content->as_string()) return std::string(*text);
  if (!content->is_array()) fields.fail_kind(name, "a string or an array of parts", *content);
  std::string whole;
  for (size_t i = 0; i < content->elements().size() && !fields.failed(); ++i) {
    const Json& part = content->elements()[i];
    FieldReader inside = fields.inside(format("{}[{}]", name, i), part);
    const std::string_view type = inside.text("type").value_or("");
    if (type == "text" || type == "input_text" || type == "output_text") {
      whole += inside.text("text").value_or("");
    } else if (type == "refusal") {
      whole += inside.text("refusal").value_or("");
    } else {
      inside.fail("type", format("Invalid '{}': this model reads text only.", inside.path_of("type")));
    }
  }
  return whole;
}

namespace {

std::vector<chat::ToolCall> read_tool_calls(FieldReader& fields) {
  std::vector<chat::ToolCall> calls;
  const Json* list = fields.array("tool_calls");
  if (list == nullptr) return calls;
  for (size_t i = 0; i < list->elements().size() && !fields.failed(); ++i) {
    FieldReader call = fields.inside(format("tool_calls[{}]", i), list->elements()[i]);
    const Json* function = call.object("function");
    if (function == nullptr) {
      call.fail_missing("function");
      break;
    }
    FieldReader inside = call.inside("function", *function);
    const auto name = inside.text("name");
    if (!name) inside.fail_missing("name");
    calls.push_back({.id = std::string(call.text("id").value_or("")),
                     .name = std::string(name.value_or("")),
                     .arguments = std::string(inside.text("arguments").value_or("{}"))});
  }
  return calls;
}

}  // namespace

chat::Message read_message(FieldReader& fields) {
  const auto role = fields.text("role");
  if (!role) {
    fields.fail_missing("role");
    return {};
  }
  if (std::find(kRoles.begin(), kRoles.end(), *role) == kRoles.end()) {
    fields.fail("role", format("Invalid '{}': expected one of 'system', 'developer', 'user', 'assistant', 'tool', but "
                               "got '{}' instead.",
                               fields.path_of("role"), *role));
  }
  chat::Message message{.role = std::string(*role),
                        .content = read_content(fields, "content"),
                        .reasoning = std::string(fields.text("reasoning_content").value_or("")),
                        .name = std::string(fields.text("name").value_or("")),
                        .tool_call_id = std::string(fields.text("tool_call_id").value_or("")),
                        .tool_calls = read_tool_calls(fields)};
  // OpenAI's newer names for what templates know under the older ones.
  if (message.role == "developer") message.role = "system";
  if (message.role == "function") message.role = "tool";
  if (message.role == "user" && fields.any("content") == nullptr) fields.fail_missing("content");
  return message;
}

}  // namespace infer::api
