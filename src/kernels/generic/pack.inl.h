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

// Each function puts one block of one row into its unit (zeroed before). Layouts: unpack.inl.h.
void pack_block(const BlockQ4_0& b, int row, std::byte* unit) {
  put_half(unit, row, b.d);
  for (int j = 0; j < 4; ++j) put_word(unit + 32 + 64 * j, row, word_at(b.qs, j));
}
void pack_block(const BlockQ4_1& b, int row, std::byte* unit) {
  put_half(unit, row, b.d);
  put_half(unit + 32, row, b.m);
  for (int j = 0; j < 4; ++j) put_word(unit + 64 + 64 * j, row, word_at(b.qs, j));
}
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
void pack_block(const BlockQ8_0& b, int row, std::byte* unit) {
  put_half(unit, row, b.d);
  for (int j = 0; j < 8; ++j) put_word(unit + 32 + 64 * j, row, word_at(b.qs, j) ^ 0x80808080u);
}

// The three words of 6-bit scales and minima that GroupedScales reads.
void pack_grouped_scales(const uint8_t* scales, int row, std::byte* words) {
  uint32_t low_scales = 0, low_minima = 0, high = 0;
  for (int g = 0; g < 8; ++g) {
    const uint32_t scale = g < 4 ? scales[g] & 63u : (scales[g + 4] & 15u) | (scales[g - 4] >> 6) << 4;
    const uint32_t minimum = g < 4 ? scales[g + 4] & 63u : (scales[g + 4] >> 4) | (scales[g] >> 6) << 4;
    low_scales |= (scale & 15u) << (4 * g);
    low_minima |= (minimum & 15u) << (4 * g);
    high |= (scale >> 4) << (2 * g) | (minimum >> 4) << (16 + 2 * g);
  }
  put_word(words, row, low_scales);
  put_word(words + 64, row, low_minima);
  put_word(words + 128, row, high);
}
void pack_block(const BlockQ4_K& b, int row, std::byte* unit) {
  put_half(unit, row, b.d);
  put_half(unit + 32, row, b.dmin);
  pack_grouped_scales(b.scales, row, unit + 64);
  for (int j = 0; j < 32; ++j) put_word(unit + 256 + 64 * j, row, word_at(b.qs, j));
}
void pack_block(const BlockQ5_K& b, int row, std::byte* unit) {
  put_half(unit, row, b.d);
  put_half(unit + 32, row, b.dmin);
  pack_grouped_scales(b.scales, row, unit + 64);
  for (int block = 0; block < 8; ++block) {
    for (int j = 0; j < 8; ++j) {
      // Bit `block` of 4 consecutive bytes: the multiplication gathers bits 0, 8, 16, 24 at bits 24..27.
      const uint32_t bits = (word_at(b.qh, j) >> block) & 0x01010101u;
      put_mask(unit + 256, block * 8 + j, row, (bits * 0x01020408u) >> 24);
    }
  }
  for (int j = 0; j < 32; ++j) put_word(unit + 768 + 64 * j, row, word_at(b.qs, j));
}
void pack_block(const BlockQ6_K& b, int row, std::byte* unit) {
  put_half(unit, row, b.d);
  for (int g = 0; g < 16; ++g) unit[32 + 16 * g + row] = static_cast<std::byte>(b.scales[g]);
  for (int j = 0; j < 32; ++j) put_word(unit + 288 + 64 * j, row, word_at(b.ql, j));
  for (int j = 0; j < 16; ++j) put_word(unit + 2336 + 64 * j, row, word_at(b.qh, j));
}

template <class Format, class Block>
void pack_block_panel(const std::byte* source, int rows, int cols, std::byte* panel) {
  const size_t blocks = static_cast<size_t>(cols) / (32 * Format::kBlocks);
  __builtin_memset(panel, 0, packed_panel_bytes<Format>(cols));
  for (size_t b = 0; b < blocks; ++b) {
    for (int r = 0; r < rows; ++r) {
      Block block;
      __builtin_memcpy(&block, source + (static_cast<size_t>(r) * blocks + b) * sizeof(Block), sizeof(Block));
      pack_block(block, r, panel + b * Format::kUnitBytes);
    }
  }
}

template <class Element>
void pack_float_panel(const std::byte* source, int rows, int cols, std::byte* panel) {
  const size_t row_bytes = static_cast<size_t>(cols) * sizeof(Element);
  __builtin_memset(panel, 0, (row_bytes * kPanelRows + 63) / 64 * 64);
  // Columns in runs of one cache line per row, so that each line is read once.
  constexpr size_t kRun = 64 / sizeof(Element);
  for (size_t c0 = 0; c0 < static_cast<size_t>(cols); c0 += kRun) {
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
    case WeightType::kQ4_K: return pack_block_panel<PackedQ4_K, BlockQ4_K>(source, rows, cols, panel);
    case WeightType::kQ5_K: return pack_block_panel<PackedQ5_K, BlockQ5_K>(source, rows, cols, panel);
    case WeightType::kQ6_K: return pack_block_panel<PackedQ6_K, BlockQ6_K>(source, rows, cols, panel);
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
    case WeightType::kQ4_K: row = columns / 256 * sizeof(BlockQ4_K); break;
    case WeightType::kQ5_K: row = columns / 256 * sizeof(BlockQ5_K); break;
    case WeightType::kQ6_K: row = columns / 256 * sizeof(BlockQ6_K); break;
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
