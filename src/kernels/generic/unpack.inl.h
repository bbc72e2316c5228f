// The packed formats, one small struct each: how a panel's unit (16 rows of one block of the file) gives codes, scales
// and minima. A weight is (code - 2^kZeroBits) * scale + minimum (kZeroBits < 0: code * scale + minimum).
//
// Codes have kBits bits. A unit covers kBlocks blocks of 32 columns; a block has kGroups scale groups (1 of 32 or 2 of
// 16 columns). Where in its bytes a block's bits lie repeats every kPhases blocks. codes<p, j>(unit, r) gives columns
// 4j..4j+3 of block r * kPhases + p for all 16 rows.
//
// Two formats have small integers as scales of 16 columns, and both leave one integer dot product to a block. Where
// 8-bit codes are taken as they are, the codes are multiplied with those scales; elsewhere the sums of 16 columns are
// (HasGroupScales), for they fit into 16 bits, and the instruction that widens those multiplies anyway.
inline constexpr bool kScalesSums = kWideCodesAreSigned;
template <class Format>
concept HasGroupScales = requires(const typename Format::Scales& scales) { scales.group_scales(0, 0); };
template <bool kFirst>
struct Either {
  template <class First, class Second>
  using Of = First;
};
template <>
struct Either<false> {
  template <class First, class Second>
  using Of = Second;
};

// body(phase, block) for the blocks of a unit, the phase a Constant. So is the block where units are unrolled;
// elsewhere it is a number, and there is code for one round of phases: from the cache Q4_K runs 1.4 times as fast so
// with AVX2 (Zen 3). Formats whose sums are scaled as groups lose by a loop.
template <class Format, class Body>
inline __attribute__((always_inline)) void for_each_block(Body body) {
  if constexpr (kUnitsAreUnrolled || HasGroupScales<Format>) {
    unrolled<0, Format::kBlocks>([&](auto block) __attribute__((always_inline)) {
      body(Constant<decltype(block)::value % Format::kPhases>{}, block);
    });
  } else {
#pragma GCC unroll 1
    for (int block = 0; block < Format::kBlocks; block += Format::kPhases) {
      unrolled<0, Format::kPhases>([&](auto phase)
                                       __attribute__((always_inline)) { body(phase, block + decltype(phase)::value); });
    }
  }
}

// d[16] (half), then 4 words of 8 nibbles per row: word j of a row is bytes 4j..4j+3 of the file's block.
struct PackedQ4_0 {
  static constexpr int kBits = 4, kBlocks = 1, kPhases = 1, kGroups = 1, kZeroBits = 3, kUnitBytes = 288;
  static constexpr bool kHasMinimum = false;
  struct Scales {
    F32 d;
    explicit Scales(const std::byte* unit) : d(load_f16(reinterpret_cast<const uint16_t*>(unit))) {}
    F32 scale(int, int) const { return d; }
  };
  template <int kPhase, int kStep>
  static U8 codes(const std::byte* unit, int) {
    return bit_field<kStep / 4 * 4, 15>(load_u8(unit + 32 + kStep % 4 * 64));
  }
};

