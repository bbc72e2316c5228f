// Repacking weights into panels, and inputs into tiles.

inline __attribute__((always_inline)) uint32_t word_at(const void* p, int index) {
  uint32_t word;
  __builtin_memcpy(&word, static_cast<const std::byte*>(p) + 4 * index, 4);
  return word;
}
inline __attribute__((always_inline)) void put_word(std::byte* words, int row, uint32_t word) {
  __builtin_memcpy(words + 4 * row, &word, 4);
}
inline __attribute__((always_inline)) void put_half(std::byte* halves, int row, uint16_t half) {
  __builtin_memcpy(halves + 2 * row, &half, 2);
}
// 4 bits of one row's 4 columns into the 64-bit mask of step `index`.
inline __attribute__((always_inline)) void put_mask(std::byte* masks, int index, int row, uint32_t four_bits) {
  uint64_t mask;
  __builtin_memcpy(&mask, masks + 8 * index, 8);
  mask |= static_cast<uint64_t>(four_bits & 15u) << (4 * row);
  __builtin_memcpy(masks + 8 * index, &mask, 8);
}

// Formats that are packed block by block: each function puts one block of one row into its unit (zeroed before).
// Layouts: unpack.inl.h.
void pack_block(const BlockQ5_0& b, int row, std::byte* unit) {
  put_half(unit, row, b.d);
  const uint32_t high = word_at(b.qh, 0);
  for (int j = 0; j < 8; ++j) put_mask(unit + 32, j, row, high >> (4 * j));
  for (int j = 0; j < 4; ++j) put_word(unit + 96 + 64 * j, row, word_at(b.qs, j));
}
void pack_block(const BlockQ5_1& b, int row, std::byte* unit) {
  put_half(unit, row, b.d);
  put_half(unit + 32, row, b.m);
  const uint32_t high = word_at(b.qh, 0);
  for (int j = 0; j < 8; ++j) put_mask(unit + 64, j, row, high >> (4 * j));
  for (int j = 0; j < 4; ++j) put_word(unit + 128 + 64 * j, row, word_at(b.qs, j));
}

// The blocks of 16 rows that make one unit: row r's block is at first + r * stride.
template <class Block>
struct UnitBlocks {
  const std::byte* first;
  size_t stride;

  const std::byte* block(int row) const { return first + static_cast<size_t>(row) * stride; }
};

template <class Format, class Block>
inline __attribute__((always_inline)) void pack_unit(const UnitBlocks<Block>& blocks, std::byte* unit) {
  __builtin_memset(unit, 0, Format::kUnitBytes);
  for (int r = 0; r < kPanelRows; ++r) {
    Block block;
    __builtin_memcpy(&block, blocks.block(r), sizeof(Block));
    pack_block(block, r, unit);
  }
}

// The formats that people use most are packed 16 rows at once. Words `offset / 4` and so on of each block become
// vectors of 16 rows, four at a time.
template <class Block>
inline __attribute__((always_inline)) void pack_words(const UnitBlocks<Block>& blocks, size_t offset, int words,
                                                      std::byte* target) {
  for (int j = 0; j < words; j += 4) {
    const WordRows four = transpose_words(blocks.first + offset + 4 * static_cast<size_t>(j), blocks.stride);
    for (int i = 0; i < 4; ++i) store_u8(target + 64 * (j + i), four.word[i]);
  }
}
template <class Block>
inline __attribute__((always_inline)) void pack_halves(const UnitBlocks<Block>& blocks, size_t offset,
                                                       std::byte* halves) {
  for (int r = 0; r < kPanelRows; ++r) __builtin_memcpy(halves + 2 * r, blocks.block(r) + offset, 2);
}

