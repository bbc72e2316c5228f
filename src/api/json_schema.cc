#include "api/json_schema.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/schema_formats.h"
#include "api/schema_goal.h"
#include "api/schema_numbers.h"
#include "base/format.h"
#include "grammar/json_rules.h"
#include "grammar/pattern.h"

namespace infer::api {
namespace {

using grammar::ExprId;
using grammar::kUnbounded;
using MaybeExpr = std::optional<ExprId>;  // nullopt: nothing satisfies the goal.

constexpr size_t kNameBytesMax = 1000;  // Of a property.

class SchemaCompiler {
 public:
  SchemaCompiler(const Json& root, grammar::Rules& rules) : document_(root), rules_(rules), json_(rules) {}

  Result<MaybeExpr> compile_root() {
    SchemaGoal goal;
    INFER_TRY(document_.add(document_.root(), goal));
    return compile(goal);
  }

 private:
  struct Member {
    ExprId rules = 0;
    bool required = false;
  };
  // What may stand at each index of an array.
  struct Items {
    std::vector<ExprId> first;
    MaybeExpr rest;
    uint32_t least = 0;
    uint32_t most = kUnbounded;
  };

  Result<MaybeExpr> compile(const SchemaGoal& goal);
  Result<MaybeExpr> compile_new(const SchemaGoal& goal);
  Result<MaybeExpr> compile_branches(const SchemaGoal& goal, const LocatedSchema& branches);
  Result<MaybeExpr> compile_values(const SchemaGoal& goal, const std::vector<Json>& values);
  Result<MaybeExpr> compile_type(const SchemaGoal& goal, uint32_t type);
  Status check_disjoint(const LocatedSchema& branches);
  Result<bool> are_disjoint(const SchemaGoal& a, const SchemaGoal& b);

  Result<MaybeExpr> compile_object(const SchemaGoal& goal);
  Result<std::vector<std::string>> property_names(const SchemaGoal& goal, std::vector<std::string>& required);
  Result<SchemaGoal> property_goal(const SchemaGoal& goal, const std::string& name);
  Result<MaybeExpr> extra_member(const SchemaGoal& goal, const std::vector<std::string>& names);
  ExprId key_outside(std::vector<std::u32string> names, size_t at);
  ExprId chain_of(const std::vector<Member>& members, const MaybeExpr& extra);

  Result<MaybeExpr> compile_array(const SchemaGoal& goal);
  Result<Items> items_of(const SchemaGoal& goal);
  Result<MaybeExpr> item_at(const SchemaGoal& goal, std::optional<size_t> index);
  ExprId list_of(const Items& items);

  Result<MaybeExpr> compile_string(const SchemaGoal& goal);
  Result<MaybeExpr> compile_pattern(std::string_view pattern, const std::string& place);
  Result<MaybeExpr> compile_format(const LocatedSchema& named, uint32_t least, uint32_t most);
  ExprId literal(const Json& value);

  grammar::RuleId define(const char* name, ExprId body) {
    const grammar::RuleId rule = rules_.declare(name);
    rules_.define(rule, body);
    return rule;
  }

