// A fast hash of short byte strings for the tables of this folder (tokens and words of a few bytes).
// Thread safety: a pure function.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace infer::tokenizer {

inline uint64_t hash_mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9E3779B97F4A7C15ull;
  return hash ^ hash >> 32;
}

inline uint64_t hash_text(std::string_view text) {
  const char* data = text.data();
  const size_t size = text.size();
  const auto load = [&](size_t at, size_t count) {
    uint64_t word = 0;
    std::memcpy(&word, data + at, count);
    return word;
  };
  uint64_t hash = hash_mix(0xCBF29CE484222325ull, size);
  if (size >= 8) {
    for (size_t at = 0; at + 8 < size; at += 8) hash = hash_mix(hash, load(at, 8));
    return hash_mix(hash, load(size - 8, 8));  // The last eight bytes overlap what was read before; no bytes are left.
  }
  if (size >= 4) return hash_mix(hash, load(0, 4) | load(size - 4, 4) << 32);
  if (size >= 2) return hash_mix(hash, load(0, 2) | load(size - 2, 2) << 16);
  return size == 1 ? hash_mix(hash, load(0, 1)) : hash;
}

}  // namespace infer::tokenizer