// The three words of 6-bit scales and minima that GroupedScales reads, for 16 rows, from the 12 bytes of each row that
// `words` holds as [3][16] words. A word's four bytes are worked on at once.
inline __attribute__((always_inline)) uint32_t low_nibbles(uint32_t bytes) {
  const uint32_t pairs = (bytes & 0x000F000Fu) | (bytes & 0x0F000F00u) >> 4;
  return (pairs | pairs >> 8) & 0xFFFFu;
}
inline __attribute__((always_inline)) uint32_t upper_pairs(uint32_t bytes) {  // Bits 4 and 5 of each byte.
  const uint32_t b = bytes >> 4 & 0x03030303u;
  return (b | b >> 6 | b >> 12 | b >> 18) & 0xFFu;
}
void pack_grouped_scales(const uint32_t* words, std::byte* target) {
  alignas(64) uint32_t packed[3][kPanelRows];
  for (int r = 0; r < kPanelRows; ++r) {
    const uint32_t first = words[r], second = words[kPanelRows + r], third = words[2 * kPanelRows + r];
    const uint32_t upper_scales = (third & 0x0F0F0F0Fu) | (first >> 2 & 0x30303030u);
    const uint32_t upper_minima = (third >> 4 & 0x0F0F0F0Fu) | (second >> 2 & 0x30303030u);
    packed[0][r] = low_nibbles(first) | low_nibbles(upper_scales) << 16;
    packed[1][r] = low_nibbles(second) | low_nibbles(upper_minima) << 16;
    packed[2][r] = upper_pairs(first) | upper_pairs(upper_scales) << 8 | upper_pairs(second) << 16 |
                   upper_pairs(upper_minima) << 24;
  }
  __builtin_memcpy(target, packed, sizeof packed);
}
// d, dmin and the scales of Q4_K and Q5_K: the block's first 16 bytes.
template <class Block>
inline __attribute__((always_inline)) void pack_grouped_head(const UnitBlocks<Block>& blocks, std::byte* unit) {
  const WordRows head = transpose_words(blocks.first, blocks.stride);
  store_u8(unit, transpose_halves(head.word[0]));
  alignas(64) uint32_t words[3 * kPanelRows];
  for (int i = 0; i < 3; ++i) store_u8(words + i * kPanelRows, head.word[i + 1]);
  pack_grouped_scales(words, unit + 64);
}

template <>
inline __attribute__((always_inline)) void pack_unit<PackedQ4_0>(const UnitBlocks<BlockQ4_0>& blocks, std::byte* unit) {
  pack_halves(blocks, offsetof(BlockQ4_0, d), unit);
  pack_words(blocks, offsetof(BlockQ4_0, qs), 4, unit + 32);
}
template <>
inline __attribute__((always_inline)) void pack_unit<PackedQ4_1>(const UnitBlocks<BlockQ4_1>& blocks, std::byte* unit) {
  pack_halves(blocks, offsetof(BlockQ4_1, d), unit);
  pack_halves(blocks, offsetof(BlockQ4_1, m), unit + 32);
  pack_words(blocks, offsetof(BlockQ4_1, qs), 4, unit + 64);
}
template <>
inline __attribute__((always_inline)) void pack_unit<PackedQ8_0>(const UnitBlocks<BlockQ8_0>& blocks, std::byte* unit) {
  pack_halves(blocks, offsetof(BlockQ8_0, d), unit);
  for (int j = 0; j < 8; j += 4) {
    const WordRows four =
        transpose_words(blocks.first + offsetof(BlockQ8_0, qs) + 4 * static_cast<size_t>(j), blocks.stride);
    for (int i = 0; i < 4; ++i) store_u8(unit + 32 + 64 * (j + i), flip_top_bits(four.word[i]));
  }
}
template <>
inline __attribute__((always_inline)) void pack_unit<PackedQ4_K>(const UnitBlocks<BlockQ4_K>& blocks, std::byte* unit) {
  pack_grouped_head(blocks, unit);
  pack_words(blocks, offsetof(BlockQ4_K, qs), 32, unit + 256);
}

// Mask (block, step) has bit `block` of each byte of one vector of fifth bits.
template <int kBlock>
inline __attribute__((always_inline)) void put_bit_masks(const U8 (&high)[8], std::byte* masks) {
  for (int j = 0; j < 8; ++j) {
    const uint64_t mask = bit_mask<kBlock>(high[j]);
    __builtin_memcpy(masks + (kBlock * 8 + j) * 8, &mask, 8);
  }
  if constexpr (kBlock < 7) put_bit_masks<kBlock + 1>(high, masks);
}
// The 256 bits of Q5_K and Q3_K, bit g of byte i belonging to column 32g + i, as masks.
template <class Block>
inline __attribute__((always_inline)) void pack_bits(const UnitBlocks<Block>& blocks, size_t offset, std::byte* masks) {
  U8 high[8];
  for (int j = 0; j < 8; j += 4) {
    const WordRows four = transpose_words(blocks.first + offset + 4 * static_cast<size_t>(j), blocks.stride);
    for (int i = 0; i < 4; ++i) high[j + i] = four.word[i];
  }
  put_bit_masks<0>(high, masks);
}
template <>
inline __attribute__((always_inline)) void pack_unit<PackedQ5_K>(const UnitBlocks<BlockQ5_K>& blocks, std::byte* unit) {
  pack_grouped_head(blocks, unit);
  pack_bits(blocks, offsetof(BlockQ5_K, qh), unit + 256);
  pack_words(blocks, offsetof(BlockQ5_K, qs), 32, unit + 768);
}
template <>
inline __attribute__((always_inline)) void pack_unit<PackedQ6_K>(const UnitBlocks<BlockQ6_K>& blocks, std::byte* unit) {
  pack_halves(blocks, offsetof(BlockQ6_K, d), unit + PackedQ6_K::halves_at(unit));
  std::byte* lines = unit + PackedQ6_K::lines_at(unit);
  const WordRows scales = transpose_words(blocks.first + offsetof(BlockQ6_K, scales), blocks.stride);
  for (int i = 0; i < 4; ++i) store_u8(lines + 64 * i, transpose_bytes(scales.word[i]));
  pack_words(blocks, offsetof(BlockQ6_K, ql), 32, lines + 256);
  pack_words(blocks, offsetof(BlockQ6_K, qh), 16, lines + 2304);
}