// d[16], m[16], nibbles as Q4_0.
struct PackedQ4_1 {
  static constexpr int kBits = 4, kBlocks = 1, kPhases = 1, kGroups = 1, kZeroBits = -1, kUnitBytes = 320;
  static constexpr bool kHasMinimum = true;
  struct Scales {
    F32 d, m;
    explicit Scales(const std::byte* unit)
        : d(load_f16(reinterpret_cast<const uint16_t*>(unit))),
          m(load_f16(reinterpret_cast<const uint16_t*>(unit + 32))) {}
    F32 scale(int, int) const { return d; }
    F32 minimum(int) const { return m; }
  };
  template <int kPhase, int kStep>
  static U8 codes(const std::byte* unit, int) {
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
  static constexpr int kBits = 5, kBlocks = 1, kPhases = 1, kGroups = 1, kZeroBits = 4, kUnitBytes = 352;
  static constexpr bool kHasMinimum = false;
  using Scales = PackedQ4_0::Scales;
  template <int kPhase, int kStep>
  static U8 codes(const std::byte* unit, int) {
    return with_high_bits<16>(bit_field<kStep / 4 * 4, 15>(load_u8(unit + 96 + kStep % 4 * 64)), unit + 32, kStep);
  }
};

// d[16], m[16], 8 masks, nibbles.
struct PackedQ5_1 {
  static constexpr int kBits = 5, kBlocks = 1, kPhases = 1, kGroups = 1, kZeroBits = -1, kUnitBytes = 384;
  static constexpr bool kHasMinimum = true;
  using Scales = PackedQ4_1::Scales;
  template <int kPhase, int kStep>
  static U8 codes(const std::byte* unit, int) {
    return with_high_bits<16>(bit_field<kStep / 4 * 4, 15>(load_u8(unit + 128 + kStep % 4 * 64)), unit + 64, kStep);
  }
};

// d[16], 8 words of 4 codes per row, each code + 128.
struct PackedQ8_0 {
  static constexpr int kBits = 8, kBlocks = 1, kPhases = 1, kGroups = 1, kZeroBits = 7, kUnitBytes = 544;
  static constexpr bool kHasMinimum = false;
  using Scales = PackedQ4_0::Scales;
  template <int kPhase, int kStep>
  static U8 codes(const std::byte* unit, int) {
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
  static constexpr int kBits = 4, kBlocks = 8, kPhases = 2, kGroups = 1, kZeroBits = -1, kUnitBytes = 2304;
  static constexpr bool kHasMinimum = true;
  using Scales = GroupedScales;
  template <int kPhase, int kStep>
  static U8 codes(const std::byte* unit, int round) {
    return bit_field<kPhase * 4, 15>(load_u8(unit + 256 + (round * 8 + kStep) * 64));
  }
};
// As Q4_K with 64 masks of fifth bits before the codes.
struct PackedQ5_K {
  static constexpr int kBits = 5, kBlocks = 8, kPhases = 2, kGroups = 1, kZeroBits = -1, kUnitBytes = 2816;
  static constexpr bool kHasMinimum = true;
  using Scales = GroupedScales;
  template <int kPhase, int kStep>
  static U8 codes(const std::byte* unit, int round) {
    const U8 low = bit_field<kPhase * 4, 15>(load_u8(unit + 768 + (round * 8 + kStep) * 64));
    return with_high_bits<16>(low, unit + 256, (round * kPhases + kPhase) * 8 + kStep);
  }
};

// 16 groups of 16 signed scales; 32 words of low nibbles and 16 words of upper bit pairs per row; d[16]. Units are 52.5
// lines of memory long: in every second one, which starts in the middle of a line, d comes first, so that the vectors
// of all units are whole lines and not halves of two (1.6 to 4.9 % of one token's product).
struct PackedQ6_K {
  static constexpr int kBits = 6, kBlocks = 8, kPhases = 4, kGroups = 2, kZeroBits = 5, kUnitBytes = 3360;
  static constexpr bool kHasMinimum = false;
  static size_t lines_at(const std::byte* unit) { return reinterpret_cast<uintptr_t>(unit) % 64; }
  static size_t halves_at(const std::byte* unit) { return lines_at(unit) == 0 ? kUnitBytes - 32 : 0; }
  struct Scales {
    F32 d;
    const int8_t* groups;
    explicit Scales(const std::byte* unit)
        : d(load_f16(reinterpret_cast<const uint16_t*>(unit + halves_at(unit)))),
          groups(reinterpret_cast<const int8_t*>(unit + lines_at(unit))) {}
    F32 scale(int block, int group) const { return mul(d, to_f32(load_i8(groups + (block * 2 + group) * 16))); }
  };
  template <int kPhase, int kStep>
  static U8 codes(const std::byte* unit, int round) {
    const U8 low = load_u8(unit + lines_at(unit) + 256 + (round * 16 + kPhase % 2 * 8 + kStep) * 64);
    const U8 high = load_u8(unit + lines_at(unit) + 2304 + (round * 8 + kStep) * 64);
    return or_u8(bit_field<kPhase / 2 * 4, 15>(low), bit_field<kPhase * 2 - 4, 3 << 4>(high));
  }
};

// Formats with a minimum for each half of a block, that of columns 0..15 and that of columns 16..31. They are given as
// what multiplies minus the sum of all 32 inputs (index 0: the second half's minimum) and what multiplies minus the sum
// of the first 16 (index 1: by how much the first half's is greater).
template <class Format>
concept HasHalfMinima = requires(const typename Format::Scales& scales) { scales.half_minimum(0, 0); };

// Groups of 16 columns whose scales are small integers, multiplied with the codes: there are four 2-bit codes, hence
// four products to a row, and sixteen bytes hold those of four rows: a table for lookup(), whose index is the code
// behind two bits that tell the row.
U8 product_rows() {
  alignas(16) static constexpr uint8_t kRow[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
  return repeat_16(kRow);
}
U8 product_index(U8 two_bit_codes) { return or_u8(two_bit_codes, product_rows()); }

// Scales of 16 groups of 16 columns, [group][16 rows], for products with sums: those come 256 times too great.
struct GroupScales {
  F32 factor;  // The unit's scale / 256, exact: it is a half.
  alignas(64) int8_t group[16][16];
  const int8_t* group_scales(int block, int half) const { return group[2 * block + half]; }
  F32 scale(int, int) const { return factor; }
};

// d[16], dmin[16]; 16 groups of 16 bytes, each a row's scale in the low and its minimum in the high nibble; 16 words of
// 2-bit codes per row. Codes are products of up to 15 * 3, or as they are.
struct HalfMinima {
  F32 dmin;
  const std::byte* groups;
  explicit HalfMinima(const std::byte* unit)
      : dmin(load_f16(reinterpret_cast<const uint16_t*>(unit + 32))), groups(unit + 64) {}
  F32 half_minimum(int block, int half) const {
    const F32 second = to_f32(field_i32(widen_u8(groups + (2 * block + 1) * 16), 4, 15));
    if (half == 0) return mul(dmin, second);
    return mul(dmin, sub(to_f32(field_i32(widen_u8(groups + 2 * block * 16), 4, 15)), second));
  }
};
template <bool kSums>
struct PackedQ2 {
  static constexpr int kBits = kSums ? 2 : 6, kBlocks = 8, kPhases = 4, kGroups = 1, kZeroBits = -1, kUnitBytes = 1344;
  static constexpr bool kHasMinimum = false;
  struct ProductScales : HalfMinima {
    F32 d;
    explicit ProductScales(const std::byte* unit)
        : HalfMinima(unit), d(load_f16(reinterpret_cast<const uint16_t*>(unit))) {}
    F32 scale(int, int) const { return d; }
  };
  struct SumScales : HalfMinima, GroupScales {
    explicit SumScales(const std::byte* unit) : HalfMinima(unit) {
      factor = mul(load_f16(reinterpret_cast<const uint16_t*>(unit)), set_f32(0x1p-8f));
      for (int i = 0; i < 4; ++i) store_u8(group[4 * i], bit_field<0, 15>(load_u8(unit + 64 + 64 * i)));
    }
  };
  using Scales = typename Either<kSums>::template Of<SumScales, ProductScales>;
  template <int kPhase, int kStep>
  static U8 codes(const std::byte* unit, int round) {
    const U8 code = bit_field<kPhase * 2, 3>(load_u8(unit + 320 + (round * 8 + kStep) * 64));
    if constexpr (kSums) return code;
    const int group = 2 * (round * kPhases + kPhase) + kStep / 4;
    const I32 scale = field_i32(widen_u8(unit + 64 + group * 16), 0, 15);
    return lookup(bytes_of(mul_i32(scale, set_i32(0x03020100))), product_index(code));
  }
};
using PackedQ2_K = PackedQ2<kScalesSums>;

// d[16]; 12 groups of 16 bytes, the file's 12 bytes of scales of each row; 64 masks of third bits; 16 words of the
// lower two bits per row. Codes are 128 minus the product of the signed scale and the signed code, which lies in
// -124..128; or as they are, 4 above what they mean, and their scales are negated, so that integers are the same.
template <bool kSums>
struct PackedQ3 {
  static constexpr int kBits = kSums ? 3 : 8, kBlocks = 8, kPhases = 4, kGroups = 1, kZeroBits = kSums ? 2 : 7,
                       kUnitBytes = 1760;
  static constexpr bool kHasMinimum = false;
  static F32 neg_d(const std::byte* unit) { return sub(zero_f32(), load_f16(reinterpret_cast<const uint16_t*>(unit))); }
  struct ProductScales {
    F32 d;
    explicit ProductScales(const std::byte* unit) : d(neg_d(unit)) {}
    F32 scale(int, int) const { return d; }
  };
  struct SumScales : GroupScales {
    explicit SumScales(const std::byte* unit) {
      factor = mul(neg_d(unit), set_f32(0x1p-8f));
      const U8 low[2] = {load_u8(unit + 32), load_u8(unit + 96)};  // Of groups 0..3 and 8..11, 4..7 and 12..15.
      const U8 high = load_u8(unit + 160);                         // Of groups 0..3, 4..7, 8..11 and 12..15.
      const auto put = [&](int first, U8 low_bits, U8 high_bits) {
        store_u8(group[first], sub_u8(set_u8(32), or_u8(low_bits, high_bits)));
      };
      put(0, bit_field<0, 15>(low[0]), bit_field<-4, 48>(high));
      put(4, bit_field<0, 15>(low[1]), bit_field<-2, 48>(high));
      put(8, bit_field<4, 15>(low[0]), bit_field<0, 48>(high));
      put(12, bit_field<4, 15>(low[1]), bit_field<2, 48>(high));
    }
  };
  using Scales = typename Either<kSums>::template Of<SumScales, ProductScales>;
  static I32 scale_bits(const std::byte* unit, int group) {
    const I32 low = field_i32(widen_u8(unit + 32 + group % 8 * 16), group / 8 * 4, 15);
    const I32 high = field_i32(widen_u8(unit + 160 + group % 4 * 16), group / 4 * 2, 3);
    return add_i32(low, shift_left_i32(high, 4));
  }
  template <int kPhase, int kStep>  // More than the compiler would repeat: 987 calls in AVX-512's products.
  static inline __attribute__((always_inline)) U8 codes(const std::byte* unit, int round) {
    const int block = round * kPhases + kPhase;
    const U8 code = bit_field<kPhase * 2, 3>(load_u8(unit + 736 + (round * 8 + kStep) * 64));
    if constexpr (kSums) return with_high_bits<4>(code, unit + 224, block * 8 + kStep);
    // With s the 6 bits of the scale and q < 4: 128 - (s - 32) * (q - 4) = s * (4 - q) + 32 * q, no byte of which
    // carries; the third bit adds 128 - 4 * s (modulo 256), and 4 * s is the product of q = 0.
    const I32 scale = scale_bits(unit, 2 * block + kStep / 4);
    const U8 products = bytes_of(add_i32(mul_i32(scale, set_i32(0x01020304)), set_i32(0x60402000)));
    const U8 upper = sub_u8(set_u8(128), lookup(products, product_rows()));
    uint64_t mask;
    __builtin_memcpy(&mask, unit + 224 + (block * 8 + kStep) * 8, 8);
    return add_where(lookup(products, product_index(code)), upper, mask);
  }
};
using PackedQ3_K = PackedQ3<kScalesSums>;

// The values of 4-bit codes from a table of 16, plus what makes them unsigned.
template <int kZero>
U8 table_values(const int8_t (&values)[16], U8 codes) {
  return lookup(add_u8(repeat_16(reinterpret_cast<const uint8_t*>(values)), set_u8(kZero)), codes);
}

// d[16], nibbles as Q4_0. Codes are table values + 128.
struct PackedIQ4_NL {
  static constexpr int kBits = 8, kBlocks = 1, kPhases = 1, kGroups = 1, kZeroBits = 7, kUnitBytes = 288;
  static constexpr bool kHasMinimum = false;
  using Scales = PackedQ4_0::Scales;
  template <int kPhase, int kStep>
  static U8 codes(const std::byte* unit, int) {
    return table_values<128>(kIq4Values, PackedQ4_0::codes<kPhase, kStep>(unit, 0));
  }
};

// d[16], upper bit pairs of the 8 scales (half words)[16], a word per row of their low nibbles, then 32 words of
// nibbles per row, four for each block of 32. Codes are table values + 128.
struct PackedIQ4_XS {
  static constexpr int kBits = 8, kBlocks = 8, kPhases = 1, kGroups = 1, kZeroBits = 7, kUnitBytes = 2176;
  static constexpr bool kHasMinimum = false;
  struct Scales {
    F32 d;
    I32 high, low;
    explicit Scales(const std::byte* unit)
        : d(load_f16(reinterpret_cast<const uint16_t*>(unit))), high(widen_u16(unit + 32)), low(load_i32(unit + 64)) {}
    F32 scale(int block, int) const {
      const I32 six_bits = add_i32(field_i32(low, 4 * block, 15), shift_left_i32(field_i32(high, 2 * block, 3), 4));
      return mul(d, to_f32(add_i32(six_bits, set_i32(-32))));
    }
  };
  template <int kPhase, int kStep>
  static U8 codes(const std::byte* unit, int round) {
    const U8 word = load_u8(unit + 128 + (round * 4 + kStep % 4) * 64);
    return table_values<128>(kIq4Values, bit_field<kStep / 4 * 4, 15>(word));
  }
};

// Exponents e[16], nibbles as Q4_0. Codes are doubled values + 16, which takes 5 bits.
struct PackedMXFP4 {
  static constexpr int kBits = 5, kBlocks = 1, kPhases = 1, kGroups = 1, kZeroBits = 4, kUnitBytes = 272;
  static constexpr bool kHasMinimum = false;
  struct Scales {
    F32 power;  // 2^(e - 128)
    explicit Scales(const std::byte* unit) {
      const I32 e = widen_u8(unit);
      // The exponent field holds e - 1; below its range (e = 0 and 1) the number is subnormal and its mantissa doubles.
      const F32 normal = from_bits(add_i32(shift_left_i32(e, 23), set_i32(-(1 << 23))));
      const F32 subnormal = from_bits(add_i32(shift_left_i32(e, 21), set_i32(1 << 21)));
      power = select_less(to_f32(e), set_f32(2.0f), subnormal, normal);
    }
    F32 scale(int, int) const { return power; }
  };
  template <int kPhase, int kStep>
  static U8 codes(const std::byte* unit, int) {
    return table_values<16>(kFp4Doubled, bit_field<kStep / 4 * 4, 15>(load_u8(unit + 16 + kStep % 4 * 64)));
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

// body(the packed format of a block type).
template <class Body>
void with_block_format(WeightType type, Body body) {
  switch (type) {
    case WeightType::kF32:
    case WeightType::kF16:
    case WeightType::kBF16: return;  // Not block types.
    case WeightType::kQ4_0: return body(PackedQ4_0{});
    case WeightType::kQ4_1: return body(PackedQ4_1{});
    case WeightType::kQ5_0: return body(PackedQ5_0{});
    case WeightType::kQ5_1: return body(PackedQ5_1{});
    case WeightType::kQ8_0: return body(PackedQ8_0{});
    case WeightType::kQ2_K: return body(PackedQ2_K{});
    case WeightType::kQ3_K: return body(PackedQ3_K{});
    case WeightType::kQ4_K: return body(PackedQ4_K{});
    case WeightType::kQ5_K: return body(PackedQ5_K{});
    case WeightType::kQ6_K: return body(PackedQ6_K{});
    case WeightType::kIQ4_NL: return body(PackedIQ4_NL{});
    case WeightType::kIQ4_XS: return body(PackedIQ4_XS{});
    case WeightType::kMXFP4: return body(PackedMXFP4{});
  }
}
