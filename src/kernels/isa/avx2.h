// The vector vocabulary in AVX2 with FMA and F16C: two registers per vector. See scalar.h for the meanings.
// Included by kernels_avx2.cc only, inside namespace infer::kernels::avx2::(unnamed).

inline constexpr const char* kIsaName = "avx2";
inline constexpr int kTokenTile = 12;
inline constexpr int kPanelsAtOnce = 1;
inline constexpr int kRegisterTokens = 4;
inline constexpr int kStreamTokens = 8;
inline constexpr int kStreamTokensAtOnce = 4;
inline constexpr int kPairedStreamTokens = 1;
inline constexpr int kSharedInputTokens = 2;
inline constexpr bool kUnitsAreUnrolled = false;
inline constexpr int kFloatPairedTokens = 2;
inline constexpr int kFloatRegisterTokens = 6;
inline constexpr int kFloatColumns = 256;

struct F32 {
  __m256 lo, hi;
};
struct I32 {
  __m256i lo, hi;
};

// 16 registers are too few for the sums of a register tile beside what a block needs: kept in memory they cost a load
// and a store per block, while the compiler would rather move what changes with every step.
template <class T>
inline __attribute__((always_inline)) void keep_in_memory(T& sums) {
  if constexpr (sizeof(T) > 2 * 64) asm volatile("" : "+m"(sums));
}

