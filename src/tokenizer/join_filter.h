// Says where no token of a vocabulary can reach across, so that a long word may be merged in parts: the same tokens,
// from shorter words that repeat more often. Scripts without spaces (Japanese, Chinese, Thai) have long words.
//
// A place lies between two characters of which one is not ASCII. may_join() looks at up to three bytes on either side
// and may say yes wrongly, never no: if it says no, no added token contains the place, so no merge crosses it.
// Ownership: owns its bits. Thread safety: const after finish().
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <string_view>
#include <vector>

namespace infer::tokenizer {

class JoinFilter {
 public:
  // A token that merging can make.
  void add(std::string_view token) {
    for (size_t at = 1; at < token.size(); ++at) {
      if (!is_place(token, at)) continue;
      const size_t left = at < kSpan ? at : kSpan;
      const size_t right = token.size() - at < kSpan ? token.size() - at : kSpan;
      shape(left, right).keys.push_back(key_of(token, at, left, right));
    }
  }

  void finish() {
    for (Shape& shape : shapes_) {
      if (shape.keys.empty()) continue;
      const size_t bits_per_key = shape.keys.size() > kFewKeys ? kBitsPerKey : kBitsPerFewKeys;
      shape.bits.assign(std::max<size_t>(1, std::bit_ceil(shape.keys.size()) * bits_per_key / 64), 0);
      shape.shift = 64 - static_cast<unsigned>(std::countr_zero(shape.bits.size() * 64));
      for (const uint64_t key : shape.keys) {
        const uint64_t bit = bit_of(shape, key);
        shape.bits[bit / 64] |= uint64_t{1} << bit % 64;
      }
      shape.keys = {};
    }
  }

  // Whether `at`, inside of the word, lies between two characters of which one is not ASCII.
  static bool is_place(std::string_view word, size_t at) {
    const auto before = static_cast<uint8_t>(word[at - 1]);
    const auto behind = static_cast<uint8_t>(word[at]);
    return behind >= 0xC0 || (behind < 0x80 && before >= 0x80);
  }

  // Of a place.
  bool may_join(std::string_view word, size_t at) const {
    const size_t lefts = at < kSpan ? at : kSpan;
    const size_t rights = word.size() - at < kSpan ? word.size() - at : kSpan;
    for (size_t left = lefts; left > 0; --left) {
      for (size_t right = rights; right > 0; --right) {
        const Shape& shape = shapes_[(left - 1) * kSpan + right - 1];
        if (shape.bits.empty()) continue;
        const uint64_t bit = bit_of(shape, key_of(word, at, left, right));
        if ((shape.bits[bit / 64] >> bit % 64 & 1) != 0) return true;
      }
    }
    return false;
  }

 private:
  static constexpr size_t kSpan = 3;
  // All bits together should stay in the second-level cache. Of the nine shapes one or two have many keys, most of them
  // several times; few keys may have so many bits that a wrong yes is rare.
  static constexpr size_t kFewKeys = 4096;
  static constexpr size_t kBitsPerFewKeys = 64;
  static constexpr size_t kBitsPerKey = 8;

  // The tokens that have `left` bytes before a place and `right` behind it; kSpan stands for that many or more.
  struct Shape {
    std::vector<uint64_t> keys;  // Until finish().
    std::vector<uint64_t> bits;
    unsigned shift = 0;
  };

  Shape& shape(size_t left, size_t right) { return shapes_[(left - 1) * kSpan + right - 1]; }

  static uint64_t key_of(std::string_view text, size_t at, size_t left, size_t right) {
    uint64_t key = 0;
    for (size_t i = at - left; i < at + right; ++i) key = key << 8 | static_cast<uint8_t>(text[i]);
    return key;
  }
  static uint64_t bit_of(const Shape& shape, uint64_t key) { return key * 0x9E3779B97F4A7C15ull >> shape.shift; }

  std::array<Shape, kSpan * kSpan> shapes_;
};

}  // namespace infer::tokenizer
