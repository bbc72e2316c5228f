#include "api/settings_json.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "base/format.h"

namespace infer::api {

namespace {

using control::Setting;
using control::SettingScope;

control::DocumentValue document_value(const Json& json) {
  if (const auto on = json.as_bool()) return *on;
  if (const auto text = json.as_string()) return std::string(*text);
  if (!json.is_float()) {
    if (const auto whole = json.as_int()) return *whole;
  }
  if (const auto real = json.as_double()) return *real;
  if (json.is_array()) return control::ListValue{};
  if (json.is_object()) return control::SectionValue{};
  return control::NullValue{};
}

void add_entries(const Json& object, const std::string& section, std::vector<control::DocumentEntry>& entries) {
  for (const auto& [name, value] : object.members()) {
    std::string key = control::member_key(section, name);
    if (value.is_object() && !value.members().empty()) {
      add_entries(value, key, entries);
    } else {
      entries.push_back({std::move(key), document_value(value)});
    }
  }
}

bool is_in_scope(const Setting& setting, SettingScope scope) {
  return scope == SettingScope::kConfig || setting.effect == control::SettingEffect::kPolicy;
}

// Objects within objects as the keys say, each setting's value from `leaf`; `close` finishes an object.
Json nested(std::string_view prefix, SettingScope scope, const std::function<Json(const Setting&)>& leaf,
            const std::function<Json(Json)>& close) {
  Json object = Json::object();
  for (const Setting& setting : control::settings()) {
    if (!is_in_scope(setting, scope) || !setting.key.starts_with(prefix)) continue;
    const std::string_view rest = setting.key.substr(prefix.size());
    const size_t dot = rest.find('.');
    const std::string_view name = rest.substr(0, dot);
    if (dot == std::string_view::npos) {
      object.set(name, leaf(setting));
    } else if (!object.find(name)) {
      object.set(name, nested(setting.key.substr(0, prefix.size() + dot + 1), scope, leaf, close));
    }
  }
  return close(std::move(object));
}

Json value_json(const Setting& setting, const control::Config& config) {
  const control::SettingValue value = control::setting_value(setting, config);
  if (setting.is_secret) {
    const auto* text = std::get_if<std::string>(&value);
    return text && text->empty() ? Json() : Json("set");
  }
  return std::visit([](const auto& each) { return Json(each); }, value);
}

Json with_range(const Setting& setting, Json schema) {
  schema.set("minimum", setting.least);
  if (setting.most != 0) schema.set("maximum", setting.most);
  return schema;
}

Json type_schema(const Setting& setting) {
  control::Config any;
  const control::SettingField field = setting.field(any);
  Json schema = Json::object();
  if (std::holds_alternative<bool*>(field)) return schema.set("type", "boolean");
  if (std::holds_alternative<int*>(field)) return with_range(setting, schema.set("type", "integer"));
  if (std::holds_alternative<double*>(field)) return with_range(setting, schema.set("type", "number"));
  if (std::holds_alternative<uint64_t*>(field)) {
    Json number = with_range(setting, Json::object().set("type", "integer"));
    Json text =
        Json::object().set("type", "string").set("pattern", "^\\d+(\\.\\d+)?([Bb]|[KkMmGg][Bb]|[KkMmGg][Ii][Bb])?$");
    return schema.set("oneOf", Json::array().push(std::move(number)).push(std::move(text)));
  }
  schema.set("type", "string");
  if (setting.choices.empty()) return schema.set("maxLength", 4096);
  Json names = Json::array();
  for (const control::Choice& choice : setting.choices) names.push(choice.name);
  return schema.set("enum", std::move(names));
}

}  // namespace

Result<std::vector<control::DocumentEntry>> document_entries(const Json& document) {
  if (!document.is_object()) return Error{ErrorCode::kInvalidArgument, "the document must be a JSON object"};
  std::vector<control::DocumentEntry> entries;
  add_entries(document, "", entries);
  return entries;
}

Status apply_json(std::string_view text, SettingScope scope, control::Config& config) {
  const auto document = Json::parse(text);
  if (!document) return Error{ErrorCode::kInvalidArgument, document.error().message};
  INFER_ASSIGN(const std::vector<control::DocumentEntry> entries, document_entries(*document));
  return control::apply_document(entries, scope, config);
}

Json settings_json(const control::Config& config, SettingScope scope) {
  return nested(
      "", scope, [&](const Setting& setting) { return value_json(setting, config); },
      [](Json object) { return object; });
}

Json settings_schema(SettingScope scope) {
  const control::Config defaults;
  const auto leaf = [&](const Setting& setting) {
    Json schema = type_schema(setting);
    schema.set("description", setting.help);
    if (!setting.is_secret) schema.set("default", value_json(setting, defaults));
    return schema;
  };
  const auto close = [](Json properties) {
    return Json::object()
        .set("type", "object")
        .set("properties", std::move(properties))
        .set("additionalProperties", false);
  };
  return nested("", scope, leaf, close);
}

}  // namespace infer::api
