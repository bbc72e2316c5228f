// A range of characters as sequences of byte ranges: what UTF-8 writes for U+0080-U+FFFF is C2-DF 80-BF, or E0 A0-BF
// 80-BF, and so on. Surrogates must not be part of the range.
// Thread safety: pure function.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "grammar/rules.h"

namespace infer::grammar {

struct ByteRange {
  uint8_t low = 0;
  uint8_t high = 0;
};

struct ByteSequence {
  std::array<ByteRange, 4> bytes{};
  size_t length = 0;
};

// Appends the sequences, which do not overlap, in ascending order.
void append_utf8_sequences(CharacterRange range, std::vector<ByteSequence>& out);

}  // namespace infer::grammar
