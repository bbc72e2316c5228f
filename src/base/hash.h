// A 64-bit hash of bytes for fingerprints and output checks (not for hostile keys): FNV-1a, 64 bit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace infer {

inline constexpr uint64_t kHashSeed = 0xCBF29CE484222325ull;

inline uint64_t hash_bytes(const void* data, size_t size, uint64_t seed = kHashSeed) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  uint64_t hash = seed;
  for (size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 0x100000001B3ull;
  return hash;
}

}  // namespace infer