template <>
inline __attribute__((always_inline)) void pack_unit<PackedQ2_K>(const UnitBlocks<BlockQ2_K>& blocks, std::byte* unit) {
  pack_halves(blocks, offsetof(BlockQ2_K, d), unit);
  pack_halves(blocks, offsetof(BlockQ2_K, dmin), unit + 32);
  const WordRows scales = transpose_words(blocks.first + offsetof(BlockQ2_K, scales), blocks.stride);
  for (int i = 0; i < 4; ++i) store_u8(unit + 64 + 64 * i, transpose_bytes(scales.word[i]));
  pack_words(blocks, offsetof(BlockQ2_K, qs), 16, unit + 320);
}
template <>
inline __attribute__((always_inline)) void pack_unit<PackedQ3_K>(const UnitBlocks<BlockQ3_K>& blocks, std::byte* unit) {
  pack_halves(blocks, offsetof(BlockQ3_K, d), unit);
  // The block's last 16 bytes: two of codes, the 12 of scales, d.
  constexpr size_t kTail = sizeof(BlockQ3_K) - 16;
  const WordRows tail = transpose_words(blocks.first + kTail, blocks.stride);
  alignas(64) std::byte bytes[16][kPanelRows];
  for (int i = 0; i < 4; ++i) store_u8(bytes[4 * i], transpose_bytes(tail.word[i]));
  __builtin_memcpy(unit + 32, bytes[offsetof(BlockQ3_K, scales) - kTail], 12 * kPanelRows);
  pack_bits(blocks, offsetof(BlockQ3_K, hmask), unit + 224);
  pack_words(blocks, offsetof(BlockQ3_K, qs), 16, unit + 736);
}
template <>
inline __attribute__((always_inline)) void pack_unit<PackedIQ4_NL>(const UnitBlocks<BlockIQ4_NL>& blocks,
                                                                   std::byte* unit) {
  pack_halves(blocks, offsetof(BlockIQ4_NL, d), unit);
  pack_words(blocks, offsetof(BlockIQ4_NL, qs), 4, unit + 32);
}
template <>
inline __attribute__((always_inline)) void pack_unit<PackedIQ4_XS>(const UnitBlocks<BlockIQ4_XS>& blocks,
                                                                   std::byte* unit) {
  const WordRows head = transpose_words(blocks.first, blocks.stride);  // d and scales_h, then scales_l.
  store_u8(unit, transpose_halves(head.word[0]));
  store_u8(unit + 64, head.word[1]);
  pack_words(blocks, offsetof(BlockIQ4_XS, qs), 32, unit + 128);
}
template <>
inline __attribute__((always_inline)) void pack_unit<PackedMXFP4>(const UnitBlocks<BlockMXFP4>& blocks,
                                                                  std::byte* unit) {
  for (int r = 0; r < kPanelRows; ++r) unit[r] = *blocks.block(r);
  pack_words(blocks, offsetof(BlockMXFP4, qs), 4, unit + 16);
}

template <class Format, class Block>
void pack_block_panel(const std::byte* source, int rows, int cols, std::byte* panel) {
  const size_t blocks = static_cast<size_t>(cols) / (32 * Format::kBlocks);
  const size_t row_bytes = blocks * sizeof(Block);
  __builtin_memset(panel + blocks * Format::kUnitBytes, 0,
                   packed_panel_bytes<Format>(cols) - blocks * Format::kUnitBytes);
  if (rows == kPanelRows) {
    for (size_t b = 0; b < blocks; ++b) {
      pack_unit<Format>(UnitBlocks<Block>{source + b * sizeof(Block), row_bytes}, panel + b * Format::kUnitBytes);
    }
    return;
  }
  std::byte filled[kPanelRows * sizeof(Block)] = {};  // The rows that there are, then zeros.
  for (size_t b = 0; b < blocks; ++b) {
    for (int r = 0; r < rows; ++r) {
      __builtin_memcpy(filled + static_cast<size_t>(r) * sizeof(Block),
                       source + static_cast<size_t>(r) * row_bytes + b * sizeof(Block), sizeof(Block));
    }
    pack_unit<Format>(UnitBlocks<Block>{filled, sizeof(Block)}, panel + b * Format::kUnitBytes);
  }
}