F32 zero_f32() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
F32 set_f32(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
F32 load_f32(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
void store_f32(float* p, F32 v) {
  _mm256_storeu_ps(p, v.lo);
  _mm256_storeu_ps(p + 8, v.hi);
}
// All ones in the first n of 8 lanes; n may be below 0 or above 8.
__m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
const float* second_half(const float* p, int n) { return n > 8 ? p + 8 : p; }  // Not past the end where it is unused.
F32 load_f32_n(const float* p, int n) {
  return {_mm256_maskload_ps(p, first_lanes(n)), _mm256_maskload_ps(second_half(p, n), first_lanes(n - 8))};
}
void store_f32_n(float* p, F32 v, int n) {
  _mm256_maskstore_ps(p, first_lanes(n), v.lo);
  if (n > 8) _mm256_maskstore_ps(p + 8, first_lanes(n - 8), v.hi);
}
F32 add(F32 a, F32 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
F32 sub(F32 a, F32 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
F32 mul(F32 a, F32 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
F32 div(F32 a, F32 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
F32 fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)}; }
F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
F32 min(F32 a, F32 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
F32 abs(F32 a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
F32 select_less(F32 a, F32 b, F32 x, F32 y) {
  return {_mm256_blendv_ps(y.lo, x.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
          _mm256_blendv_ps(y.hi, x.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}
float sum_lanes(F32 v) {
  const __m256 eight = _mm256_add_ps(v.lo, v.hi);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
float max_lanes(F32 v) {
  const __m256 eight = _mm256_max_ps(v.lo, v.hi);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

struct F64 {
  __m256d quarter[4];  // Lanes 0..3, 4..7, 8..11, 12..15.
};
F64 zero_f64() { return {{_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()}}; }
F64 add_f64(F64 sum, F32 v) {
  return {{_mm256_add_pd(sum.quarter[0], _mm256_cvtps_pd(_mm256_castps256_ps128(v.lo))),
           _mm256_add_pd(sum.quarter[1], _mm256_cvtps_pd(_mm256_extractf128_ps(v.lo, 1))),
           _mm256_add_pd(sum.quarter[2], _mm256_cvtps_pd(_mm256_castps256_ps128(v.hi))),
           _mm256_add_pd(sum.quarter[3], _mm256_cvtps_pd(_mm256_extractf128_ps(v.hi, 1)))}};
}
double sum_lanes_f64(F64 v) {
  const __m256d four =
      _mm256_add_pd(_mm256_add_pd(v.quarter[0], v.quarter[2]), _mm256_add_pd(v.quarter[1], v.quarter[3]));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

inline constexpr int kRegisterVectors = 8;
inline constexpr int kPeakSums = 5;
inline constexpr int kPeakByteSums = 3;

F32 load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
F32 load_bf16(const uint16_t* p) {
  const __m256i lo = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m256i hi = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(lo, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16))};
}

I32 set_i32(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
I32 add_i32(I32 a, I32 b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
I32 load_i32(const void* p) {
  const auto* words = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(words), _mm256_loadu_si256(words + 1)};
}
I32 shift_left_i32(I32 a, int bits) { return {_mm256_slli_epi32(a.lo, bits), _mm256_slli_epi32(a.hi, bits)}; }
F32 to_f32(I32 v) { return {_mm256_cvtepi32_ps(v.lo), _mm256_cvtepi32_ps(v.hi)}; }
I32 round_to_i32(F32 v) { return {_mm256_cvtps_epi32(v.lo), _mm256_cvtps_epi32(v.hi)}; }
I32 bits_of(F32 v) { return {_mm256_castps_si256(v.lo), _mm256_castps_si256(v.hi)}; }
F32 from_bits(I32 v) { return {_mm256_castsi256_ps(v.lo), _mm256_castsi256_ps(v.hi)}; }
void store_i8(int8_t* p, I32 v) {
  // packs works within 128-bit halves: gather the low bytes, then put the four words in order.
  const __m256i low = _mm256_set1_epi32(0xFF);
  const __m256i words = _mm256_packus_epi32(_mm256_and_si256(v.lo, low), _mm256_and_si256(v.hi, low));
  const __m256i bytes = _mm256_packus_epi16(words, words);
  const __m256i order = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(order));
}
void store_i16(int16_t* p, I32 v) {
  // The low halves of each lane, then the quarters in order (saturation cannot occur: the upper halves are cleared).
  const __m256i low = _mm256_set1_epi32(0xFFFF);
  const __m256i words = _mm256_packus_epi32(_mm256_and_si256(v.lo, low), _mm256_and_si256(v.hi, low));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(words, 0xD8));
}
// Written out, so that each product is added at once: the compiler would collect products, and put sums into memory.
__m256i add_dot_pairs(__m256i sum, __m256i a, __m256i b) {
  __m256i product;
  asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sum), "=&x"(product) : "x"(a), "x"(b));
  return sum;
}
I32 dot_pairs(I32 sum, I32 a, I32 b) { return {add_dot_pairs(sum.lo, a.lo, b.lo), add_dot_pairs(sum.hi, a.hi, b.hi)}; }
I32 load_i8(const int8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))};
}
I32 mul_i32(I32 a, I32 b) { return {_mm256_mullo_epi32(a.lo, b.lo), _mm256_mullo_epi32(a.hi, b.hi)}; }
I32 widen_u8(const void* p) {
  const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}
I32 widen_u16(const void* p) {
  const auto* eight = static_cast<const __m128i*>(p);
  return {_mm256_cvtepu16_epi32(_mm_loadu_si128(eight)), _mm256_cvtepu16_epi32(_mm_loadu_si128(eight + 1))};
}
I32 field_i32(I32 v, int shift, uint32_t mask) {
  const __m256i keep = _mm256_set1_epi32(static_cast<int>(mask));
  return {_mm256_and_si256(_mm256_srli_epi32(v.lo, shift), keep),
          _mm256_and_si256(_mm256_srli_epi32(v.hi, shift), keep)};
}
int32_t sum_lanes_i32(I32 v) {
  const __m256i eight = _mm256_add_epi32(v.lo, v.hi);
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
}

struct U8 {
  __m256i lo, hi;
};
U8 load_u8(const void* p) {
  const auto* bytes = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(bytes), _mm256_loadu_si256(bytes + 1)};
}
void store_u8(void* p, U8 v) {
  auto* bytes = static_cast<__m256i*>(p);
  _mm256_storeu_si256(bytes, v.lo);
  _mm256_storeu_si256(bytes + 1, v.hi);
}
template <int kShift, int kMask>
U8 bit_field(U8 v) {
  const __m256i mask = _mm256_set1_epi8(kMask);
  if constexpr (kShift == 0) return {_mm256_and_si256(v.lo, mask), _mm256_and_si256(v.hi, mask)};
  if constexpr (kShift < 0) {
    return {_mm256_and_si256(_mm256_slli_epi16(v.lo, -kShift), mask),
            _mm256_and_si256(_mm256_slli_epi16(v.hi, -kShift), mask)};
  }
  return {_mm256_and_si256(_mm256_srli_epi16(v.lo, kShift), mask),
          _mm256_and_si256(_mm256_srli_epi16(v.hi, kShift), mask)};
}
U8 or_u8(U8 a, U8 b) { return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)}; }
// All ones in byte i of 64 where bit i is set: each byte of the mask is spread over 8 lanes, whose bits are tested. The
// mask is broadcast whole, which a load from memory does on the way.
U8 where(uint64_t mask) {
  const __m256i bytes = _mm256_set1_epi64x(static_cast<long long>(mask));
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
  const __m256i first =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i second =
      _mm256_setr_epi8(4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7);
  return {_mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(bytes, first), bit), bit),
          _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(bytes, second), bit), bit)};
}
U8 set_u8(int x) {
  const __m256i bytes = _mm256_set1_epi8(static_cast<char>(x));
  return {bytes, bytes};
}
U8 add_u8(U8 a, U8 b) { return {_mm256_add_epi8(a.lo, b.lo), _mm256_add_epi8(a.hi, b.hi)}; }
U8 sub_u8(U8 a, U8 b) { return {_mm256_sub_epi8(a.lo, b.lo), _mm256_sub_epi8(a.hi, b.hi)}; }
U8 repeat_16(const uint8_t* p) {
  const __m256i twice = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return {twice, twice};
}
U8 bytes_of(I32 v) { return {v.lo, v.hi}; }
// In 16 bits: the instruction for bytes would saturate, as 2 * 255 * 127 does not fit.
__m256i add_dot_bytes(__m256i sum, __m256i a, __m256i b) {
  const __m256i even = _mm256_and_si256(a, _mm256_set1_epi16(0xFF)), odd = _mm256_srli_epi16(a, 8);
  sum = add_dot_pairs(sum, even, _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
  return add_dot_pairs(sum, odd, _mm256_srai_epi16(b, 8));
}
I32 dot_bytes(I32 sum, U8 a, U8 b) { return {add_dot_bytes(sum.lo, a.lo, b.lo), add_dot_bytes(sum.hi, a.hi, b.hi)}; }
U8 lookup(U8 table, U8 index) {
  return {_mm256_shuffle_epi8(table.lo, index.lo), _mm256_shuffle_epi8(table.hi, index.hi)};
}
template <int kValue>
U8 or_where(U8 v, uint64_t mask) {
  const __m256i value = _mm256_set1_epi8(static_cast<char>(kValue));
  const U8 set = where(mask);
  return {_mm256_or_si256(v.lo, _mm256_and_si256(set.lo, value)),
          _mm256_or_si256(v.hi, _mm256_and_si256(set.hi, value))};
}
U8 add_where(U8 v, U8 addend, uint64_t mask) {
  const U8 set = where(mask);
  return {_mm256_add_epi8(v.lo, _mm256_and_si256(set.lo, addend.lo)),
          _mm256_add_epi8(v.hi, _mm256_and_si256(set.hi, addend.hi))};
}
struct WordRows {
  U8 word[4];
};
// Words of 8 rows: rows 0..3 in the low 128 bits, 4..7 in the high ones.
inline __attribute__((always_inline)) void transpose_eight_rows(const std::byte* rows, size_t stride,
                                                                __m256i (&word)[4]) {
  __m256i pair[4];  // pair[i]: rows i and 4 + i.
  for (size_t i = 0; i < 4; ++i) {
    const auto row = [&](size_t r) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + r * stride)); };
    pair[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(row(i)), row(4 + i), 1);
  }
  const __m256i low01 = _mm256_unpacklo_epi32(pair[0], pair[1]), high01 = _mm256_unpackhi_epi32(pair[0], pair[1]);
  const __m256i low23 = _mm256_unpacklo_epi32(pair[2], pair[3]), high23 = _mm256_unpackhi_epi32(pair[2], pair[3]);
  word[0] = _mm256_unpacklo_epi64(low01, low23);
  word[1] = _mm256_unpackhi_epi64(low01, low23);
  word[2] = _mm256_unpacklo_epi64(high01, high23);
  word[3] = _mm256_unpackhi_epi64(high01, high23);
}
WordRows transpose_words(const std::byte* rows, size_t stride) {
  __m256i low[4], high[4];
  transpose_eight_rows(rows, stride, low);
  transpose_eight_rows(rows + 8 * stride, stride, high);
  return {{{low[0], high[0]}, {low[1], high[1]}, {low[2], high[2]}, {low[3], high[3]}}};
}
U8 transpose_halves(U8 words) {
  const __m256i within =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
  const __m256i lo = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(words.lo, within), 0xD8);
  const __m256i hi = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(words.hi, within), 0xD8);
  return {_mm256_permute2x128_si256(lo, hi, 0x20), _mm256_permute2x128_si256(lo, hi, 0x31)};
}
U8 transpose_bytes(U8 words) {
  const __m256i within =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m256i across = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i lo = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(words.lo, within), across);
  const __m256i hi = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(words.hi, within), across);
  const __m256i even = _mm256_unpacklo_epi64(lo, hi), odd = _mm256_unpackhi_epi64(lo, hi);
  return {_mm256_permute2x128_si256(even, odd, 0x20), _mm256_permute2x128_si256(even, odd, 0x31)};
}
U8 flip_top_bits(U8 v) {
  const __m256i top = _mm256_set1_epi8(-128);
  return {_mm256_xor_si256(v.lo, top), _mm256_xor_si256(v.hi, top)};
}
template <int kBit>
uint64_t bit_mask(U8 v) {  // Bits shifted in from the neighbour byte lie below the top one.
  const auto low = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_slli_epi16(v.lo, 7 - kBit)));
  const auto high = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_slli_epi16(v.hi, 7 - kBit)));
  return low | static_cast<uint64_t>(high) << 32;
}
// maddubs adds two products of an unsigned and a signed byte in 16 bits, and 16 bits hold several such pairs when codes
// are small: 8 of 2 * 15 * 127, 4 of 2 * 31 * 127, 2 of 2 * 63 * 127. Widening to 32 bits waits until then.
// 8-bit codes would overflow at once: they are taken signed, as |w| * (x with w's sign); 2 * 128 * 127 fits, once.
inline constexpr bool kWideCodesAreSigned = true;
template <int kBits, int kSteps>
struct Dot {
  static constexpr int kStepsPerWidening = kBits <= 4 ? 8 : kBits == 5 ? 4 : kBits == 6 ? 2 : 1;
  I32 sum;
  __m256i lo, hi;  // The 16-bit sums, begun by the first step of each run.

