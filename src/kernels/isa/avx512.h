// The vector vocabulary in AVX-512 (F, BW, DQ, VL, VNNI): one register per vector. See scalar.h for the meanings.
// Included by kernels_avx512.cc only, inside namespace infer::kernels::avx512::(unnamed).

inline constexpr const char* kIsaName = "avx512";
inline constexpr int kTokenTile = 12;
inline constexpr int kPanelsAtOnce = 2;
inline constexpr int kRegisterTokens = 6;
inline constexpr int kStreamTokens = 8;
inline constexpr int kStreamTokensAtOnce = 8;
inline constexpr int kPairedStreamTokens = 8;
inline constexpr int kSharedInputTokens = 4;
inline constexpr bool kUnitsAreUnrolled = true;
inline constexpr int kFloatPairedTokens = 12;
inline constexpr int kFloatRegisterTokens = 12;
inline constexpr int kFloatColumns = 1024;

using F32 = __m512;
using I32 = __m512i;

inline __attribute__((always_inline)) __mmask16 first_lanes(int n) { return static_cast<__mmask16>((1u << n) - 1u); }

F32 zero_f32() { return _mm512_setzero_ps(); }
F32 set_f32(float x) { return _mm512_set1_ps(x); }
F32 load_f32(const float* p) { return _mm512_loadu_ps(p); }
void store_f32(float* p, F32 v) { _mm512_storeu_ps(p, v); }
F32 load_f32_n(const float* p, int n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
void store_f32_n(float* p, F32 v, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }
F32 add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
F32 sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
F32 mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
F32 div(F32 a, F32 b) { return _mm512_div_ps(a, b); }
F32 fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
F32 max(F32 a, F32 b) { return _mm512_max_ps(a, b); }
F32 min(F32 a, F32 b) { return _mm512_min_ps(a, b); }
F32 abs(F32 a) { return _mm512_abs_ps(a); }
F32 select_less(F32 a, F32 b, F32 x, F32 y) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x); }
float sum_lanes(F32 v) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
float max_lanes(F32 v) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

struct F64 {
  __m512d lo, hi;
};
F64 zero_f64() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
F64 add_f64(F64 sum, F32 v) {
  return {_mm512_add_pd(sum.lo, _mm512_cvtps_pd(_mm512_castps512_ps256(v))),
          _mm512_add_pd(sum.hi, _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)))};
}
double sum_lanes_f64(F64 v) {
  const __m512d eight = _mm512_add_pd(v.lo, v.hi);
  const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

inline constexpr int kRegisterVectors = 32;
inline constexpr int kPeakSums = 12;
inline constexpr int kPeakByteSums = 12;

F32 load_f16(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
F32 load_bf16(const uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

I32 set_i32(int32_t x) { return _mm512_set1_epi32(x); }
I32 add_i32(I32 a, I32 b) { return _mm512_add_epi32(a, b); }
I32 load_i32(const void* p) { return _mm512_loadu_si512(p); }
I32 shift_left_i32(I32 a, int bits) { return _mm512_slli_epi32(a, static_cast<unsigned>(bits)); }
F32 to_f32(I32 v) { return _mm512_cvtepi32_ps(v); }
I32 round_to_i32(F32 v) { return _mm512_cvtps_epi32(v); }
I32 bits_of(F32 v) { return _mm512_castps_si512(v); }
F32 from_bits(I32 v) { return _mm512_castsi512_ps(v); }
void store_i8(int8_t* p, I32 v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v)); }
void store_i16(int16_t* p, I32 v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(v)); }
// Written out: with the intrinsic, g++ 12 copies each sum twice in every turn of a loop (its operands' types differ).
I32 dot_pairs(I32 sum, I32 a, I32 b) {
  asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}
I32 load_i8(const int8_t* p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
I32 mul_i32(I32 a, I32 b) { return _mm512_mullo_epi32(a, b); }
I32 widen_u8(const void* p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
I32 widen_u16(const void* p) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p))); }
I32 field_i32(I32 v, int shift, uint32_t mask) {
  return _mm512_and_si512(_mm512_srli_epi32(v, static_cast<unsigned>(shift)),
                          _mm512_set1_epi32(static_cast<int>(mask)));
}
int32_t sum_lanes_i32(I32 v) { return _mm512_reduce_add_epi32(v); }