// 16 whole rows, 16 bytes of each at a time: 4 columns of floats or 8 of halves.
template <class Element>
void pack_float_columns(const std::byte* source, size_t row_bytes, size_t bytes, std::byte* panel) {
  for (size_t at = 0; at < bytes; at += 16) {
    const WordRows four = transpose_words(source + at, row_bytes);
    for (int i = 0; i < 4; ++i) {
      const U8 columns = sizeof(Element) == 4 ? four.word[i] : transpose_halves(four.word[i]);
      store_u8(panel + at * kPanelRows + 64 * static_cast<size_t>(i), columns);
    }
  }
}

template <class Element>
void pack_float_panel(const std::byte* source, int rows, int cols, std::byte* panel) {
  const size_t row_bytes = static_cast<size_t>(cols) * sizeof(Element);
  const size_t vectored = rows == kPanelRows ? row_bytes / 16 * 16 : 0;
  pack_float_columns<Element>(source, row_bytes, vectored, panel);
  __builtin_memset(panel + vectored * kPanelRows, 0, (row_bytes * kPanelRows + 63) / 64 * 64 - vectored * kPanelRows);
  // The rest: columns in runs of one cache line per row, so that each line is read once.
  constexpr size_t kRun = 64 / sizeof(Element);
  for (size_t c0 = vectored / sizeof(Element); c0 < static_cast<size_t>(cols); c0 += kRun) {
    const size_t end = c0 + kRun < static_cast<size_t>(cols) ? c0 + kRun : static_cast<size_t>(cols);
    for (int r = 0; r < rows; ++r) {
      const std::byte* row = source + static_cast<size_t>(r) * row_bytes;
      for (size_t c = c0; c < end; ++c) {
        __builtin_memcpy(panel + (c * kPanelRows + static_cast<size_t>(r)) * sizeof(Element), row + c * sizeof(Element),
                         sizeof(Element));
      }
    }
  }
}

void pack_panel(WeightType type, const std::byte* source, int rows, int cols, std::byte* panel) {
  switch (type) {
    case WeightType::kF32: return pack_float_panel<float>(source, rows, cols, panel);
    case WeightType::kF16:
    case WeightType::kBF16: return pack_float_panel<uint16_t>(source, rows, cols, panel);
    case WeightType::kQ4_0: return pack_block_panel<PackedQ4_0, BlockQ4_0>(source, rows, cols, panel);
    case WeightType::kQ4_1: return pack_block_panel<PackedQ4_1, BlockQ4_1>(source, rows, cols, panel);
    case WeightType::kQ5_0: return pack_block_panel<PackedQ5_0, BlockQ5_0>(source, rows, cols, panel);
    case WeightType::kQ5_1: return pack_block_panel<PackedQ5_1, BlockQ5_1>(source, rows, cols, panel);
    case WeightType::kQ8_0: return pack_block_panel<PackedQ8_0, BlockQ8_0>(source, rows, cols, panel);
    case WeightType::kQ2_K: return pack_block_panel<PackedQ2_K, BlockQ2_K>(source, rows, cols, panel);
    case WeightType::kQ3_K: return pack_block_panel<PackedQ3_K, BlockQ3_K>(source, rows, cols, panel);
    case WeightType::kQ4_K: return pack_block_panel<PackedQ4_K, BlockQ4_K>(source, rows, cols, panel);
    case WeightType::kQ5_K: return pack_block_panel<PackedQ5_K, BlockQ5_K>(source, rows, cols, panel);
    case WeightType::kQ6_K: return pack_block_panel<PackedQ6_K, BlockQ6_K>(source, rows, cols, panel);
    case WeightType::kIQ4_NL: return pack_block_panel<PackedIQ4_NL, BlockIQ4_NL>(source, rows, cols, panel);
    case WeightType::kIQ4_XS: return pack_block_panel<PackedIQ4_XS, BlockIQ4_XS>(source, rows, cols, panel);
    case WeightType::kMXFP4: return pack_block_panel<PackedMXFP4, BlockMXFP4>(source, rows, cols, panel);
  }
}

