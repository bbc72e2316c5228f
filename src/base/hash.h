// 64-bit hashes of bytes for fingerprints, checksums and output checks; not for hostile keys.
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace infer {

inline constexpr uint64_t kHashSeed = 0xCBF29CE484222325ull;

// FNV-1a: short keys.
inline uint64_t hash_bytes(const void* data, size_t size, uint64_t seed = kHashSeed) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  uint64_t hash = seed;
  for (size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 0x100000001B3ull;
  return hash;
}

// Megabytes, at the speed of memory: eight words side by side, each x = (x ^ word) * odd. A change of one word always
// changes the result, other changes with a chance of 2^-64 to go unseen. Another function than hash_bytes.
inline uint64_t hash_block(const void* data, size_t size, uint64_t seed = kHashSeed) {
  constexpr uint64_t kOdd = 0x9E3779B97F4A7C15ull;
  const auto* bytes = static_cast<const unsigned char*>(data);
  uint64_t lane[8];
  for (uint64_t i = 0; i < 8; ++i) lane[i] = seed + i * kOdd;
  size_t at = 0;
  for (; at + 64 <= size; at += 64) {
    uint64_t words[8];
    std::memcpy(words, bytes + at, 64);
    for (int i = 0; i < 8; ++i) lane[i] = (lane[i] ^ words[i]) * kOdd;
  }
  uint64_t hash = hash_bytes(bytes + at, size - at, seed ^ size);
  for (const uint64_t x : lane) {
    hash = (hash ^ x) * kOdd;
    hash ^= hash >> 32;
  }
  return hash;
}

}  // namespace infer
