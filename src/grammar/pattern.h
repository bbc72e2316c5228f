// Regular expressions as JSON Schema has them (ECMA-262) into rules for the content of a JSON string.
//
// Read are: characters, '.', classes with ranges, \d \w \s and their opposites, \t \n \r \f \v \0 \xHH \uHHHH \u{H},
// groups (captures are only groups), '|', and the repetitions * + ? {m} {m,} {m,n}, also with a '?' behind them, which
// changes nothing about what matches. '^' and '$' stand at the ends of the whole or of an alternative of it; where one
// is missing anything may stand there, as JSON Schema says. Refused, by name: back references, assertions, classes by
// property. A '.' is any character but line ends; '.' and classes mean Unicode characters.
// Errors are kInvalidArgument and name the character's number. Time and memory are linear in the text.
// Thread safety: as the rules.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/result.h"
#include "grammar/json_rules.h"

namespace infer::grammar {

inline constexpr size_t kPatternBytesMax = 4096;

// The content between the quotes.
Result<ExprId> pattern_rules(std::string_view pattern, JsonRules& json);

}  // namespace infer::grammar
