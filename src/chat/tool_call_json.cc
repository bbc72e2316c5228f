#include "chat/tool_call_json.h"

#include <optional>

#include "jinja/json_reader.h"
#include "jinja/json_text.h"
#include "jinja/operators.h"

namespace infer::chat {
namespace {

using jinja::Heap;
using jinja::Kind;
using jinja::Value;

std::optional<ToolCall> as_tool_call(const Value& value, Heap& heap) {
  if (!value.is(Kind::kDict)) return std::nullopt;
  const Value* inner = jinja::find_key(value.dict(), "function", heap);
  const Value& call = inner != nullptr && inner->is(Kind::kDict) ? *inner : value;
  const Value* name = jinja::find_key(call.dict(), "name", heap);
  if (name == nullptr || !name->is(Kind::kString) || name->text().empty()) return std::nullopt;
  const Value* arguments = jinja::find_key(call.dict(), "arguments", heap);
  if (arguments == nullptr) arguments = jinja::find_key(call.dict(), "parameters", heap);
  if (arguments == nullptr) return std::nullopt;
  ToolCall result{.id = {}, .name = name->text().bytes(), .arguments = {}};
  if (arguments->is(Kind::kString)) {
    result.arguments = arguments->text().bytes();
  } else {
    const auto text = jinja::json_text(*arguments, {}, heap);
    if (!text) return std::nullopt;
    result.arguments = text->text().bytes();
  }
  const Value* id = jinja::find_key(value.dict(), "id", heap);
  if (id != nullptr && id->is(Kind::kString)) result.id = id->text().bytes();
  return result;
}

}  // namespace

std::vector<ToolCall> read_tool_calls(std::string_view json) {
  Heap heap{jinja::Limits()};
  const auto value = jinja::read_json(json, jinja::Origin::kInput, heap);
  if (!value) return {};
  const std::vector<Value> each = value->is(Kind::kList) ? value->list().items : std::vector<Value>{*value};
  std::vector<ToolCall> calls;
  for (const Value& element : each) {
    auto call = as_tool_call(element, heap);
    if (!call) return {};
    calls.push_back(*std::move(call));
  }
  return calls;
}

std::vector<ToolCall> read_named_call(std::string_view name, std::string_view json) {
  Heap heap{jinja::Limits()};
  const auto arguments = jinja::read_json(json, jinja::Origin::kInput, heap);
  if (!arguments || !arguments->is(Kind::kDict)) return {};
  const auto text = jinja::json_text(*arguments, {}, heap);
  if (!text) return {};
  return {{.id = {}, .name = std::string(name), .arguments = text->text().bytes()}};
}

}  // namespace infer::chat
