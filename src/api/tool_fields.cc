#include "api/tool_fields.h"

#include <utility>

#include "api/generation_fields.h"
#include "api/json.h"
#include "api/json_schema.h"
#include "base/format.h"
#include "chat/tool_call_format.h"

namespace infer::api {

namespace {

struct Tool {
  std::string name;
  const Json* parameters = nullptr;  // Null: none.
  Json as_template_has_it{};
};

std::optional<Tool> read_tool(FieldReader& fields, const Json& given) {
  if (!given.is_object()) {
    fields.fail_kind("type", "an object", given);
    return std::nullopt;
  }
  const std::string_view type = fields.text("type").value_or("function");
  if (type != "function") {
    fields.fail("type",
                format("Invalid '{}': this server has no tool '{}', only 'function'.", fields.path_of("type"), type));
    return std::nullopt;
  }
  const Json* inner = fields.object("function");
  const Json& function = inner != nullptr ? *inner : given;
  FieldReader inside = inner != nullptr ? fields.inside("function", *inner) : fields;
  const auto name = inside.text("name");
  if (!name || name->empty()) {
    inside.fail_missing("name");
    return std::nullopt;
  }
  Tool tool{.name = std::string(*name), .parameters = inside.object("parameters")};
  Json described = Json::object().set("name", *name);
  for (const char* key : {"description", "parameters"}) {
    if (const Json* value = function.find(key)) described.set(key, *value);
  }
  tool.as_template_has_it = Json::object().set("type", "function").set("function", std::move(described));
  return tool;
}

std::vector<Tool> read_list(FieldReader& fields) {
  std::vector<Tool> tools;
  const Json* list = fields.array("tools");
  if (list == nullptr) return tools;
  for (size_t i = 0; i < list->elements().size() && !fields.failed(); ++i) {
    FieldReader inside = fields.inside(format("tools[{}]", i), list->elements()[i]);
    if (auto tool = read_tool(inside, list->elements()[i])) tools.push_back(*std::move(tool));
  }
  return tools;
}

enum class Demand { kNone, kAuto, kRequired };

// And the name of the one function that must be called, if it is one.
std::pair<Demand, std::string> read_choice(FieldReader& fields) {
  const Json* choice = fields.any("tool_choice");
  if (choice == nullptr) return {Demand::kAuto, ""};
  if (const auto word = choice->as_string()) {
    if (*word == "none") return {Demand::kNone, ""};
    if (*word == "auto") return {Demand::kAuto, ""};
    if (*word == "required") return {Demand::kRequired, ""};
  }
  if (choice->is_object()) {
    FieldReader inside = fields.inside("tool_choice", *choice);
    const Json* function = inside.object("function");
    const auto name = function != nullptr ? inside.inside("function", *function).text("name") : inside.text("name");
    if (name) return {Demand::kRequired, std::string(*name)};
  }
  fields.fail("tool_choice", "Invalid 'tool_choice': expected 'none', 'auto', 'required', or a function's name.");
  return {Demand::kAuto, ""};
}

Json arguments_schema(const Tool& tool) {
  return tool.parameters != nullptr ? *tool.parameters : Json::object().set("type", "object");
}

// {"name": <name>, "arguments": <parameters>} of any of the tools.
Json call_schema(const std::vector<Tool>& tools, std::string_view arguments_key) {
  Json any = Json::array();
  for (const Tool& tool : tools) {
    Json properties = Json::object();
    properties.set("name", Json::object().set("const", tool.name)).set(arguments_key, arguments_schema(tool));
    any.push(Json::object()
                 .set("type", "object")
                 .set("properties", std::move(properties))
                 .set("required", Json::array().push("name").push(arguments_key)));
  }
  return Json::object().set("anyOf", std::move(any));
}

// `before`, a call as a JSON object, `behind`.
Result<grammar::RootedRules> object_call_rules(const std::vector<Tool>& tools, std::string_view arguments_key,
                                               std::string_view before, std::string_view behind) {
  grammar::RootedRules made;
  grammar::Rules& rules = made.rules;
  INFER_ASSIGN(const grammar::RuleId call, add_schema_rules(call_schema(tools, arguments_key), rules));
  made.root = rules.declare("call");
  rules.define(made.root, rules.sequence({rules.text(before), rules.call(call), rules.text(behind)}));
  return made;
}

// `before`, the name of a tool, `between`, its arguments.
Result<grammar::RootedRules> named_call_rules(const std::vector<Tool>& tools, std::string_view before,
                                              std::string_view between) {
  grammar::RootedRules made;
  grammar::Rules& rules = made.rules;
  std::vector<grammar::ExprId> calls;
  for (const Tool& tool : tools) {
    INFER_ASSIGN(const grammar::RuleId arguments, add_schema_rules(arguments_schema(tool), rules));
    calls.push_back(rules.sequence({rules.text(tool.name), rules.text(between), rules.call(arguments)}));
  }
  made.root = rules.declare("call");
  rules.define(made.root, rules.sequence({rules.text(before), rules.choice(calls)}));
  return made;
}

// What an answer looks like that is a call of one of the tools, and nothing else.
Result<grammar::RootedRules> call_rules(const std::vector<Tool>& tools, chat::ToolCallFormat format) {
  using chat::ToolCallFormat;
  switch (format) {
    case ToolCallFormat::kHermes: return object_call_rules(tools, "arguments", "<tool_call>\n", "\n</tool_call>");
    case ToolCallFormat::kMistral: return object_call_rules(tools, "arguments", "[TOOL_CALLS][", "]");
    case ToolCallFormat::kMistralNamed: return named_call_rules(tools, "[TOOL_CALLS]", "[ARGS]");
    case ToolCallFormat::kHarmony:
      return named_call_rules(tools, "<|channel|>commentary to=functions.", " <|constrain|>json<|message|>");
    case ToolCallFormat::kLlama3: return object_call_rules(tools, "parameters", "", "");
    case ToolCallFormat::kJson: break;
  }
  return object_call_rules(tools, "arguments", "", "");
}

}  // namespace

ToolFields read_tools(FieldReader& fields, const ServedModel& model) {
  ToolFields read{.has_one_call_at_most = !fields.boolean("parallel_tool_calls").value_or(true)};
  std::vector<Tool> tools = read_list(fields);
  const auto [demand, name] = read_choice(fields);
  if (fields.failed() || demand == Demand::kNone) return read;
  if (tools.empty()) {
    if (demand == Demand::kRequired)
      fields.fail("tool_choice", "'tool_choice' requires a call, but there are no 'tools'.");
    return read;
  }
  if (!model.chat.takes_tools()) {
    fields.fail("tools", "This model's chat template does nothing with tools: leave them out or serve another model.",
                "unsupported_parameter");
    return read;
  }
  if (!name.empty()) {
    std::erase_if(tools, [&wanted = name](const Tool& tool) { return tool.name != wanted; });
    if (tools.empty()) fields.fail("tool_choice", infer::format("There is no tool '{}' in 'tools'.", name));
  }
  Json list = Json::array();
  for (const Tool& tool : tools) list.push(tool.as_template_has_it);
  read.tools = list.dump();
  if (demand != Demand::kRequired || fields.failed()) return read;
  const chat::ToolCallFormat format = model.chat.tool_call_format();
  read.grammar = compile_grammar(
      fields, "tool_choice", model,
      infer::format("call {} {}", chat::tool_call_format_name(format), call_schema(tools, "arguments").dump()),
      [&] { return call_rules(tools, format); });
  return read;
}

}  // namespace infer::api
