#include "kernels/reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace infer::kernels {

namespace {

struct ScaleMin {
  int scale, minimum;
};

// Group g of the 12 packed bytes of Q4_K and Q5_K (block_formats.h tells the packing).
ScaleMin unpack_scale_min(const uint8_t* scales, int g) {
  if (g < 4) return {scales[g] & 63, scales[g + 4] & 63};
  return {(scales[g + 4] & 15) | (scales[g - 4] >> 6) << 4, (scales[g + 4] >> 4) | (scales[g] >> 6) << 4};
}

void pack_scale_min(int g, ScaleMin value, uint8_t* scales) {
  const auto put = [scales](int index, int bits) { scales[index] = static_cast<uint8_t>(scales[index] | bits); };
  if (g < 4) {
    put(g, value.scale);
    put(g + 4, value.minimum);
    return;
  }
  put(g + 4, (value.scale & 15) | (value.minimum & 15) << 4);
  put(g - 4, (value.scale >> 4) << 6);
  put(g, (value.minimum >> 4) << 6);
}

int nibble(const uint8_t* qs, int i) { return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4; }
int high_bit(const uint8_t* qh, int i) { return (qh[i / 8] >> (i % 8)) & 1; }

void dequantize(const BlockQ4_0& b, float* out) {
  for (int i = 0; i < 32; ++i) out[i] = half_to_float(b.d) * static_cast<float>(nibble(b.qs, i) - 8);
}
void dequantize(const BlockQ4_1& b, float* out) {
  for (int i = 0; i < 32; ++i) {
    out[i] = half_to_float(b.d) * static_cast<float>(nibble(b.qs, i)) + half_to_float(b.m);
  }
}
void dequantize(const BlockQ5_0& b, float* out) {
  for (int i = 0; i < 32; ++i) {
    out[i] = half_to_float(b.d) * static_cast<float>((nibble(b.qs, i) | high_bit(b.qh, i) << 4) - 16);
  }
}
void dequantize(const BlockQ5_1& b, float* out) {
  for (int i = 0; i < 32; ++i) {
    out[i] = half_to_float(b.d) * static_cast<float>(nibble(b.qs, i) | high_bit(b.qh, i) << 4) + half_to_float(b.m);
  }
}
void dequantize(const BlockQ8_0& b, float* out) {
  for (int i = 0; i < 32; ++i) out[i] = half_to_float(b.d) * static_cast<float>(b.qs[i]);
}
void dequantize(const BlockQ4_K& b, float* out) {
  for (int i = 0; i < 256; ++i) {
    const ScaleMin s = unpack_scale_min(b.scales, i / 32);
    const int byte = b.qs[i / 64 * 32 + i % 32];
    const int q = i / 32 % 2 == 0 ? byte & 15 : byte >> 4;
    out[i] =
        half_to_float(b.d) * static_cast<float>(s.scale * q) - half_to_float(b.dmin) * static_cast<float>(s.minimum);
  }
}
void dequantize(const BlockQ5_K& b, float* out) {
  for (int i = 0; i < 256; ++i) {
    const ScaleMin s = unpack_scale_min(b.scales, i / 32);
    const int byte = b.qs[i / 64 * 32 + i % 32];
    const int low = i / 32 % 2 == 0 ? byte & 15 : byte >> 4;
    const int q = low | ((b.qh[i % 32] >> (i / 32)) & 1) << 4;
    out[i] =
        half_to_float(b.d) * static_cast<float>(s.scale * q) - half_to_float(b.dmin) * static_cast<float>(s.minimum);
  }
}
void dequantize(const BlockQ6_K& b, float* out) {
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, quarter = i % 128 / 32, l = i % 32;
    const int byte = b.ql[half * 64 + (quarter % 2) * 32 + l];
    const int low = quarter < 2 ? byte & 15 : byte >> 4;
    const int q = low | ((b.qh[half * 32 + l] >> (2 * quarter)) & 3) << 4;
    const int group = i / 16;
    out[i] = half_to_float(b.d) * static_cast<float>(b.scales[group]) * static_cast<float>(q - 32);
  }
}

int code_of_two_bits(const uint8_t* qs, int i) { return qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3; }