using U8 = __m512i;
template <class T>
void keep_in_memory(T&) {}
U8 load_u8(const void* p) { return _mm512_loadu_si512(p); }
void store_u8(void* p, U8 v) { _mm512_storeu_si512(p, v); }
template <int kShift, int kMask>
U8 bit_field(U8 v) {
  const U8 shifted = kShift == 0 ? v : kShift < 0 ? _mm512_slli_epi16(v, -kShift) : _mm512_srli_epi16(v, kShift);
  return _mm512_and_si512(shifted, _mm512_set1_epi8(kMask));
}
U8 or_u8(U8 a, U8 b) { return _mm512_or_si512(a, b); }
U8 set_u8(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
U8 add_u8(U8 a, U8 b) { return _mm512_add_epi8(a, b); }
U8 sub_u8(U8 a, U8 b) { return _mm512_sub_epi8(a, b); }
U8 add_where(U8 v, U8 addend, uint64_t mask) { return _mm512_mask_add_epi8(v, mask, v, addend); }
U8 repeat_16(const uint8_t* p) { return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
U8 bytes_of(I32 v) { return v; }
I32 dot_bytes(I32 sum, U8 a, U8 b) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}
U8 lookup(U8 table, U8 index) { return _mm512_shuffle_epi8(table, index); }
template <int kValue>
U8 or_where(U8 v, uint64_t mask) {
  return _mm512_or_si512(v, _mm512_maskz_set1_epi8(mask, kValue));
}
struct WordRows {
  U8 word[4];
};
WordRows transpose_words(const std::byte* rows, size_t stride) {
  __m512i quad[4];  // quad[i]: rows i, 4 + i, 8 + i and 12 + i, one in each 128 bits.
  for (size_t i = 0; i < 4; ++i) {
    const auto row = [&](size_t r) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + r * stride)); };
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(row(i)), row(4 + i), 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(row(8 + i)), row(12 + i), 1);
    quad[i] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  const __m512i low01 = _mm512_unpacklo_epi32(quad[0], quad[1]), high01 = _mm512_unpackhi_epi32(quad[0], quad[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(quad[2], quad[3]), high23 = _mm512_unpackhi_epi32(quad[2], quad[3]);
  return {{_mm512_unpacklo_epi64(low01, low23), _mm512_unpackhi_epi64(low01, low23),
           _mm512_unpacklo_epi64(high01, high23), _mm512_unpackhi_epi64(high01, high23)}};
}
U8 transpose_halves(U8 words) {
  const __m512i even = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 30, 28, 26, 24, 22,
                                        20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  return _mm512_permutexvar_epi16(even, words);
}
U8 transpose_bytes(U8 words) {
  const __m512i within = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m512i across = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(across, _mm512_shuffle_epi8(words, within));
}
U8 flip_top_bits(U8 v) { return _mm512_xor_si512(v, _mm512_set1_epi8(-128)); }
template <int kBit>
uint64_t bit_mask(U8 v) {
  return _mm512_test_epi8_mask(v, _mm512_set1_epi8(static_cast<char>(1 << kBit)));
}
inline constexpr bool kWideCodesAreSigned = false;
template <int kBits, int kSteps>
struct Dot {
  I32 sum;
  void begin(I32 start) { sum = start; }
  template <int kStep>
  inline __attribute__((always_inline)) void step(U8 codes, const int8_t* x) {
    int32_t word;
    __builtin_memcpy(&word, x, 4);
    sum = _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(word));
  }
  I32 result(I32) const { return sum; }
};
F32 word_field(const void* words, int shift, uint32_t mask) {
  const __m512i word = _mm512_srl_epi32(_mm512_loadu_si512(words), _mm_cvtsi32_si128(shift));
  return _mm512_cvtepi32_ps(_mm512_and_si512(word, _mm512_set1_epi32(static_cast<int>(mask))));
}

I32 multiply_add_i8(I32 sum, U8 codes, U8 x) { return _mm512_dpbusd_epi32(sum, codes, x); }
void forget(U8& v) { asm volatile("" : "+v"(v)); }

// ---- For attention_nibbles.inl.h. A quad is a vector of four rows: lanes 4 r to 4 r + 3 are row r's.

template <int kRow>
F32 repeat_quarter(F32 quad) {
  return _mm512_shuffle_f32x4(quad, quad, 0x55 * kRow);
}
// n numbers, one of each row, in all its lanes; and back.
F32 load_quad(const float* p, int n) {
  const __m512i rows = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  const __m128 values = _mm_maskz_loadu_ps(static_cast<__mmask8>(first_lanes(n)), p);
  return _mm512_permutexvar_ps(rows, _mm512_castps128_ps512(values));
}
void store_quad(float* p, F32 quad, int n) {
  const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
  const __m128 values = _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, quad));
  _mm_mask_storeu_ps(p, static_cast<__mmask8>(first_lanes(n)), values);
}
// Halves, quarters and so on of four rows' lanes, in the order of sum_lanes and max_lanes.
template <class Join>
inline __attribute__((always_inline)) F32 fold_quad(F32 a, F32 b, F32 c, F32 d, const Join& join) {
  const F32 ab = join(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
  const F32 cd = join(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xEE));
  const F32 four = join(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
  const F32 two = join(four, _mm512_permute_ps(four, 0x4E));
  return join(two, _mm512_permute_ps(two, 0xB1));
}
F32 sum_quad(F32 a, F32 b, F32 c, F32 d) { return fold_quad(a, b, c, d, add); }
// The first lane is the one that max_lanes gives: zeros have signs.
F32 max_quad(F32 a, F32 b, F32 c, F32 d) { return _mm512_permute_ps(fold_quad(a, b, c, d, max), 0); }
F32 add_as_i32(F32 a, F32 b) { return from_bits(add_i32(bits_of(a), bits_of(b))); }
I32 sum_quad_i32(I32 a, I32 b, I32 c, I32 d) {
  return bits_of(fold_quad(from_bits(a), from_bits(b), from_bits(c), from_bits(d), add_as_i32));
}
bool all_between(F32 v, float low, float high) {
  const __mmask16 above = _mm512_cmp_ps_mask(v, _mm512_set1_ps(low), _CMP_GE_OQ);
  return _mm512_mask_cmp_ps_mask(above, v, _mm512_set1_ps(high), _CMP_LE_OQ) == 0xFFFF;
}
// The upper nibbles of bytes where they are, with kOffset in the lower ones; lower nibbles moved up.
template <int kOffset>
U8 upper_nibbles(U8 v) {
  constexpr int kAndOr = 0xEA, kAnd = 0xC0;
  return _mm512_ternarylogic_epi32(v, _mm512_set1_epi8(-16), _mm512_set1_epi8(kOffset), kOffset == 0 ? kAnd : kAndOr);
}
U8 raise_nibbles(U8 v) { return _mm512_slli_epi16(v, 4); }
// Numbers 0 to 255 of four vectors, in order, as the bytes of one.
U8 bytes_of_words(I32 a, I32 b, I32 c, I32 d) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i bytes = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
  return _mm512_permutexvar_epi32(order, bytes);
}
