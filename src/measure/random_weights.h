// Random weights written directly as blocks of any type, about as fast as memory.
// Thread safety: one object per thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "kernels/block_formats.h"

namespace infer::measure {

class RandomWeights {
 public:
  // Of the standard deviation `deviation`, mean near zero.
  RandomWeights(kernels::WeightType type, float deviation, uint64_t seed);

  // `out` is a whole number of blocks.
  void fill(std::span<std::byte> out);

 private:
  static constexpr size_t kTableSize = 4096;
  void fill_from_table(std::span<std::byte> out);
  void fill_bytes(std::span<std::byte> out);
  void set_scales(std::byte* block);
  void choose_exponents(double scale);
  void set_group_scales(uint8_t* scales);

  kernels::WeightType type_;
  Rng rng_;
  uint16_t scale_ = 0;            // The scale field of a block, as half.
  uint16_t minimum_ = 0;          // The minimum field, where there is one.
  uint8_t exponent_ = 0;          // MXFP4: the smaller of the two exponents in use, ...
  uint8_t larger_share_ = 0;      // ... and how many of 256 blocks have the next one.
  std::vector<std::byte> table_;  // Float types: evenly spaced values in the file's encoding.
};

}  // namespace infer::measure