void dequantize(const BlockQ2_K& b, float* out) {
  for (int i = 0; i < 256; ++i) {
    const int scale = b.scales[i / 16] & 15, minimum = b.scales[i / 16] >> 4;
    out[i] = half_to_float(b.d) * static_cast<float>(scale * code_of_two_bits(b.qs, i)) -
             half_to_float(b.dmin) * static_cast<float>(minimum);
  }
}
void dequantize(const BlockQ3_K& b, float* out) {
  for (int i = 0; i < 256; ++i) {
    const int group = i / 16;
    const int low = b.scales[group % 8] >> (group / 8 * 4) & 15, high = b.scales[8 + group % 4] >> (group / 4 * 2) & 3;
    const int q = code_of_two_bits(b.qs, i) | (b.hmask[i % 32] >> (i / 32) & 1) << 2;
    out[i] = half_to_float(b.d) * static_cast<float>((low | high << 4) - 32) * static_cast<float>(q - 4);
  }
}
void dequantize(const BlockIQ4_NL& b, float* out) {
  for (int i = 0; i < 32; ++i) out[i] = half_to_float(b.d) * static_cast<float>(kIq4Values[nibble(b.qs, i)]);
}
void dequantize(const BlockIQ4_XS& b, float* out) {
  for (int i = 0; i < 256; ++i) {
    const int group = i / 32;
    const int low = b.scales_l[group / 2] >> (group % 2 * 4) & 15, high = b.scales_h >> (2 * group) & 3;
    const auto value = static_cast<float>(kIq4Values[nibble(b.qs + 16 * group, i % 32)]);
    out[i] = half_to_float(b.d) * static_cast<float>((low | high << 4) - 32) * value;
  }
}
void dequantize(const BlockMXFP4& b, float* out) {
  for (int i = 0; i < 32; ++i) out[i] = std::ldexp(static_cast<float>(kFp4Doubled[nibble(b.qs, i)]), b.e - 128);
}

int round_clamped(float x, int low, int high) {
  return static_cast<int>(std::clamp(std::nearbyint(x), static_cast<float>(low), static_cast<float>(high)));
}

void put_nibble(uint8_t* qs, int i, int q) {
  uint8_t& byte = qs[i % 16];
  byte = static_cast<uint8_t>(byte | (i < 16 ? q & 15 : (q & 15) << 4));
}
void put_high_bit(uint8_t* qh, int i, int bit) { qh[i / 8] = static_cast<uint8_t>(qh[i / 8] | bit << (i % 8)); }

// The value of greatest magnitude, with its sign.
float extreme(const float* x, int n) {
  return *std::max_element(x, x + n, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
}
float inverse(float x) { return x != 0 ? 1 / x : 0; }

// Symmetric formats map the extreme value to the code farthest from zero, which is on the negative side.
void quantize(const float* x, BlockQ4_0& b) {
  b.d = float_to_half(extreme(x, 32) / -8);
  const float scale = inverse(half_to_float(b.d));
  for (int i = 0; i < 32; ++i) put_nibble(b.qs, i, round_clamped(x[i] * scale + 8, 0, 15));
}
void quantize(const float* x, BlockQ5_0& b) {
  b.d = float_to_half(extreme(x, 32) / -16);
  const float scale = inverse(half_to_float(b.d));
  for (int i = 0; i < 32; ++i) {
    const int q = round_clamped(x[i] * scale + 16, 0, 31);
    put_nibble(b.qs, i, q);
    put_high_bit(b.qh, i, q >> 4);
  }
}
void quantize(const float* x, BlockQ8_0& b) {
  b.d = float_to_half(std::fabs(extreme(x, 32)) / 127);
  const float scale = inverse(half_to_float(b.d));
  for (int i = 0; i < 32; ++i) b.qs[i] = static_cast<int8_t>(round_clamped(x[i] * scale, -127, 127));
}
template <class Block>
void quantize_with_minimum(const float* x, int codes_max, Block& b) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  b.d = float_to_half((*high - *low) / static_cast<float>(codes_max));
  b.m = float_to_half(*low);
  const float scale = inverse(half_to_float(b.d));
  for (int i = 0; i < 32; ++i) {
    const int q = round_clamped((x[i] - half_to_float(b.m)) * scale, 0, codes_max);
    put_nibble(b.qs, i, q);
    if constexpr (requires { b.qh; }) put_high_bit(b.qh, i, q >> 4);
  }
}
void quantize(const float* x, BlockQ4_1& b) { quantize_with_minimum(x, 15, b); }
void quantize(const float* x, BlockQ5_1& b) { quantize_with_minimum(x, 31, b); }

