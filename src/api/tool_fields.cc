#include "api/tool_fields.h"

#include <utility>

#include "api/json_schema.h"
#include "base/format.h"

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

// {"name": <name>, "arguments": <parameters>}
Json call_schema(const Tool& tool, std::string_view arguments_key) {
  Json arguments = tool.parameters != nullptr ? *tool.parameters : Json::object().set("type", "object");
  Json properties = Json::object();
  properties.set("name", Json::object().set("const", tool.name)).set(arguments_key, std::move(arguments));
  return Json::object()
      .set("type", "object")
      .set("properties", std::move(properties))
      .set("required", Json::array().push("name").push(arguments_key));
}

// What an answer looks like that is a call of one of the tools, and nothing else.
Result<grammar::Grammar> call_grammar(const std::vector<Tool>& tools, chat::ToolCallFormat format) {
  if (format == chat::ToolCallFormat::kMistral) {
    return Error{ErrorCode::kUnsupported,
                 "this model marks its calls with a control token, which no grammar can require; use 'auto'"};
  }
  const char* arguments_key = format == chat::ToolCallFormat::kLlama3 ? "parameters" : "arguments";
  Json any = Json::array();
  for (const Tool& tool : tools) any.push(call_schema(tool, arguments_key));
  INFER_ASSIGN(grammar::RootedRules made, rules_of_schema(Json::object().set("anyOf", std::move(any))));
  if (format == chat::ToolCallFormat::kHermes) {
    grammar::Rules& rules = made.rules;
    const grammar::RuleId wrapped = rules.declare("tool_call");
    rules.define(wrapped,
                 rules.sequence({rules.text("<tool_call>\n"), rules.call(made.root), rules.text("\n</tool_call>")}));
    made.root = wrapped;
  }
  return grammar::Grammar::compile(made.rules, made.root);
}

}  // namespace

ToolFields read_tools(FieldReader& fields, chat::ToolCallFormat format, bool knows_tools) {
  ToolFields read;
  std::vector<Tool> tools = read_list(fields);
  const auto [demand, name] = read_choice(fields);
  if (fields.failed() || demand == Demand::kNone) return read;
  if (tools.empty()) {
    if (demand == Demand::kRequired)
      fields.fail("tool_choice", "'tool_choice' requires a call, but there are no 'tools'.");
    return read;
  }
  if (!knows_tools) {
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
  Result<grammar::Grammar> grammar = call_grammar(tools, format);
  if (!grammar) {
    fields.fail("tool_choice", "'tool_choice': " + grammar.error().message, "unsupported_value");
    return read;
  }
  read.grammar = std::make_shared<const grammar::Grammar>(*std::move(grammar));
  return read;
}

}  // namespace infer::api
