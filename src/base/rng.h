// Deterministic random numbers: the same seed gives the same sequence on every platform and build.
// splitmix64 seeds xoshiro256** (Blackman and Vigna, 2018, public domain algorithms).
#pragma once

#include <array>
#include <cstdint>

namespace infer {

class Rng {
 public:
  explicit Rng(uint64_t seed);

  uint64_t next();
  // In [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  // In [0, bound), bound > 0; the bias of the multiply-shift is below 2^-32 for bounds below 2^32.
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(((next() >> 32) * bound) >> 32); }

 private:
  std::array<uint64_t, 4> state_{};
};

}  // namespace infer