// Groups of 32 with 6-bit scale and minimum: both are multiples of the block's d and dmin.
template <class Block>
void quantize_grouped(const float* x, int codes_max, Block& b) {
  float scale[8], minimum[8];
  for (int g = 0; g < 8; ++g) {
    const auto [low, high] = std::minmax_element(x + 32 * g, x + 32 * g + 32);
    minimum[g] = std::max(0.0f, -*low);
    scale[g] = std::max(0.0f, *high + minimum[g]) / static_cast<float>(codes_max);
  }
  b.d = float_to_half(*std::max_element(scale, scale + 8) / 63);
  b.dmin = float_to_half(*std::max_element(minimum, minimum + 8) / 63);
  for (int g = 0; g < 8; ++g) {
    const ScaleMin s{round_clamped(scale[g] * inverse(half_to_float(b.d)), 0, 63),
                     round_clamped(minimum[g] * inverse(half_to_float(b.dmin)), 0, 63)};
    pack_scale_min(g, s, b.scales);
    const float step = half_to_float(b.d) * static_cast<float>(s.scale);
    const float shift = half_to_float(b.dmin) * static_cast<float>(s.minimum);
    for (int i = 32 * g; i < 32 * g + 32; ++i) {
      const int q = round_clamped((x[i] + shift) * inverse(step), 0, codes_max);
      uint8_t& byte = b.qs[i / 64 * 32 + i % 32];
      byte = static_cast<uint8_t>(byte | (g % 2 == 0 ? q & 15 : (q & 15) << 4));
      if constexpr (requires { b.qh; }) b.qh[i % 32] = static_cast<uint8_t>(b.qh[i % 32] | (q >> 4) << g);
    }
  }
}
void quantize(const float* x, BlockQ4_K& b) { quantize_grouped(x, 15, b); }
void quantize(const float* x, BlockQ5_K& b) { quantize_grouped(x, 31, b); }

void quantize(const float* x, BlockQ6_K& b) {
  float scale[16];
  for (int g = 0; g < 16; ++g) scale[g] = extreme(x + 16 * g, 16) / -32;
  b.d = float_to_half(std::fabs(extreme(scale, 16)) / 127);
  for (int g = 0; g < 16; ++g) {
    b.scales[g] = static_cast<int8_t>(round_clamped(scale[g] * inverse(half_to_float(b.d)), -127, 127));
    const float step = half_to_float(b.d) * static_cast<float>(b.scales[g]);
    for (int i = 16 * g; i < 16 * g + 16; ++i) {
      const int q = round_clamped(x[i] * inverse(step) + 32, 0, 63);
      const int half = i / 128, quarter = i % 128 / 32, l = i % 32;
      uint8_t& low = b.ql[half * 64 + (quarter % 2) * 32 + l];
      low = static_cast<uint8_t>(low | (quarter < 2 ? q & 15 : (q & 15) << 4));
      uint8_t& high = b.qh[half * 32 + l];
      high = static_cast<uint8_t>(high | (q >> 4) << (2 * quarter));
    }
  }
}

void put_two_bits(uint8_t* qs, int i, int q) {
  uint8_t& byte = qs[i / 128 * 32 + i % 32];
  byte = static_cast<uint8_t>(byte | (q & 3) << (i % 128 / 32 * 2));
}

void quantize(const float* x, BlockQ2_K& b) {
  float scale[16], minimum[16];
  for (int g = 0; g < 16; ++g) {
    const auto [low, high] = std::minmax_element(x + 16 * g, x + 16 * g + 16);
    minimum[g] = std::max(0.0f, -*low);
    scale[g] = std::max(0.0f, *high + minimum[g]) / 3;
  }
  b.d = float_to_half(*std::max_element(scale, scale + 16) / 15);
  b.dmin = float_to_half(*std::max_element(minimum, minimum + 16) / 15);
  for (int g = 0; g < 16; ++g) {
    const int sc = round_clamped(scale[g] * inverse(half_to_float(b.d)), 0, 15);
    const int mn = round_clamped(minimum[g] * inverse(half_to_float(b.dmin)), 0, 15);
    b.scales[g] = static_cast<uint8_t>(sc | mn << 4);
    const float step = half_to_float(b.d) * static_cast<float>(sc);
    const float shift = half_to_float(b.dmin) * static_cast<float>(mn);
    for (int i = 16 * g; i < 16 * g + 16; ++i) {
      put_two_bits(b.qs, i, round_clamped((x[i] + shift) * inverse(step), 0, 3));
    }
  }
}