  void begin(I32) {}
  template <int kStep>
  inline __attribute__((always_inline)) void step(U8 codes, const int8_t* x) {
    int32_t word;
    __builtin_memcpy(&word, x, 4);
    const __m256i four = _mm256_set1_epi32(word);
    if constexpr (kStep % kStepsPerWidening == 0) {
      lo = products(codes.lo, four);
      hi = products(codes.hi, four);
    } else {
      lo = _mm256_add_epi16(lo, products(codes.lo, four));
      hi = _mm256_add_epi16(hi, products(codes.hi, four));
      // In this order, and not as the compiler likes it: all products of a block first, in memory, then their sums.
      // Six bits leave runs of two, whose sums are too many for the registers in any order.
      if constexpr (kBits != 6) asm("" : "+x"(lo), "+x"(hi));
    }
    if constexpr (kStep % kStepsPerWidening == kStepsPerWidening - 1) {
      const __m256i ones = _mm256_set1_epi16(1);
      const I32 words{_mm256_madd_epi16(lo, ones), _mm256_madd_epi16(hi, ones)};
      sum = kStep % kSteps < kStepsPerWidening ? words : add_i32(sum, words);
      if constexpr (kBits != 6) asm("" : "+xm"(sum.lo), "+xm"(sum.hi));
    }
  }
  // The start comes last: a register that would wait for it all along has better work.
  I32 result(I32 start) const { return add_i32(sum, start); }

