// What a template may take. A hostile template or conversation ends in kExhausted with the limit in the message, never
// in more time or memory than these say. Thread safety: a plain value.
#pragma once

#include <cstddef>
#include <cstdint>

namespace infer::jinja {

struct Limits {
  // The longest real templates have some 30 kB.
  size_t template_bytes = size_t{1} << 20;
  // Nodes evaluated, elements looked at, characters compared in pieces of 16. Real conversations of a hundred messages
  // take some ten thousand; at this limit a rendering takes about a second.
  uint64_t steps = 10'000'000;
  // Bytes of all values made during one rendering, input and output included, whether they are still in use or not.
  uint64_t value_bytes = uint64_t{256} << 20;
  // Blocks, expressions and macro calls inside each other while rendering. A level costs up to a kilobyte of stack.
  int depth = 500;
  // Lists and dicts inside each other.
  int value_depth = 100;
};

// Of blocks and of an expression inside each other, in the text of a template.
inline constexpr int kNestingMax = 120;
// What range() gives at most, as in Jinja's sandbox.
inline constexpr int64_t kRangeMax = 100'000;

}  // namespace infer::jinja