void quantize(const float* x, BlockQ3_K& b) {
  float scale[16];
  for (int g = 0; g < 16; ++g) scale[g] = extreme(x + 16 * g, 16) / -4;
  b.d = float_to_half(extreme(scale, 16) / -32);
  for (int g = 0; g < 16; ++g) {
    const int sc = round_clamped(scale[g] * inverse(half_to_float(b.d)) + 32, 0, 63);
    b.scales[g % 8] = static_cast<uint8_t>(b.scales[g % 8] | (sc & 15) << (g / 8 * 4));
    b.scales[8 + g % 4] = static_cast<uint8_t>(b.scales[8 + g % 4] | (sc >> 4) << (g / 4 * 2));
    const float step = half_to_float(b.d) * static_cast<float>(sc - 32);
    for (int i = 16 * g; i < 16 * g + 16; ++i) {
      const int q = round_clamped(x[i] * inverse(step) + 4, 0, 7);
      put_two_bits(b.qs, i, q);
      b.hmask[i % 32] = static_cast<uint8_t>(b.hmask[i % 32] | (q >> 2) << (i / 32));
    }
  }
}

// The code whose value is nearest to x.
int nearest_code(const int8_t* values, float x) {
  int best = 0;
  for (int q = 1; q < 16; ++q) {
    if (std::fabs(static_cast<float>(values[q]) - x) < std::fabs(static_cast<float>(values[best]) - x)) best = q;
  }
  return best;
}

void quantize(const float* x, BlockIQ4_NL& b) {
  b.d = float_to_half(extreme(x, 32) / kIq4Values[0]);
  const float scale = inverse(half_to_float(b.d));
  for (int i = 0; i < 32; ++i) put_nibble(b.qs, i, nearest_code(kIq4Values, x[i] * scale));
}

void quantize(const float* x, BlockIQ4_XS& b) {
  float scale[8];
  for (int g = 0; g < 8; ++g) scale[g] = extreme(x + 32 * g, 32) / kIq4Values[0];
  b.d = float_to_half(extreme(scale, 8) / -32);
  for (int g = 0; g < 8; ++g) {
    const int sc = round_clamped(scale[g] * inverse(half_to_float(b.d)) + 32, 0, 63);
    b.scales_l[g / 2] = static_cast<uint8_t>(b.scales_l[g / 2] | (sc & 15) << (g % 2 * 4));
    b.scales_h = static_cast<uint16_t>(b.scales_h | (sc >> 4) << (2 * g));
    const float step = half_to_float(b.d) * static_cast<float>(sc - 32);
    for (int i = 0; i < 32; ++i) {
      put_nibble(b.qs + 16 * g, i, nearest_code(kIq4Values, x[32 * g + i] * inverse(step)));
    }
  }
}

// The power of two of the largest magnitude becomes that of the largest code (4 in E2M1); what lies above 6 saturates.
void quantize(const float* x, BlockMXFP4& b) {
  const float largest = std::fabs(extreme(x, 32));
  b.e = static_cast<uint8_t>(largest > 0 ? std::clamp(std::ilogb(largest) - 2 + 127, 0, 254) : 0);
  for (int i = 0; i < 32; ++i) put_nibble(b.qs, i, nearest_code(kFp4Doubled, std::ldexp(x[i], 128 - b.e)));
}

template <class Block, int kElems>
void dequantize_blocks(const std::byte* row, int cols, float* out) {
  INFER_CHECK(cols % kElems == 0);
  for (int i = 0; i < cols; i += kElems, row += sizeof(Block)) {
    Block block;
    std::memcpy(&block, row, sizeof block);
    dequantize(block, out + i);
  }
}
template <class Block, int kElems>
void quantize_blocks(const float* values, int cols, std::byte* row) {
  INFER_CHECK(cols % kElems == 0);
  for (int i = 0; i < cols; i += kElems, row += sizeof(Block)) {
    Block block{};
    quantize(values + i, block);
    std::memcpy(row, &block, sizeof block);
  }
}

template <class Element, class Convert>
void convert_elements(const std::byte* row, int cols, float* out, Convert convert) {
  for (int i = 0; i < cols; ++i) {
    Element element;
    std::memcpy(&element, row + static_cast<size_t>(i) * sizeof element, sizeof element);
    out[i] = convert(element);
  }
}

}  // namespace

float half_to_float(uint16_t half) {
  const uint32_t sign = (half & 0x8000u) << 16, exponent = (half >> 10) & 31u, mantissa = half & 0x3FFu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t bits = sign | (exponent == 31 ? 255u : exponent + 112u) << 23 | mantissa << 13;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

uint16_t float_to_half(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);   // NaN
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);  // Rounds to infinity.
  if (magnitude < 0x38800000u) {                                               // Subnormal: units of 2^-24.
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::nearbyint(std::fabs(value) * 0x1p24f)));
  }
  const uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | (rounded - 0x38000000u) >> 13);
}

