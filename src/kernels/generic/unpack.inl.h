// The packed formats, one small struct each: how a panel's unit (16 rows of one block of the file) gives codes, scales
// and minima. A weight is (code - 2^kZeroBits) * scale + minimum (kZeroBits < 0: code * scale + minimum).
//
// Codes have kBits bits. A unit covers kBlocks blocks of 32 columns; a block has kGroups scale groups (1 of 32 or 2 of
// 16 columns). codes(unit, b, j) gives columns 4j..4j+3 of block b for all 16 rows.

// d[16] (half), then 4 words of 8 nibbles per row: word j of a row is bytes 4j..4j+3 of the file's block.
struct PackedQ4_0 {
  static constexpr int kBits = 4, kBlocks = 1, kGroups = 1, kZeroBits = 3, kUnitBytes = 288;
  static constexpr bool kHasMinimum = false;
  struct Scales {
    F32 d;
    explicit Scales(const std::byte* unit) : d(load_f16(reinterpret_cast<const uint16_t*>(unit))) {}
    F32 scale(int, int) const { return d; }
  };
  template <int kBlock, int kStep>
  static U8 codes(const std::byte* unit) {
    return bit_field<kStep / 4 * 4, 15>(load_u8(unit + 32 + kStep % 4 * 64));
  }
};

// d[16], m[16], nibbles as Q4_0.
struct PackedQ4_1 {
  static constexpr int kBits = 4, kBlocks = 1, kGroups = 1, kZeroBits = -1, kUnitBytes = 320;
  static constexpr bool kHasMinimum = true;
  struct Scales {
    F32 d, m;
    explicit Scales(const std::byte* unit)
        : d(load_f16(reinterpret_cast<const uint16_t*>(unit))),
          m(load_f16(reinterpret_cast<const uint16_t*>(unit + 32))) {}
    F32 scale(int, int) const { return d; }
    F32 minimum(int) const { return m; }
  };
  template <int kBlock, int kStep>
  static U8 codes(const std::byte* unit) {
    return bit_field<kStep / 4 * 4, 15>(load_u8(unit + 64 + kStep % 4 * 64));
  }
};

// The fifth bits of columns 4j..4j+3 of 16 rows as one 64-bit mask, in the order of the bytes of codes().
template <int kBit>
U8 with_high_bits(U8 low, const std::byte* masks, int index) {
  uint64_t mask;
  __builtin_memcpy(&mask, masks + index * 8, 8);
  return or_where<kBit>(low, mask);
}

// d[16], 8 masks of fifth bits, nibbles as Q4_0.
struct PackedQ5_0 {
  static constexpr int kBits = 5, kBlocks = 1, kGroups = 1, kZeroBits = 4, kUnitBytes = 352;
  static constexpr bool kHasMinimum = false;
  using Scales = PackedQ4_0::Scales;
  template <int kBlock, int kStep>
  static U8 codes(const std::byte* unit) {
    return with_high_bits<16>(bit_field<kStep / 4 * 4, 15>(load_u8(unit + 96 + kStep % 4 * 64)), unit + 32, kStep);
  }
};

// d[16], m[16], 8 masks, nibbles.
struct PackedQ5_1 {
  static constexpr int kBits = 5, kBlocks = 1, kGroups = 1, kZeroBits = -1, kUnitBytes = 384;
  static constexpr bool kHasMinimum = true;
  using Scales = PackedQ4_1::Scales;
  template <int kBlock, int kStep>
  static U8 codes(const std::byte* unit) {
    return with_high_bits<16>(bit_field<kStep / 4 * 4, 15>(load_u8(unit + 128 + kStep % 4 * 64)), unit + 64, kStep);
  }
};

// d[16], 8 words of 4 codes per row, each code + 128.
struct PackedQ8_0 {
  static constexpr int kBits = 8, kBlocks = 1, kGroups = 1, kZeroBits = 7, kUnitBytes = 544;
  static constexpr bool kHasMinimum = false;
  using Scales = PackedQ4_0::Scales;
  template <int kBlock, int kStep>
  static U8 codes(const std::byte* unit) {
    return load_u8(unit + 32 + kStep * 64);
  }
};

