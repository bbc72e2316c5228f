#include "api/schema_goal.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "api/json_schema.h"
#include "base/format.h"

namespace infer::api {
namespace {

constexpr std::array<std::string_view, 23> kKeywords = {"$ref",
                                                        "type",
                                                        "enum",
                                                        "const",
                                                        "properties",
                                                        "required",
                                                        "additionalProperties",
                                                        "items",
                                                        "prefixItems",
                                                        "additionalItems",
                                                        "minItems",
                                                        "maxItems",
                                                        "minLength",
                                                        "maxLength",
                                                        "pattern",
                                                        "format",
                                                        "minimum",
                                                        "maximum",
                                                        "exclusiveMinimum",
                                                        "exclusiveMaximum",
                                                        "multipleOf",
                                                        "anyOf",
                                                        "oneOf"};

// They say nothing about which values are right.
constexpr std::array<std::string_view, 17> kAnnotations = {
    "$schema",  "$id",         "$comment",      "$defs",           "definitions",     "$anchor",
    "title",    "description", "default",       "example",         "examples",        "deprecated",
    "readOnly", "writeOnly",   "discriminator", "contentEncoding", "contentMediaType"};

template <class List>
bool is_in(const List& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

struct TypeName {
  std::string_view name;
  uint32_t bits;
};
constexpr std::array<TypeName, 7> kTypeNames = {{{"null", kNullBit},
                                                 {"boolean", kBooleanBit},
                                                 {"integer", kIntegerBit},
                                                 {"number", kIntegerBit | kNumberBit},
                                                 {"string", kStringBit},
                                                 {"array", kArrayBit},
                                                 {"object", kObjectBit}}};

// Where no type is said, the keywords that are about one say it.
struct TypeOfKeyword {
  std::string_view keyword;
  uint32_t bits;
};
constexpr std::array<TypeOfKeyword, 17> kTypesOfKeywords = {{{"properties", kObjectBit},
                                                             {"required", kObjectBit},
                                                             {"additionalProperties", kObjectBit},
                                                             {"items", kArrayBit},
                                                             {"prefixItems", kArrayBit},
                                                             {"additionalItems", kArrayBit},
                                                             {"minItems", kArrayBit},
                                                             {"maxItems", kArrayBit},
                                                             {"minLength", kStringBit},
                                                             {"maxLength", kStringBit},
                                                             {"pattern", kStringBit},
                                                             {"format", kStringBit},
                                                             {"minimum", kIntegerBit | kNumberBit},
                                                             {"maximum", kIntegerBit | kNumberBit},
                                                             {"exclusiveMinimum", kIntegerBit | kNumberBit},
                                                             {"exclusiveMaximum", kIntegerBit | kNumberBit},
                                                             {"multipleOf", kIntegerBit | kNumberBit}}};

Result<uint32_t> bits_of_type(const LocatedSchema& type) {
  const auto bits_of_name = [&](const Json& name) -> Result<uint32_t> {
    for (const TypeName& known : kTypeNames) {
      if (name.as_string() == known.name) return known.bits;
    }
    return schema_error(ErrorCode::kInvalidArgument, type.pointer,
                        format("{} is no type: one of null, boolean, integer, number, string, array, object, or a list "
                               "of them",
                               name.dump()));
  };
  if (!type.schema->is_array()) return bits_of_name(*type.schema);
  uint32_t bits = 0;
  for (const Json& name : type.schema->elements()) {
    INFER_ASSIGN(const uint32_t more, bits_of_name(name));
    bits |= more;
  }
  return bits;
}

// "%7E" as in the fragment of a URI, then ~1 and ~0 as in a JSON pointer.
std::string unescaped(std::string_view part) {
  std::string decoded;
  for (size_t i = 0; i < part.size(); ++i) {
    if (part[i] == '%' && i + 2 < part.size()) {
      const std::string digits(part.substr(i + 1, 2));
      char* end = nullptr;
      const auto byte = static_cast<char>(std::strtoul(digits.c_str(), &end, 16));
      if (end == digits.c_str() + 2) {
        decoded += byte;
        i += 2;
        continue;
      }
    }
    decoded += part[i];
  }
  std::string out;
  for (size_t i = 0; i < decoded.size(); ++i) {
    const bool is_escape =
        decoded[i] == '~' && i + 1 < decoded.size() && (decoded[i + 1] == '0' || decoded[i + 1] == '1');
    out += is_escape ? (decoded[++i] == '0' ? '~' : '/') : decoded[i];
  }
  return out;
}

const Json* child_of(const Json& json, const std::string& key) {
  if (!json.is_array()) return json.find(key);
  if (key.empty() || key.size() > 6 || key.find_first_not_of("0123456789") != std::string::npos) return nullptr;
  const auto index = static_cast<size_t>(std::strtoul(key.c_str(), nullptr, 10));
  return index < json.elements().size() ? &json.elements()[index] : nullptr;
}

Result<std::optional<uint32_t>> extreme_count(const SchemaGoal& goal, std::string_view keyword, bool greatest) {
  std::optional<uint32_t> found;
  for (const LocatedSchema& value : goal.keyword(keyword)) {
    const std::optional<int64_t> count = value.schema->as_int();
    if (!count || *count < 0 || *count > 1'000'000'000) {
      return schema_error(ErrorCode::kInvalidArgument, value.pointer,
                          format("must be a whole number from 0 to 1000000000, not {}", value.schema->dump()));
    }
    const auto c = static_cast<uint32_t>(*count);
    if (!found || (greatest ? c > *found : c < *found)) found = c;
  }
  return found;
}

}  // namespace

Error schema_error(ErrorCode code, std::string_view pointer, std::string_view what) {
  return Error{code, format("JSON schema, {}: {}", pointer, what)};
}

std::string below(std::string_view pointer, std::string_view key) {
  std::string out(pointer);
  out += '/';
  for (const char c : key) {
    if (c == '~' || c == '/') {
      out += c == '~' ? "~0" : "~1";
    } else {
      out += c;
    }
  }
  return out;
}

std::string below(std::string_view pointer, std::string_view key, size_t index) {
  return format("{}/{}", below(pointer, key), index);
}

std::vector<LocatedSchema> SchemaGoal::keyword(std::string_view name) const {
  std::vector<LocatedSchema> found;
  for (const LocatedSchema& schema : all) {
    if (const Json* value = schema.schema->find(name)) found.push_back({value, below(schema.pointer, name)});
  }
  return found;
}

const std::string& SchemaGoal::place() const {
  static const std::string kRoot = "#";
  return all.empty() ? kRoot : all.back().pointer;
}

std::vector<const Json*> SchemaGoal::key() const {
  std::vector<const Json*> out;
  for (const LocatedSchema& schema : all) out.push_back(schema.schema);
  out.push_back(nullptr);
  out.insert(out.end(), branched.begin(), branched.end());
  return out;
}

Status SchemaDocument::check_keywords(const LocatedSchema& schema) const {
  for (const Json::Member& member : schema.schema->members()) {
    const std::string& name = member.first;
    if (is_in(kKeywords, name) || is_in(kAnnotations, name) || name == "allOf" || name.starts_with("x-")) continue;
    if (name == "uniqueItems" && member.second.as_bool() == false) continue;
    return schema_error(ErrorCode::kUnsupported, below(schema.pointer, name),
                        "this keyword is not supported: leave it out, or say it with others");
  }
  return {};
}

Result<LocatedSchema> SchemaDocument::resolve(const LocatedSchema& reference) const {
  const auto text = reference.schema->as_string();
  if (!text || text->empty() || text->front() != '#' || (text->size() > 1 && (*text)[1] != '/')) {
    return schema_error(ErrorCode::kUnsupported, reference.pointer,
                        format("only references inside of the document are followed, like \"#/$defs/name\" or \"#\", "
                               "not {}",
                               reference.schema->dump()));
  }
  const Json* found = &root_;
  for (size_t at = 1; at < text->size() && found;) {
    const size_t end = std::min(text->find('/', at + 1), text->size());
    found = child_of(*found, unescaped(text->substr(at + 1, end - at - 1)));
    at = end;
  }
  if (found) return LocatedSchema{found, std::string(*text)};
  return schema_error(ErrorCode::kInvalidArgument, reference.pointer, format("nothing is at \"{}\"", *text));
}

Status SchemaDocument::add(const LocatedSchema& located, SchemaGoal& goal) {
  const Json& schema = *located.schema;
  if (++work_ > kSchemaWorkMax) {
    return schema_error(ErrorCode::kExhausted, located.pointer,
                        "the schema is too large, or combines too much: simplify it");
  }
  if (const auto boolean = schema.as_bool()) {
    goal.impossible = goal.impossible || !*boolean;
    return {};
  }
  if (!schema.is_object()) {
    return schema_error(ErrorCode::kInvalidArgument, located.pointer,
                        format("a schema must be an object, true or false, not {}", schema.dump().substr(0, 60)));
  }
  if (std::find(open_.begin(), open_.end(), &schema) != open_.end()) {
    return schema_error(ErrorCode::kInvalidArgument, located.pointer,
                        "this schema needs itself to be known: $ref and "
                        "allOf must not lead back to where they are");
  }
  const auto is_this = [&](const LocatedSchema& other) { return other.schema == &schema; };
  if (std::any_of(goal.all.begin(), goal.all.end(), is_this)) return {};
  if (open_.size() >= kSchemaDepthMax) {
    return schema_error(
        ErrorCode::kExhausted, located.pointer,
        format("more than {} references and allOf lead from one to the next: join some", kSchemaDepthMax));
  }
  INFER_TRY(check_keywords(located));
  goal.all.push_back(located);
  open_.push_back(&schema);
  Status status;
  if (const Json* reference = schema.find("$ref")) {
    Result<LocatedSchema> target = resolve({reference, below(located.pointer, "$ref")});
    status = target ? add(*target, goal) : Status(std::move(target).error());
  }
  if (const Json* all = schema.find("allOf"); all && status) {
    if (!all->is_array())
      status = schema_error(ErrorCode::kInvalidArgument, below(located.pointer, "allOf"), "must be a list of schemas");
    for (size_t i = 0; i < all->elements().size() && status; ++i) {
      status = add({&all->elements()[i], below(located.pointer, "allOf", i)}, goal);
    }
  }
  open_.pop_back();
  return status;
}

Result<uint32_t> types_of(const SchemaGoal& goal) {
  if (goal.impossible) return uint32_t{0};
  const std::vector<LocatedSchema> said = goal.keyword("type");
  uint32_t bits = kAllTypes;
  for (const LocatedSchema& type : said) {
    INFER_ASSIGN(const uint32_t these, bits_of_type(type));
    bits &= these;
  }
  if (!said.empty()) return bits;
  uint32_t meant = 0;
  for (const TypeOfKeyword& known : kTypesOfKeywords) meant |= goal.has(known.keyword) ? known.bits : 0;
  return meant != 0 ? meant : uint32_t{kAllTypes};
}

uint32_t type_of_value(const Json& value) {
  if (value.is_null()) return kNullBit;
  if (value.as_bool()) return kBooleanBit;
  if (value.as_string()) return kStringBit;
  if (value.is_array()) return kArrayBit;
  if (value.is_object()) return kObjectBit;
  const double number = *value.as_double();
  return number == static_cast<double>(static_cast<int64_t>(std::clamp(number, -9e18, 9e18))) ? kIntegerBit
                                                                                              : kNumberBit;
}

bool same_value(const Json& a, const Json& b) {
  if (a.is_array() && b.is_array()) {
    return std::equal(a.elements().begin(), a.elements().end(), b.elements().begin(), b.elements().end(), same_value);
  }
  if (a.is_object() && b.is_object()) {
    const auto is_in_b = [&](const Json::Member& member) {
      const Json* other = b.find(member.first);
      return other && same_value(member.second, *other);
    };
    return a.members().size() == b.members().size() && std::all_of(a.members().begin(), a.members().end(), is_in_b);
  }
  if (a.as_double() && b.as_double())
    return a.as_int() || b.as_int() ? a.as_int() == b.as_int() : a.as_double() == b.as_double();
  return a.dump() == b.dump();
}

Result<std::optional<std::vector<Json>>> values_of(const SchemaGoal& goal) {
  std::optional<std::vector<Json>> values;
  const auto keep_those_in = [&values](const std::vector<Json>& list) {
    if (!values) {
      values.emplace();
      for (const Json& value : list) values->push_back(value);
      return;
    }
    std::erase_if(*values, [&](const Json& value) {
      return std::none_of(list.begin(), list.end(), [&](const Json& other) { return same_value(value, other); });
    });
  };
  for (const LocatedSchema& list : goal.keyword("enum")) {
    if (!list.schema->is_array())
      return schema_error(ErrorCode::kInvalidArgument, list.pointer, "must be a list of values");
    keep_those_in(list.schema->elements());
  }
  for (const LocatedSchema& value : goal.keyword("const")) keep_those_in({*value.schema});
  return values;
}

Result<std::optional<uint32_t>> greatest_count(const SchemaGoal& goal, std::string_view keyword) {
  return extreme_count(goal, keyword, true);
}
Result<std::optional<uint32_t>> least_count(const SchemaGoal& goal, std::string_view keyword) {
  return extreme_count(goal, keyword, false);
}

}  // namespace infer::api