// Bytes of `count` consecutive columns of one row in the file and of one panel, for the types above.
struct PackedSizes {
  size_t row, panel;
};
PackedSizes packed_sizes(WeightType type, int cols) {
  const auto columns = static_cast<size_t>(cols);
  size_t row = 0;
  switch (type) {
    case WeightType::kF32: row = columns * 4; break;
    case WeightType::kF16:
    case WeightType::kBF16: row = columns * 2; break;
    case WeightType::kQ4_0: row = columns / 32 * sizeof(BlockQ4_0); break;
    case WeightType::kQ4_1: row = columns / 32 * sizeof(BlockQ4_1); break;
    case WeightType::kQ5_0: row = columns / 32 * sizeof(BlockQ5_0); break;
    case WeightType::kQ5_1: row = columns / 32 * sizeof(BlockQ5_1); break;
    case WeightType::kQ8_0: row = columns / 32 * sizeof(BlockQ8_0); break;
    case WeightType::kQ2_K: row = columns / 256 * sizeof(BlockQ2_K); break;
    case WeightType::kQ3_K: row = columns / 256 * sizeof(BlockQ3_K); break;
    case WeightType::kQ4_K: row = columns / 256 * sizeof(BlockQ4_K); break;
    case WeightType::kQ5_K: row = columns / 256 * sizeof(BlockQ5_K); break;
    case WeightType::kQ6_K: row = columns / 256 * sizeof(BlockQ6_K); break;
    case WeightType::kIQ4_NL: row = columns / 32 * sizeof(BlockIQ4_NL); break;
    case WeightType::kIQ4_XS: row = columns / 256 * sizeof(BlockIQ4_XS); break;
    case WeightType::kMXFP4: row = columns / 32 * sizeof(BlockMXFP4); break;
  }
  return {row, (row * kPanelRows + 63) / 64 * 64};
}

void pack_panels(WeightType type, const std::byte* source, int rows, int cols, int panel_begin, int panel_end,
                 std::byte* target) {
  const PackedSizes sizes = packed_sizes(type, cols);
  for (int p = panel_begin; p < panel_end; ++p) {
    const int first = p * kPanelRows;
    const int count = rows - first < kPanelRows ? rows - first : kPanelRows;
    pack_panel(type, source + static_cast<size_t>(first) * sizes.row, count, cols,
               target + static_cast<size_t>(p) * sizes.panel);
  }
}

// Where token `token` lies: its tile's first element, the tile's tokens, and its place among them.
struct TokenPlace {
  size_t tile_first;
  size_t tile_tokens;
  size_t index;
};
TokenPlace place_of(int token, const Activations& to) {
  const int t0 = token / kTokenTile * kTokenTile;
  const int left = to.tokens - t0;
  return {static_cast<size_t>(t0) * static_cast<size_t>(to.cols),
          static_cast<size_t>(left < kTokenTile ? left : kTokenTile), static_cast<size_t>(token - t0)};
}

void pack_int8(const float* x, int token, const Activations& to) {
  const TokenPlace place = place_of(token, to);
  const size_t blocks = static_cast<size_t>(to.cols) / kActivationBlock;
  for (size_t b = 0; b < blocks; ++b, x += kActivationBlock) {
    const F32 low = load_f32(x), high = load_f32(x + 16);
    const float largest = max_lanes(max(abs(low), abs(high)));
    const float scale = largest / 127.0f;
    const F32 inverse = set_f32(largest > 0 ? 127.0f / largest : 0.0f);
    const I32 low_codes = round_to_i32(mul(low, inverse)), high_codes = round_to_i32(mul(high, inverse));
    const size_t at = b * place.tile_tokens + place.index;
    int8_t* codes = to.codes + place.tile_first + at * kActivationBlock;
    store_i8(codes, low_codes);
    store_i8(codes + 16, high_codes);
    const int32_t low_sum = sum_lanes_i32(low_codes), high_sum = sum_lanes_i32(high_codes);
    const size_t block = place.tile_first / kActivationBlock + at;
    to.scales[block] = scale;
    to.scaled_sums[block] = scale * static_cast<float>(low_sum + high_sum);
    to.neg_sums[2 * block] = -low_sum - high_sum;
    to.neg_sums[2 * block + 1] = -low_sum;
  }
}

void pack_f32(const float* x, int token, const Activations& to) {
  const TokenPlace place = place_of(token, to);
  float* values = to.values + place.tile_first + place.index;
  for (size_t c = 0; c < static_cast<size_t>(to.cols); ++c) values[c * place.tile_tokens] = x[c];
}
