// Reads GBNF, the grammar notation of llama.cpp (docs/formats/grammar.md).
//
// The text may be hostile: time and memory are linear in its size, which kGbnfBytesMax bounds, and nesting is bounded.
// Errors are kInvalidArgument and name line and column, what stands there and what to write instead.
// Thread safety: pure function.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/result.h"
#include "grammar/rules.h"

namespace infer::grammar {

inline constexpr size_t kGbnfBytesMax = size_t{1} << 20;
inline constexpr int kGbnfNestingMax = 100;                 // Of parentheses.
inline constexpr uint32_t kRepeatCountMax = 1'000'000'000;  // In {m,n}.

// The root is the rule of that name.
Result<RootedRules> parse_gbnf(std::string_view text);

}  // namespace infer::grammar