float bfloat16_to_float(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float result;
  std::memcpy(&result, &wide, sizeof result);
  return result;
}

void dequantize_row(WeightType type, const std::byte* row, int cols, float* out) {
  switch (type) {
    case WeightType::kF32: return convert_elements<float>(row, cols, out, [](float x) { return x; });
    case WeightType::kF16: return convert_elements<uint16_t>(row, cols, out, half_to_float);
    case WeightType::kBF16: return convert_elements<uint16_t>(row, cols, out, bfloat16_to_float);
    case WeightType::kQ4_0: return dequantize_blocks<BlockQ4_0, 32>(row, cols, out);
    case WeightType::kQ4_1: return dequantize_blocks<BlockQ4_1, 32>(row, cols, out);
    case WeightType::kQ5_0: return dequantize_blocks<BlockQ5_0, 32>(row, cols, out);
    case WeightType::kQ5_1: return dequantize_blocks<BlockQ5_1, 32>(row, cols, out);
    case WeightType::kQ8_0: return dequantize_blocks<BlockQ8_0, 32>(row, cols, out);
    case WeightType::kQ2_K: return dequantize_blocks<BlockQ2_K, 256>(row, cols, out);
    case WeightType::kQ3_K: return dequantize_blocks<BlockQ3_K, 256>(row, cols, out);
    case WeightType::kQ4_K: return dequantize_blocks<BlockQ4_K, 256>(row, cols, out);
    case WeightType::kQ5_K: return dequantize_blocks<BlockQ5_K, 256>(row, cols, out);
    case WeightType::kQ6_K: return dequantize_blocks<BlockQ6_K, 256>(row, cols, out);
    case WeightType::kIQ4_NL: return dequantize_blocks<BlockIQ4_NL, 32>(row, cols, out);
    case WeightType::kIQ4_XS: return dequantize_blocks<BlockIQ4_XS, 256>(row, cols, out);
    case WeightType::kMXFP4: return dequantize_blocks<BlockMXFP4, 32>(row, cols, out);
  }
  INFER_CHECK(false && "unknown weight type");
}

void quantize_row(WeightType type, const float* values, int cols, std::byte* row) {
  switch (type) {
    case WeightType::kF32: std::memcpy(row, values, static_cast<size_t>(cols) * sizeof(float)); return;
    case WeightType::kF16:
      for (int i = 0; i < cols; ++i) {
        const uint16_t half = float_to_half(values[i]);
        std::memcpy(row + static_cast<size_t>(i) * sizeof half, &half, sizeof half);
      }
      return;
    case WeightType::kBF16:
      for (int i = 0; i < cols; ++i) {
        uint32_t bits;
        std::memcpy(&bits, values + i, sizeof bits);
        const auto rounded = static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
        std::memcpy(row + static_cast<size_t>(i) * sizeof rounded, &rounded, sizeof rounded);
      }
      return;
    case WeightType::kQ4_0: return quantize_blocks<BlockQ4_0, 32>(values, cols, row);
    case WeightType::kQ4_1: return quantize_blocks<BlockQ4_1, 32>(values, cols, row);
    case WeightType::kQ5_0: return quantize_blocks<BlockQ5_0, 32>(values, cols, row);
    case WeightType::kQ5_1: return quantize_blocks<BlockQ5_1, 32>(values, cols, row);
    case WeightType::kQ8_0: return quantize_blocks<BlockQ8_0, 32>(values, cols, row);
    case WeightType::kQ2_K: return quantize_blocks<BlockQ2_K, 256>(values, cols, row);
    case WeightType::kQ3_K: return quantize_blocks<BlockQ3_K, 256>(values, cols, row);
    case WeightType::kQ4_K: return quantize_blocks<BlockQ4_K, 256>(values, cols, row);
    case WeightType::kQ5_K: return quantize_blocks<BlockQ5_K, 256>(values, cols, row);
    case WeightType::kQ6_K: return quantize_blocks<BlockQ6_K, 256>(values, cols, row);
    case WeightType::kIQ4_NL: return quantize_blocks<BlockIQ4_NL, 32>(values, cols, row);
    case WeightType::kIQ4_XS: return quantize_blocks<BlockIQ4_XS, 256>(values, cols, row);
    case WeightType::kMXFP4: return quantize_blocks<BlockMXFP4, 32>(values, cols, row);
  }
  INFER_CHECK(false && "unknown weight type");
}

}  // namespace infer::kernels