  SchemaDocument document_;
  grammar::Rules& rules_;
  grammar::JsonRules json_;
  size_t depth_ = 0;  // Of the goals that are being compiled.
  struct Known {
    grammar::RuleId rule = 0;
    bool impossible = false;
  };
  std::map<std::vector<const Json*>, Known> known_;
};

bool is_list_of_strings(const Json& json) {
  const auto is_string = [](const Json& element) { return element.as_string().has_value(); };
  return json.is_array() && std::all_of(json.elements().begin(), json.elements().end(), is_string);
}

// Each goal is a rule, so that a schema that contains itself becomes a rule that does.
Result<MaybeExpr> SchemaCompiler::compile(const SchemaGoal& goal) {
  if (goal.impossible) return MaybeExpr();
  if (goal.all.empty()) return MaybeExpr(json_.value());
  if (depth_ >= kSchemaDepthMax) {
    return schema_error(ErrorCode::kExhausted, goal.place(),
                        format("values are nested more than {} deep: flatten the schema", kSchemaDepthMax));
  }
  const auto [found, is_new] = known_.try_emplace(goal.key());
  Known& known = found->second;  // Stays where it is: a map moves nothing.
  if (!is_new) return known.impossible ? MaybeExpr() : MaybeExpr(rules_.call(known.rule));
  known.rule = rules_.declare(goal.place());
  ++depth_;
  INFER_ASSIGN(const MaybeExpr body, compile_new(goal));
  --depth_;
  known.impossible = !body;
  rules_.define(known.rule, body ? *body : rules_.choice({}));
  return body ? MaybeExpr(rules_.call(known.rule)) : MaybeExpr();
}

Result<MaybeExpr> SchemaCompiler::compile_new(const SchemaGoal& goal) {
  for (const std::string_view keyword : {"anyOf", "oneOf"}) {
    for (const LocatedSchema& branches : goal.keyword(keyword)) {
      if (!branches.schema->is_array() || branches.schema->elements().empty()) {
        return schema_error(ErrorCode::kInvalidArgument, branches.pointer, "must be a list of at least one schema");
      }
      if (goal.branched.contains(branches.schema)) continue;
      if (keyword == "oneOf") INFER_TRY(check_disjoint(branches));
      return compile_branches(goal, branches);
    }
  }
  INFER_ASSIGN(auto values, values_of(goal));
  if (values) return compile_values(goal, *values);
  INFER_ASSIGN(const uint32_t types, types_of(goal));
  std::vector<ExprId> alternatives;
  constexpr uint32_t kNumbers = kIntegerBit | kNumberBit;
  for (const uint32_t type : {uint32_t{kObjectBit}, uint32_t{kArrayBit}, uint32_t{kStringBit}, kNumbers,
                              uint32_t{kBooleanBit}, uint32_t{kNullBit}}) {
    if ((types & type) == 0) continue;
    INFER_ASSIGN(const MaybeExpr alternative, compile_type(goal, types & type));
    if (alternative) alternatives.push_back(*alternative);
  }
  return alternatives.empty() ? MaybeExpr() : MaybeExpr(rules_.choice(alternatives));
}

Result<MaybeExpr> SchemaCompiler::compile_type(const SchemaGoal& goal, uint32_t type) {
  switch (type) {
    case kObjectBit: return compile_object(goal);
    case kArrayBit: return compile_array(goal);
    case kStringBit: return compile_string(goal);
    case kBooleanBit: return MaybeExpr(json_.boolean());
    case kNullBit: return MaybeExpr(json_.null());
    default: return number_rules(goal, type, json_);
  }
}

Result<MaybeExpr> SchemaCompiler::compile_branches(const SchemaGoal& goal, const LocatedSchema& branches) {
  std::vector<ExprId> alternatives;
  for (size_t i = 0; i < branches.schema->elements().size(); ++i) {
    SchemaGoal branch = goal;
    branch.branched.insert(branches.schema);
    INFER_TRY(document_.add({&branches.schema->elements()[i], format("{}/{}", branches.pointer, i)}, branch));
    INFER_ASSIGN(const MaybeExpr alternative, compile(branch));
    if (alternative) alternatives.push_back(*alternative);
  }
  return alternatives.empty() ? MaybeExpr() : MaybeExpr(rules_.choice(alternatives));
}

// oneOf is anyOf where no value can satisfy two branches; a grammar cannot count.
Status SchemaCompiler::check_disjoint(const LocatedSchema& branches) {
  std::vector<SchemaGoal> goals;
  for (size_t i = 0; i < branches.schema->elements().size(); ++i) {
    goals.emplace_back();
    INFER_TRY(document_.add({&branches.schema->elements()[i], format("{}/{}", branches.pointer, i)}, goals.back()));
  }
  for (size_t i = 0; i < goals.size(); ++i) {
    for (size_t j = i + 1; j < goals.size(); ++j) {
      INFER_ASSIGN(const bool disjoint, are_disjoint(goals[i], goals[j]));
      if (disjoint) continue;
      return schema_error(ErrorCode::kUnsupported, branches.pointer,
                          format("its branches {} and {} may both match one value: use anyOf, or give them different "
                                 "types or a required property with different const values",
                                 i, j));
    }
  }
  return {};
}

Result<bool> SchemaCompiler::are_disjoint(const SchemaGoal& a, const SchemaGoal& b) {
  if (a.impossible || b.impossible) return true;
  INFER_ASSIGN(const auto values_a, values_of(a));
  INFER_ASSIGN(const auto values_b, values_of(b));
  if (values_a && values_b) {
    return std::none_of(values_a->begin(), values_a->end(), [&](const Json& value) {
      return std::any_of(values_b->begin(), values_b->end(),
                         [&](const Json& other) { return same_value(value, other); });
    });
  }
  // Types that were not said are only meant (types_of), so they do not keep values apart.
  if (a.has("type") && b.has("type")) {
    INFER_ASSIGN(const uint32_t types_a, types_of(a));
    INFER_ASSIGN(const uint32_t types_b, types_of(b));
    if ((types_a & types_b) == 0) return true;
    if ((types_a & types_b) != kObjectBit) return false;
    std::vector<std::string> required_a, required_b;
    INFER_ASSIGN(const auto names, property_names(a, required_a));
    INFER_TRY(property_names(b, required_b));
    for (const std::string& name : required_a) {
      if (std::find(required_b.begin(), required_b.end(), name) == required_b.end()) continue;
      INFER_ASSIGN(const SchemaGoal property_a, property_goal(a, name));
      INFER_ASSIGN(const SchemaGoal property_b, property_goal(b, name));
      INFER_ASSIGN(const auto in_a, values_of(property_a));
      INFER_ASSIGN(const auto in_b, values_of(property_b));
      if (!in_a || !in_b) continue;
      INFER_ASSIGN(const bool disjoint, are_disjoint(property_a, property_b));
      if (disjoint) return true;
    }
  }
  return false;
}

// ---- values ---------------------------------------------------------------------------------------------------------

Result<MaybeExpr> SchemaCompiler::compile_values(const SchemaGoal& goal, const std::vector<Json>& values) {
  for (const std::string_view keyword :
       {"properties", "required", "additionalProperties", "items", "prefixItems", "additionalItems", "minItems",
        "maxItems", "minLength", "maxLength", "pattern", "format", "minimum", "maximum", "exclusiveMinimum",
        "exclusiveMaximum", "multipleOf"}) {
    for (const LocatedSchema& found : goal.keyword(keyword)) {
      return schema_error(ErrorCode::kUnsupported, found.pointer,
                          "beside enum or const this keyword is not supported: leave out the values that it excludes");
    }
  }
  uint32_t types = kAllTypes;
  if (goal.has("type")) {
    INFER_ASSIGN(types, types_of(goal));
  }
  std::vector<ExprId> alternatives;
  for (const Json& value : values) {
    if ((type_of_value(value) & types) != 0) alternatives.push_back(literal(value));
  }
  return alternatives.empty() ? MaybeExpr() : MaybeExpr(rules_.choice(alternatives));
}

ExprId SchemaCompiler::literal(const Json& value) {
  if (const auto text = value.as_string()) return json_.quoted(*text);
  if (!value.is_array() && !value.is_object()) return rules_.text(value.dump());
  std::vector<ExprId> parts{rules_.text(value.is_array() ? "[" : "{"), json_.space()};
  const auto add = [&](ExprId part) {
    if (parts.size() > 2) parts.push_back(json_.comma());
    parts.push_back(part);
  };
  for (const Json& element : value.elements()) add(literal(element));
  for (const Json::Member& member : value.members()) {
    add(rules_.sequence({json_.key(member.first), literal(member.second)}));
  }
  parts.push_back(json_.space());
  parts.push_back(rules_.text(value.is_array() ? "]" : "}"));
  return rules_.sequence(parts);
}

// ---- objects --------------------------------------------------------------------------------------------------------

// In the order of the schemas; those that are only required come last.
Result<std::vector<std::string>> SchemaCompiler::property_names(const SchemaGoal& goal,
                                                                std::vector<std::string>& required) {
  std::vector<std::string> names;
  std::set<std::string> seen, needed;
  for (const LocatedSchema& properties : goal.keyword("properties")) {
    if (!properties.schema->is_object()) {
      return schema_error(ErrorCode::kInvalidArgument, properties.pointer, "must be an object of schemas");
    }
    for (const Json::Member& member : properties.schema->members()) {
      if (member.first.size() > kNameBytesMax) {
        return schema_error(
            ErrorCode::kUnsupported, properties.pointer,
            format("a property's name has {} bytes, more than {}: shorten it", member.first.size(), kNameBytesMax));
      }
      if (seen.insert(member.first).second) names.push_back(member.first);
    }
  }
  for (const LocatedSchema& list : goal.keyword("required")) {
    if (!is_list_of_strings(*list.schema)) {
      return schema_error(ErrorCode::kInvalidArgument, list.pointer, "must be a list of names");
    }
    for (const Json& element : list.schema->elements()) {
      const std::string name(*element.as_string());
      if (name.size() > kNameBytesMax) {
        return schema_error(ErrorCode::kUnsupported, list.pointer,
                            format("a name has {} bytes, more than {}: shorten it", name.size(), kNameBytesMax));
      }
      if (needed.insert(name).second) required.push_back(name);
      if (seen.insert(name).second) names.push_back(name);
    }
  }
  return names;
}

// What all schemas say about one property.
Result<SchemaGoal> SchemaCompiler::property_goal(const SchemaGoal& goal, const std::string& name) {
  SchemaGoal property;
  for (const LocatedSchema& schema : goal.all) {
    const Json* const properties = schema.schema->find("properties");
    const Json* const named = properties ? properties->find(name) : nullptr;
    const Json* const others = schema.schema->find("additionalProperties");
    if (named) {
      INFER_TRY(document_.add({named, below(below(schema.pointer, "properties"), name)}, property));
    } else if (others) {
      INFER_TRY(document_.add({others, below(schema.pointer, "additionalProperties")}, property));
    }
  }
  return property;
}

Result<MaybeExpr> SchemaCompiler::compile_object(const SchemaGoal& goal) {
  std::vector<std::string> required;
  INFER_ASSIGN(const std::vector<std::string> names, property_names(goal, required));
  std::vector<Member> members;
  for (const std::string& name : names) {
    const bool is_required = std::find(required.begin(), required.end(), name) != required.end();
    INFER_ASSIGN(const SchemaGoal property, property_goal(goal, name));
    INFER_ASSIGN(const MaybeExpr value, compile(property));
    if (value) {
      members.push_back({rules_.sequence({json_.key(name), *value}), is_required});
    } else if (is_required) {
      return MaybeExpr();
    }
  }
  INFER_ASSIGN(const MaybeExpr extra, extra_member(goal, names));
  return MaybeExpr(
      rules_.sequence({rules_.text("{"), json_.space(), chain_of(members, extra), json_.space(), rules_.text("}")}));
}

// A property that the schemas do not name; nullopt where there must be none.
Result<MaybeExpr> SchemaCompiler::extra_member(const SchemaGoal& goal, const std::vector<std::string>& names) {
  const std::vector<LocatedSchema> said = goal.keyword("additionalProperties");
  if (said.empty() && goal.has("properties")) return MaybeExpr();
  SchemaGoal extra;
  for (const LocatedSchema& schema : said) INFER_TRY(document_.add(schema, extra));
  INFER_ASSIGN(const MaybeExpr value, compile(extra));
  if (!value) return MaybeExpr();
  if (names.empty()) return MaybeExpr(rules_.sequence({json_.string(), json_.colon(), *value}));
  std::vector<std::u32string> others;
  for (const std::string& name : names) {
    // Whatever is no UTF-8 cannot be written either, so no key can be like it.
    if (auto characters = grammar::find_characters(name)) others.push_back(std::move(*characters));
  }
  const ExprId key = rules_.sequence({rules_.text("\""), key_outside(std::move(others), 0)});
  return MaybeExpr(rules_.sequence({key, json_.colon(), *value}));
}

// The rest of a key that is none of the names, all of which are alike up to `at`, and its closing quote.
ExprId SchemaCompiler::key_outside(std::vector<std::u32string> names, size_t at) {
  std::map<char32_t, std::vector<std::u32string>> by_next;
  bool may_end = true;
  for (std::u32string& name : names) {
    if (name.size() == at) {
      may_end = false;
    } else {
      by_next[name[at]].push_back(std::move(name));
    }
  }
  std::vector<ExprId> alternatives;
  std::vector<grammar::CharacterRange> taken;
  if (may_end) alternatives.push_back(rules_.text("\""));
  for (auto& [next, group] : by_next) {
    const auto c = static_cast<uint32_t>(next);
    taken.push_back({c, c});
    const ExprId rest = rules_.call(define("other-key", key_outside(std::move(group), at + 1)));
    alternatives.push_back(rules_.sequence({json_.exact({{c, c}}), rest}));
  }
  const ExprId anything = rules_.repeat(json_.exact_character(), 0, kUnbounded);
  alternatives.push_back(
      rules_.sequence({json_.exact(grammar::complement(std::move(taken))), anything, rules_.text("\"")}));
  return rules_.choice(alternatives);
}

// The members in their order, with commas between those that are there. Two rules for each place: what follows when
// something stands before it, and when nothing does.
ExprId SchemaCompiler::chain_of(const std::vector<Member>& members, const MaybeExpr& extra) {
  ExprId after = rules_.text(""), first = after;
  if (extra) {
    after = rules_.repeat(rules_.sequence({json_.comma(), *extra}), 0, kUnbounded);
    first = rules_.optional(rules_.sequence({*extra, after}));
  }
  for (size_t i = members.size(); i-- > 0;) {
    const ExprId rest = rules_.call(define("members", after));
    const ExprId other = rules_.call(define("first-members", first));
    const ExprId with_comma = rules_.sequence({json_.comma(), members[i].rules});
    const ExprId alone = rules_.sequence({members[i].rules, rest});
    after = rules_.sequence({members[i].required ? with_comma : rules_.optional(with_comma), rest});
    first = members[i].required ? alone : rules_.choice({alone, other});
  }
  return first;
}

// ---- arrays ---------------------------------------------------------------------------------------------------------

// The schemas for the first items (prefixItems, or draft 7's list of items) and for the others.
const Json* first_items(const Json& schema) {
  const Json* const items = schema.find("items");
  return items && items->is_array() ? items : schema.find("prefixItems");
}
LocatedSchema other_items(const LocatedSchema& schema) {
  const Json* const items = schema.schema->find("items");
  const char* const keyword = items && items->is_array() ? "additionalItems" : "items";
  return {schema.schema->find(keyword), below(schema.pointer, keyword)};
}

// What all schemas say about the item at an index, or about those behind all that are named one by one.
Result<MaybeExpr> SchemaCompiler::item_at(const SchemaGoal& goal, std::optional<size_t> index) {
  SchemaGoal item;
  for (const LocatedSchema& schema : goal.all) {
    const Json* const first = first_items(*schema.schema);
    if (first && index && *index < first->elements().size()) {
      const bool is_old = first == schema.schema->find("items");
      INFER_TRY(document_.add(
          {&first->elements()[*index], below(schema.pointer, is_old ? "items" : "prefixItems", *index)}, item));
    } else if (const LocatedSchema others = other_items(schema); others.schema) {
      INFER_TRY(document_.add(others, item));
    }
  }
  return compile(item);
}

Result<SchemaCompiler::Items> SchemaCompiler::items_of(const SchemaGoal& goal) {
  Items items;
  size_t named = 0;
  bool are_others_said = false;
  for (const LocatedSchema& schema : goal.all) {
    if (const Json* const prefix = schema.schema->find("prefixItems"); prefix && !prefix->is_array()) {
      return schema_error(ErrorCode::kInvalidArgument, below(schema.pointer, "prefixItems"),
                          "must be a list of schemas");
    }
    if (const Json* const first = first_items(*schema.schema)) named = std::max(named, first->elements().size());
    are_others_said = are_others_said || other_items(schema).schema != nullptr;
  }
  INFER_ASSIGN(const auto least, greatest_count(goal, "minItems"));
  INFER_ASSIGN(const auto most, least_count(goal, "maxItems"));
  items.least = least.value_or(static_cast<uint32_t>(named));
  items.most = most.value_or(kUnbounded);
  if (!least) items.least = std::min(items.least, items.most);
  for (size_t i = 0; i < named && i < items.most; ++i) {
    INFER_ASSIGN(const MaybeExpr item, item_at(goal, i));
    if (!item) {
      items.most = static_cast<uint32_t>(i);
    } else {
      items.first.push_back(*item);
    }
  }
  if (items.most <= items.first.size()) return items;
  const bool closed = named > 0 && !are_others_said && items.least <= named;
  if (!closed) {
    INFER_ASSIGN(items.rest, item_at(goal, std::nullopt));
  }
  if (!items.rest) items.most = static_cast<uint32_t>(items.first.size());
  return items;
}

Result<MaybeExpr> SchemaCompiler::compile_array(const SchemaGoal& goal) {
  INFER_ASSIGN(const Items items, items_of(goal));
  if (items.least > items.most) return MaybeExpr();
  return MaybeExpr(rules_.sequence({rules_.text("["), json_.space(), list_of(items), json_.space(), rules_.text("]")}));
}

// The items with commas between them, from the last place to the first.
ExprId SchemaCompiler::list_of(const Items& items) {
  const auto named = static_cast<uint32_t>(items.first.size());
  const auto minus = [](uint32_t count, uint32_t taken) {
    return count == kUnbounded ? kUnbounded : count - std::min(count, taken);
  };
  ExprId rest = rules_.text("");
  if (items.rest && named > 0) {
    rest = rules_.repeat(rules_.sequence({json_.comma(), *items.rest}), minus(items.least, named),
                         minus(items.most, named));
  } else if (items.rest && items.most > 0) {
    const ExprId more =
        rules_.repeat(rules_.sequence({json_.comma(), *items.rest}), minus(items.least, 1), minus(items.most, 1));
    rest = rules_.sequence({*items.rest, more});
    if (items.least == 0) rest = rules_.optional(rest);
  }
  for (uint32_t i = named; i-- > 0;) {
    const ExprId comma = i > 0 ? json_.comma() : rules_.text("");
    const ExprId here = rules_.sequence({comma, items.first[i], rules_.call(define("items", rest))});
    rest = i < items.least ? here : rules_.optional(here);
  }
  return rest;
}

// ---- strings --------------------------------------------------------------------------------------------------------

Result<MaybeExpr> SchemaCompiler::compile_string(const SchemaGoal& goal) {
  INFER_ASSIGN(const auto least, greatest_count(goal, "minLength"));
  INFER_ASSIGN(const auto most, least_count(goal, "maxLength"));
  if (least.value_or(0) > most.value_or(kUnbounded)) return MaybeExpr();
  std::vector<LocatedSchema> patterns = goal.keyword("pattern"), formats;
  for (const LocatedSchema& named : goal.keyword("format")) {
    const auto name = named.schema->as_string();
    if (!name) return schema_error(ErrorCode::kInvalidArgument, named.pointer, "must be a name");
    if (is_standard_format(*name)) formats.push_back(named);
  }
  const auto differ_from_first = [](const std::vector<LocatedSchema>& list) {
    return std::any_of(list.begin(), list.end(),
                       [&](const LocatedSchema& one) { return !same_value(*one.schema, *list[0].schema); });
  };
  if (differ_from_first(patterns) || differ_from_first(formats) || (!patterns.empty() && !formats.empty())) {
    return schema_error(ErrorCode::kUnsupported, (patterns.empty() ? formats : patterns).back().pointer,
                        "several patterns or formats at once are not supported: keep the one that says most");
  }
  if (!patterns.empty()) {
    const auto text = patterns[0].schema->as_string();
    if (!text) return schema_error(ErrorCode::kInvalidArgument, patterns[0].pointer, "must be a regular expression");
    if (least || most) {
      return schema_error(
          ErrorCode::kUnsupported, patterns[0].pointer,
          "a pattern beside minLength or maxLength is not supported: write the length into the pattern, "
          "like ^[a-z]{2,8}$");
    }
    return compile_pattern(*text, patterns[0].pointer);
  }
  if (!formats.empty()) return compile_format(formats[0], least.value_or(0), most.value_or(kUnbounded));
  if (!least && !most) return MaybeExpr(json_.string());
  const ExprId content = rules_.repeat(json_.character(), least.value_or(0), most.value_or(kUnbounded));
  return MaybeExpr(rules_.sequence({rules_.text("\""), content, rules_.text("\"")}));
}

Result<MaybeExpr> SchemaCompiler::compile_pattern(std::string_view pattern, const std::string& place) {
  Result<ExprId> content = grammar::pattern_rules(pattern, json_);
  if (!content) return schema_error(ErrorCode::kUnsupported, place, content.error().message);
  return MaybeExpr(rules_.sequence({rules_.text("\""), *content, rules_.text("\"")}));
}

Result<MaybeExpr> SchemaCompiler::compile_format(const LocatedSchema& named, uint32_t least, uint32_t most) {
  const std::string_view name = *named.schema->as_string();
  const StringFormat* const known = find_format(name);
  if (!known) {
    return schema_error(ErrorCode::kUnsupported, named.pointer,
                        format("the format {} is not supported: leave it out, or write a pattern", name));
  }
  if (least > known->shortest || most < known->longest) {
    return schema_error(
        ErrorCode::kUnsupported, named.pointer,
        format("texts of the format {} have {} to {} characters, which minLength and maxLength must allow: "
               "leave them out, or write a pattern",
               name, known->shortest, known->longest));
  }
  return compile_pattern(known->pattern, named.pointer);
}

}  // namespace

Result<grammar::RuleId> add_schema_rules(const Json& schema, grammar::Rules& rules) {
  const grammar::RuleId root = rules.declare("root");
  SchemaCompiler compiler(schema, rules);
  INFER_ASSIGN(const MaybeExpr body, compiler.compile_root());
  if (!body) {
    return schema_error(ErrorCode::kInvalidArgument, "#",
                        "no value satisfies the schema: its parts contradict each other");
  }
  rules.define(root, *body);
  return root;
}

Result<grammar::RootedRules> rules_of_schema(const Json& schema) {
  grammar::RootedRules made;
  INFER_ASSIGN(made.root, add_schema_rules(schema, made.rules));
  return made;
}

}  // namespace infer::api
