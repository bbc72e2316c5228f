// Numbers between bounds as rules: which digits may be written.
//
// Integers have an exact form without fraction and exponent; numbers that are bounded have no exponent. Where a bound
// is missing, 16 digits are the limit. Thread safety: as the rules.
#pragma once

#include <cstdint>
#include <optional>

#include "api/schema_goal.h"
#include "base/result.h"
#include "grammar/json_rules.h"

namespace infer::api {

// The rules for numbers of these types (kIntegerBit, kNumberBit or both) within the bounds and multiples that the goal
// sets; nullopt when there are none.
Result<std::optional<grammar::ExprId>> number_rules(const SchemaGoal& goal, uint32_t types, grammar::JsonRules& json);

}  // namespace infer::api
