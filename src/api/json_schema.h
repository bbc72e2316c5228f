// JSON Schema (2020-12, and what is alike in draft 7) to the rules of a grammar: texts that follow them are JSON that
// the schema accepts. Which keywords are read, and how, is in docs/formats/grammar.md.
//
// Nothing is ignored that could make a difference: a keyword or a combination that cannot be expressed is an error that
// names its place as a JSON pointer; so is a schema that no value satisfies.
// Where a schema leaves open what may be added (properties beside those that it names, items behind prefixItems),
// nothing is added. Properties come in the order of the schema. The schema may be hostile: time and memory are bounded
// by kSchemaWorkMax. Thread safety: pure function.
#pragma once

#include <cstddef>

#include "api/json.h"
#include "base/result.h"
#include "grammar/rules.h"

namespace infer::api {

inline constexpr size_t kSchemaWorkMax =
    200'000;                                    // Schemas looked at, one that is used several times counted each time.
inline constexpr size_t kSchemaDepthMax = 200;  // Of values within values, before a schema contains itself.

// kInvalidArgument: not a schema, or nothing satisfies it; kUnsupported: cannot be expressed; kExhausted: too large.
Result<grammar::RootedRules> rules_of_schema(const Json& schema);
// The same as a part of other rules: the rule whose texts the schema accepts.
Result<grammar::RuleId> add_schema_rules(const Json& schema, grammar::Rules& rules);

}  // namespace infer::api