  static inline __attribute__((always_inline)) __m256i products(__m256i codes, __m256i four) {
    if constexpr (kBits < 8) return _mm256_maddubs_epi16(codes, four);
    const __m256i weights = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
    return _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(four, weights));
  }
};
// Codes of 2 and 3 bits, whose groups of 16 columns have integer scales: a group's sums stay in 16 bits, and what
// widens them multiplies with 256 times the scale.
struct GroupDot {
  I32 sum;
  __m256i lo, hi;

  void begin(I32) {}
  // `start`: what the zero point of the codes adds, which with the products fits into 16 bits.
  void begin_group(int32_t start) {
    lo = _mm256_set1_epi32(start & 0xFFFF);
    hi = lo;
  }
  template <int kStep>
  inline __attribute__((always_inline)) void step(U8 codes, const int8_t* x) {
    int32_t word;
    __builtin_memcpy(&word, x, 4);
    const __m256i four = _mm256_set1_epi32(word);
    lo = _mm256_add_epi16(lo, _mm256_maddubs_epi16(codes.lo, four));
    hi = _mm256_add_epi16(hi, _mm256_maddubs_epi16(codes.hi, four));
    asm("" : "+x"(lo), "+x"(hi));  // In this order: see Dot.
  }
  // `scales`: of the 16 rows. Each is put above a zero byte, twice for each row.
  template <int kGroup>
  inline __attribute__((always_inline)) void end_group(const int8_t* scales) {
    const __m256i bytes = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(scales)));
    const __m256i first = _mm256_setr_epi8(-1, 0, -1, 0, -1, 1, -1, 1, -1, 2, -1, 2, -1, 3, -1, 3, -1, 4, -1, 4, -1, 5,
                                           -1, 5, -1, 6, -1, 6, -1, 7, -1, 7);
    const __m256i second = _mm256_setr_epi8(-1, 8, -1, 8, -1, 9, -1, 9, -1, 10, -1, 10, -1, 11, -1, 11, -1, 12, -1, 12,
                                            -1, 13, -1, 13, -1, 14, -1, 14, -1, 15, -1, 15);
    const I32 scaled{_mm256_madd_epi16(lo, _mm256_shuffle_epi8(bytes, first)),
                     _mm256_madd_epi16(hi, _mm256_shuffle_epi8(bytes, second))};
    sum = kGroup == 0 ? scaled : add_i32(sum, scaled);
  }
  I32 result(I32) const { return sum; }
};
template <int kSteps>
struct Dot<2, kSteps> : GroupDot {};
template <int kSteps>
struct Dot<3, kSteps> : GroupDot {};
F32 word_field(const void* words, int shift, uint32_t mask) {
  const auto* word = static_cast<const __m256i*>(words);
  const __m128i count = _mm_cvtsi32_si128(shift);
  const __m256i keep = _mm256_set1_epi32(static_cast<int>(mask));
  return {_mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srl_epi32(_mm256_loadu_si256(word), count), keep)),
          _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srl_epi32(_mm256_loadu_si256(word + 1), count), keep))};
}

// The densest form: sums of pairs stay in 16 bits, which saturate in a pair and wrap beyond. Written out as
// add_dot_pairs is.
__m256i add_byte_pairs(__m256i sum, __m256i codes, __m256i x) {
  __m256i product;
  asm("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(sum), "=&x"(product) : "x"(codes), "x"(x));
  return sum;
}
I32 multiply_add_i8(I32 sum, U8 codes, U8 x) {
  return {add_byte_pairs(sum.lo, codes.lo, x.lo), add_byte_pairs(sum.hi, codes.hi, x.hi)};
}
void forget(U8& v) { asm volatile("" : "+x"(v.lo), "+x"(v.hi)); }

// No registers for attention_nibbles.inl.h: its pages go the way of all others.
struct NibblePages {
  explicit NibblePages(const AttentionArgs&) {}
  bool may_attend(int) const { return false; }
  bool attend(const AttentionArgs&, int, int, const AttentionPage&) const { return false; }
};