// d[16], dmin[16]; three words per row of 6-bit scales: the low 4 bits of the 8 scales, the low 4 bits of the 8 minima,
// the upper 2 bits of the 8 scales and then of the 8 minima; then codes.
struct GroupedScales {
  F32 d, dmin;
  const std::byte* words;
  explicit GroupedScales(const std::byte* unit)
      : d(load_f16(reinterpret_cast<const uint16_t*>(unit))),
        dmin(load_f16(reinterpret_cast<const uint16_t*>(unit + 32))),
        words(unit + 64) {}
  static F32 six_bits(const std::byte* low, int low_shift, const std::byte* high, int high_shift) {
    return fma(word_field(high, high_shift, 3), set_f32(16.0f), word_field(low, low_shift, 15));
  }
  F32 scale(int block, int) const { return mul(d, six_bits(words, 4 * block, words + 128, 2 * block)); }
  F32 minimum(int block) const {
    return mul(sub(zero_f32(), dmin), six_bits(words + 64, 4 * block, words + 128, 16 + 2 * block));
  }
};
struct PackedQ4_K {
  static constexpr int kBits = 4, kBlocks = 8, kGroups = 1, kZeroBits = -1, kUnitBytes = 2304;
  static constexpr bool kHasMinimum = true;
  using Scales = GroupedScales;
  template <int kBlock, int kStep>
  static U8 codes(const std::byte* unit) {
    return bit_field<kBlock % 2 * 4, 15>(load_u8(unit + 256 + (kBlock / 2 * 8 + kStep) * 64));
  }
};
// As Q4_K with 64 masks of fifth bits before the codes.
struct PackedQ5_K {
  static constexpr int kBits = 5, kBlocks = 8, kGroups = 1, kZeroBits = -1, kUnitBytes = 2816;
  static constexpr bool kHasMinimum = true;
  using Scales = GroupedScales;
  template <int kBlock, int kStep>
  static U8 codes(const std::byte* unit) {
    const U8 low = bit_field<kBlock % 2 * 4, 15>(load_u8(unit + 768 + (kBlock / 2 * 8 + kStep) * 64));
    return with_high_bits<16>(low, unit + 256, kBlock * 8 + kStep);
  }
};

// d[16]; 16 groups of 16 signed scales; 32 words of low nibbles and 16 words of upper bit pairs per row.
struct PackedQ6_K {
  static constexpr int kBits = 6, kBlocks = 8, kGroups = 2, kZeroBits = 5, kUnitBytes = 3360;
  static constexpr bool kHasMinimum = false;
  struct Scales {
    F32 d;
    const int8_t* groups;
    explicit Scales(const std::byte* unit)
        : d(load_f16(reinterpret_cast<const uint16_t*>(unit))), groups(reinterpret_cast<const int8_t*>(unit + 32)) {}
    F32 scale(int block, int group) const { return mul(d, to_f32(load_i8(groups + (block * 2 + group) * 16))); }
  };
  template <int kBlock, int kStep>
  static U8 codes(const std::byte* unit) {
    constexpr int kHalf = kBlock / 4, kQuarter = kBlock % 4;
    const U8 low = load_u8(unit + 288 + (kHalf * 16 + kQuarter % 2 * 8 + kStep) * 64);
    const U8 high = load_u8(unit + 2336 + (kHalf * 8 + kStep) * 64);
    return or_u8(bit_field<kQuarter / 2 * 4, 15>(low), shift_left_u8<4>(bit_field<kQuarter * 2, 3>(high)));
  }
};

struct PackedF32 {
  using Element = float;
  static F32 load(const float* p) { return load_f32(p); }
};
struct PackedF16 {
  using Element = uint16_t;
  static F32 load(const uint16_t* p) { return load_f16(p); }
};
struct PackedBF16 {
  using Element = uint16_t;
  static F32 load(const uint16_t* p) { return load_bf16(p); }
};
