#include "kernels/packed_row.h"

#include <cstring>

#include "base/check.h"
#include "kernels/panels.h"
#include "kernels/reference.h"

namespace infer::kernels {

namespace {

// The inverse of generic/pack.inl.h, one block of one row; generic/unpack.inl.h draws the units.

void get_word(const std::byte* words, int row, void* to, int index) {
  std::memcpy(static_cast<std::byte*>(to) + 4 * index, words + 4 * row, 4);
}
void get_half(const std::byte* halves, int row, uint16_t& half) { std::memcpy(&half, halves + 2 * row, 2); }
uint32_t four_bits(const std::byte* masks, int index, int row) {
  uint64_t mask;
  std::memcpy(&mask, masks + 8 * index, 8);
  return static_cast<uint32_t>(mask >> (4 * row)) & 15u;
}
// The 32 fifth bits of a block of 32.
void get_high_bits(const std::byte* masks, int row, uint8_t* qh) {
  uint32_t bits = 0;
  for (int j = 0; j < 8; ++j) bits |= four_bits(masks, j, row) << (4 * j);
  std::memcpy(qh, &bits, 4);
}

// The 256 upper bits of Q5_K and Q3_K: bit g of byte i belongs to column 32g + i.
void get_high_bits_by_group(const std::byte* masks, int row, uint8_t* bytes) {
  std::memset(bytes, 0, 32);
  for (int group = 0; group < 8; ++group) {
    for (int i = 0; i < 32; ++i) {
      const uint32_t bit = four_bits(masks, group * 8 + i / 4, row) >> (i % 4) & 1u;
      bytes[i] = static_cast<uint8_t>(bytes[i] | bit << group);
    }
  }
}

void unpack_block(const std::byte* unit, int row, BlockQ4_0& b) {
  get_half(unit, row, b.d);
  for (int j = 0; j < 4; ++j) get_word(unit + 32 + 64 * j, row, b.qs, j);
}
void unpack_block(const std::byte* unit, int row, BlockQ4_1& b) {
  get_half(unit, row, b.d);
  get_half(unit + 32, row, b.m);
  for (int j = 0; j < 4; ++j) get_word(unit + 64 + 64 * j, row, b.qs, j);
}
void unpack_block(const std::byte* unit, int row, BlockQ5_0& b) {
  get_half(unit, row, b.d);
  get_high_bits(unit + 32, row, b.qh);
  for (int j = 0; j < 4; ++j) get_word(unit + 96 + 64 * j, row, b.qs, j);
}
void unpack_block(const std::byte* unit, int row, BlockQ5_1& b) {
  get_half(unit, row, b.d);
  get_half(unit + 32, row, b.m);
  get_high_bits(unit + 64, row, b.qh);
  for (int j = 0; j < 4; ++j) get_word(unit + 128 + 64 * j, row, b.qs, j);
}
void unpack_block(const std::byte* unit, int row, BlockQ8_0& b) {
  get_half(unit, row, b.d);
  for (int j = 0; j < 8; ++j) get_word(unit + 32 + 64 * j, row, b.qs, j);
  for (int8_t& q : b.qs) q = static_cast<int8_t>(static_cast<uint8_t>(q) ^ 0x80u);
}

// Three words of low scales, low minima and upper bit pairs -> the file's 12 bytes.
void unpack_grouped_scales(const std::byte* words, int row, uint8_t* scales) {
  uint32_t low[3];
  for (int w = 0; w < 3; ++w) get_word(words + 64 * w, row, low, w);
  const auto scale = [&](int g) { return (low[0] >> (4 * g) & 15u) | (low[2] >> (2 * g) & 3u) << 4; };
  const auto minimum = [&](int g) { return (low[1] >> (4 * g) & 15u) | (low[2] >> (16 + 2 * g) & 3u) << 4; };
  for (int g = 0; g < 4; ++g) {
    scales[g] = static_cast<uint8_t>(scale(g) | (scale(g + 4) >> 4) << 6);
    scales[g + 4] = static_cast<uint8_t>(minimum(g) | (minimum(g + 4) >> 4) << 6);
    scales[g + 8] = static_cast<uint8_t>((scale(g + 4) & 15u) | (minimum(g + 4) & 15u) << 4);
  }
}
void unpack_block(const std::byte* unit, int row, BlockQ4_K& b) {
  get_half(unit, row, b.d);
  get_half(unit + 32, row, b.dmin);
  unpack_grouped_scales(unit + 64, row, b.scales);
  for (int j = 0; j < 32; ++j) get_word(unit + 256 + 64 * j, row, b.qs, j);
}
void unpack_block(const std::byte* unit, int row, BlockQ5_K& b) {
  get_half(unit, row, b.d);
  get_half(unit + 32, row, b.dmin);
  unpack_grouped_scales(unit + 64, row, b.scales);
  get_high_bits_by_group(unit + 256, row, b.qh);
  for (int j = 0; j < 32; ++j) get_word(unit + 768 + 64 * j, row, b.qs, j);
}
void unpack_block(const std::byte* unit, int row, BlockQ6_K& b) {
  const bool starts_a_line = reinterpret_cast<uintptr_t>(unit) % 64 == 0;
  get_half(starts_a_line ? unit + 3328 : unit, row, b.d);
  const std::byte* lines = starts_a_line ? unit : unit + 32;
  for (int g = 0; g < 16; ++g) b.scales[g] = static_cast<int8_t>(lines[16 * g + row]);
  for (int j = 0; j < 32; ++j) get_word(lines + 256 + 64 * j, row, b.ql, j);
  for (int j = 0; j < 16; ++j) get_word(lines + 2304 + 64 * j, row, b.qh, j);
}

void unpack_block(const std::byte* unit, int row, BlockQ2_K& b) {
  get_half(unit, row, b.d);
  get_half(unit + 32, row, b.dmin);
  for (int g = 0; g < 16; ++g) b.scales[g] = static_cast<uint8_t>(unit[64 + 16 * g + row]);
  for (int j = 0; j < 16; ++j) get_word(unit + 320 + 64 * j, row, b.qs, j);
}
void unpack_block(const std::byte* unit, int row, BlockQ3_K& b) {
  get_half(unit, row, b.d);
  for (int g = 0; g < 12; ++g) b.scales[g] = static_cast<uint8_t>(unit[32 + 16 * g + row]);
  get_high_bits_by_group(unit + 224, row, b.hmask);
  for (int j = 0; j < 16; ++j) get_word(unit + 736 + 64 * j, row, b.qs, j);
}
void unpack_block(const std::byte* unit, int row, BlockIQ4_NL& b) {
  get_half(unit, row, b.d);
  for (int j = 0; j < 4; ++j) get_word(unit + 32 + 64 * j, row, b.qs, j);
}
void unpack_block(const std::byte* unit, int row, BlockIQ4_XS& b) {
  get_half(unit, row, b.d);
  get_half(unit + 32, row, b.scales_h);
  get_word(unit + 64, row, b.scales_l, 0);
  for (int j = 0; j < 32; ++j) get_word(unit + 128 + 64 * j, row, b.qs, j);
}
void unpack_block(const std::byte* unit, int row, BlockMXFP4& b) {
  b.e = static_cast<uint8_t>(unit[row]);
  for (int j = 0; j < 4; ++j) get_word(unit + 16 + 64 * j, row, b.qs, j);
}

template <class Block, int kElems>
void dequantize_units(WeightType type, const std::byte* panel, int row, int cols, float* out) {
  for (int c = 0; c < cols; c += kElems, panel += kPanelRows * sizeof(Block)) {
    Block block;
    unpack_block(panel, row, block);
    dequantize_row(type, reinterpret_cast<const std::byte*>(&block), kElems, out + c);
  }
}

template <class Element>
void dequantize_columns(WeightType type, const std::byte* panel, int row, int cols, float* out) {
  for (int c = 0; c < cols; ++c) {
    const size_t at = static_cast<size_t>(c) * kPanelRows + static_cast<size_t>(row);
    dequantize_row(type, panel + at * sizeof(Element), 1, out + c);
  }
}

}  // namespace

void dequantize_packed_row(const Panels& panels, int row, float* out) {
  INFER_CHECK(row >= 0 && row < panels.rows);
  const WeightType type = panels.type;
  const int cols = panels.cols, lane = row % kPanelRows;
  const std::byte* panel = panels.data + static_cast<size_t>(row / kPanelRows) * panel_bytes(type, cols);
  switch (type) {
    case WeightType::kF32: return dequantize_columns<float>(type, panel, lane, cols, out);
    case WeightType::kF16:
    case WeightType::kBF16: return dequantize_columns<uint16_t>(type, panel, lane, cols, out);
    case WeightType::kQ4_0: return dequantize_units<BlockQ4_0, 32>(type, panel, lane, cols, out);
    case WeightType::kQ4_1: return dequantize_units<BlockQ4_1, 32>(type, panel, lane, cols, out);
    case WeightType::kQ5_0: return dequantize_units<BlockQ5_0, 32>(type, panel, lane, cols, out);
    case WeightType::kQ5_1: return dequantize_units<BlockQ5_1, 32>(type, panel, lane, cols, out);
    case WeightType::kQ8_0: return dequantize_units<BlockQ8_0, 32>(type, panel, lane, cols, out);
    case WeightType::kQ2_K: return dequantize_units<BlockQ2_K, 256>(type, panel, lane, cols, out);
    case WeightType::kQ3_K: return dequantize_units<BlockQ3_K, 256>(type, panel, lane, cols, out);
    case WeightType::kQ4_K: return dequantize_units<BlockQ4_K, 256>(type, panel, lane, cols, out);
    case WeightType::kQ5_K: return dequantize_units<BlockQ5_K, 256>(type, panel, lane, cols, out);
    case WeightType::kQ6_K: return dequantize_units<BlockQ6_K, 256>(type, panel, lane, cols, out);
    case WeightType::kIQ4_NL: return dequantize_units<BlockIQ4_NL, 32>(type, panel, lane, cols, out);
    case WeightType::kIQ4_XS: return dequantize_units<BlockIQ4_XS, 256>(type, panel, lane, cols, out);
    case WeightType::kMXFP4: return dequantize_units<BlockMXFP4, 32>(type, panel, lane, cols, out);
  }
}

}  // namespace infer::kernels
