#include "measure/random_weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/reference.h"

namespace infer::measure {
namespace {

using kernels::WeightType;

// Standard deviation and mean of a code drawn evenly from 2^bits values 0, 1, ...
double code_deviation(int bits) { return std::sqrt((std::exp2(2 * bits) - 1) / 12); }
double code_mean(int bits) { return (std::exp2(bits) - 1) / 2; }

// Group scales of K formats are drawn from [first, first + 32): their root mean square.
constexpr uint32_t kGroupScaleFirst = 16;
constexpr double kGroupScaleRms = 32.84;
constexpr uint32_t kQ6ScaleFirst = 20;
constexpr uint32_t kQ6ScaleCount = 20;
constexpr double kQ6ScaleRms = 30.06;
constexpr uint32_t kQ2ScaleFirst = 8;  // 8..15.
constexpr double kQ2ScaleRms = 11.73;
constexpr double kQ3ScaleRms = 24.44;   // Of -32..-17 and 16..31.
constexpr double kIq4ScaleRms = 18.48;  // Of -32..31.

uint16_t half(double value) { return kernels::float_to_half(static_cast<float>(value)); }

size_t element_bytes(WeightType type) { return type == WeightType::kF32 ? 4 : 2; }

bool is_float(WeightType type) {
  return type == WeightType::kF32 || type == WeightType::kF16 || type == WeightType::kBF16;
}

// Root mean square of the table's values.
double table_deviation(const int8_t (&values)[16]) {
  double squares = 0;
  for (const int8_t value : values) squares += value * value;
  return std::sqrt(squares / 16);
}

int code_bits(WeightType type) {
  switch (type) {
    case WeightType::kQ2_K: return 2;
    case WeightType::kQ3_K: return 3;
    case WeightType::kQ4_0:
    case WeightType::kQ4_1:
    case WeightType::kQ4_K: return 4;
    case WeightType::kQ5_0:
    case WeightType::kQ5_1:
    case WeightType::kQ5_K: return 5;
    case WeightType::kQ6_K: return 6;
    default: return 8;
  }
}

// The deviation of a weight whose block has the scale 1.
double unit_deviation(WeightType type) {
  switch (type) {
    case WeightType::kQ2_K: return code_deviation(2) * kQ2ScaleRms;
    case WeightType::kQ3_K: return code_deviation(3) * kQ3ScaleRms;
    case WeightType::kQ4_K:
    case WeightType::kQ5_K: return code_deviation(code_bits(type)) * kGroupScaleRms;
    case WeightType::kQ6_K: return code_deviation(6) * kQ6ScaleRms;
    case WeightType::kIQ4_NL: return table_deviation(kernels::kIq4Values);
    case WeightType::kIQ4_XS: return table_deviation(kernels::kIq4Values) * kIq4ScaleRms;
    case WeightType::kMXFP4: return table_deviation(kernels::kFp4Doubled);
    default: return code_deviation(code_bits(type));
  }
}

}  // namespace

RandomWeights::RandomWeights(WeightType type, float deviation, uint64_t seed) : type_(type), rng_(seed) {
  if (is_float(type)) {
    table_.resize(kTableSize * element_bytes(type));
    const double width = 2 * std::sqrt(3.0) * static_cast<double>(deviation);  // Of an even distribution.
    for (size_t i = 0; i < kTableSize; ++i) {
      const float value = static_cast<float>(((static_cast<double>(i) + 0.5) / kTableSize - 0.5) * width);
      const uint32_t bits = std::bit_cast<uint32_t>(value);
      const uint16_t halves =
          type == WeightType::kF16 ? kernels::float_to_half(value) : static_cast<uint16_t>(bits >> 16);
      const void* source = type == WeightType::kF32 ? static_cast<const void*>(&bits) : &halves;
      std::memcpy(table_.data() + i * element_bytes(type), source, element_bytes(type));
    }
    return;
  }
  const double scale = static_cast<double>(deviation) / unit_deviation(type);
  if (type == WeightType::kMXFP4) choose_exponents(scale);
  scale_ = half(scale);
  // K formats subtract their minimum, with the same factor as the scale; the others add it.
  const bool subtracts = type == WeightType::kQ2_K || type == WeightType::kQ4_K || type == WeightType::kQ5_K;
  minimum_ = half((subtracts ? 1 : -1) * scale * code_mean(code_bits(type)));
}

// Powers of two on both sides of `scale`, mixed so that their root mean square is it.
void RandomWeights::choose_exponents(double scale) {
  const int exponent = std::ilogb(scale);
  const double ratio = scale / std::ldexp(1.0, exponent);
  exponent_ = static_cast<uint8_t>(std::clamp(exponent + 128, 0, 254));
  larger_share_ = static_cast<uint8_t>(std::min(255.0, (ratio * ratio - 1) / 3 * 256));
}

void RandomWeights::fill(std::span<std::byte> out) {
  if (is_float(type_)) return fill_from_table(out);
  const size_t block_bytes = kernels::weight_type_info(static_cast<uint32_t>(type_))->block_bytes;
  INFER_CHECK(out.size() % block_bytes == 0);
  fill_bytes(out);
  for (size_t at = 0; at < out.size(); at += block_bytes) set_scales(out.data() + at);
}

void RandomWeights::fill_from_table(std::span<std::byte> out) {
  const size_t bytes = element_bytes(type_);
  INFER_CHECK(out.size() % bytes == 0);
  uint64_t random = 0;
  int left = 0;  // Draws of 12 bits left in `random`.
  for (size_t at = 0; at < out.size(); at += bytes) {
    if (left == 0) {
      random = rng_.next();
      left = 5;
    }
    std::memcpy(out.data() + at, table_.data() + (random % kTableSize) * bytes, bytes);
    random /= kTableSize;
    --left;
  }
}

void RandomWeights::fill_bytes(std::span<std::byte> out) {
  size_t at = 0;
  for (; at + 8 <= out.size(); at += 8) {
    const uint64_t random = rng_.next();
    std::memcpy(out.data() + at, &random, 8);
  }
  const uint64_t random = rng_.next();
  std::memcpy(out.data() + at, &random, out.size() - at);
}

void RandomWeights::set_scales(std::byte* block) {
  switch (type_) {
    case WeightType::kQ4_K:
    case WeightType::kQ5_K:
      std::memcpy(block, &scale_, 2);
      std::memcpy(block + 2, &minimum_, 2);
      set_group_scales(reinterpret_cast<uint8_t*>(block) + offsetof(kernels::BlockQ4_K, scales));
      return;
    case WeightType::kQ6_K: {
      std::memcpy(block + offsetof(kernels::BlockQ6_K, d), &scale_, 2);
      auto* scales = reinterpret_cast<uint8_t*>(block) + offsetof(kernels::BlockQ6_K, scales);
      for (int i = 0; i < 16; ++i) scales[i] = static_cast<uint8_t>(kQ6ScaleFirst + scales[i] % kQ6ScaleCount);
      return;
    }
    case WeightType::kQ2_K: {
      auto* scales = reinterpret_cast<uint8_t*>(block);
      for (int i = 0; i < 16; ++i) scales[i] = static_cast<uint8_t>((kQ2ScaleFirst + scales[i] % 8) * 0x11);
      std::memcpy(block + offsetof(kernels::BlockQ2_K, d), &scale_, 2);
      std::memcpy(block + offsetof(kernels::BlockQ2_K, dmin), &minimum_, 2);
      return;
    }
    case WeightType::kQ3_K: {
      // Upper pairs 00 and 11: scales far from zero, of either sign, so that codes of mean -1/2 leave no bias.
      auto* high = reinterpret_cast<uint8_t*>(block) + offsetof(kernels::BlockQ3_K, scales) + 8;
      for (int i = 0; i < 4; ++i) high[i] = static_cast<uint8_t>((high[i] & 0x55) * 3);
      std::memcpy(block + offsetof(kernels::BlockQ3_K, d), &scale_, 2);
      return;
    }
    case WeightType::kMXFP4: {
      const bool larger = std::to_integer<uint8_t>(block[0]) < larger_share_;
      block[0] = static_cast<std::byte>(exponent_ + (larger ? 1 : 0));
      return;
    }
    case WeightType::kQ4_1:
    case WeightType::kQ5_1: std::memcpy(block + 2, &minimum_, 2); [[fallthrough]];
    default: std::memcpy(block, &scale_, 2); return;
  }
}

// Scale and minimum factor of each of the 8 groups are the same number, so that every group has mean zero.
void RandomWeights::set_group_scales(uint8_t* scales) {
  uint32_t factor[8];
  for (uint32_t i = 0; i < 8; ++i) factor[i] = kGroupScaleFirst + scales[i] % 32;
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t high = factor[i + 4] >> 4;
    scales[i] = static_cast<uint8_t>(factor[i] | high << 6);
    scales[i + 4] = scales[i];
    scales[i + 8] = static_cast<uint8_t>((factor[i + 4] & 15) | (factor[i + 4] & 15) << 4);
  }
}

}  // namespace infer::measure
