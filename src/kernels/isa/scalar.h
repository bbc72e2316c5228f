// The vector vocabulary without vector instructions: 16 lanes as an array. Same names in avx2.h and avx512.h.
// Included by kernels_scalar.cc only, inside namespace infer::kernels::scalar::(unnamed).

inline constexpr const char* kIsaName = "scalar";
inline constexpr int kTokenTile = 4;       // Tokens per activation tile.
inline constexpr int kPanelsAtOnce = 1;    // Panels per register tile.
inline constexpr int kRegisterTokens = 1;  // Tokens per register tile, at most kTokenTile.
inline constexpr int kStreamTokens = 1;  // Up to this many tokens weights are decoded in registers, at most kTokenTile.
inline constexpr int kStreamTokensAtOnce = 1;     // This many of them in one turn over a unit.
inline constexpr int kPairedStreamTokens = 0;     // Up to this many of them two panels are streamed side by side,
inline constexpr int kSharedInputTokens = 1;      // and up to this many share loaded inputs between the two.
inline constexpr bool kUnitsAreUnrolled = false;  // Whether all blocks of a unit have code of their own, if it is much.
inline constexpr int kFloatRegisterTokens = 1;    // As kRegisterTokens, for float weights.
inline constexpr int kFloatPairedTokens = 1;      // Up to this many tokens take two panels of float weights at once.
inline constexpr int kFloatColumns = 1024;        // Columns of float weights that all tokens pass before the next ones.

// Keeps the sums of a register tile out of the registers between blocks, where a set has too few.
template <class T>
void keep_in_memory(T&) {}

struct F32 {
  float lane[16];
};
struct I32 {
  int32_t lane[16];
};

// A word is a loop over 16 lanes or 64 bytes. Those that products repeat are not inlined: this file compiles in a fifth
// of the time, and products are 0.87 to 1.24 times as fast (docs/internals/kernels.md).
template <class Function>
F32 each_f32(Function function) {
  F32 r;
  for (int i = 0; i < 16; ++i) r.lane[i] = function(i);
  return r;
}
template <class Function>
I32 each_i32(Function function) {
  I32 r;
  for (int i = 0; i < 16; ++i) r.lane[i] = function(i);
  return r;
}

F32 zero_f32() {
  return each_f32([](int) { return 0.0f; });
}
F32 set_f32(float x) {
  return each_f32([=](int) { return x; });
}
F32 load_f32(const float* p) {
  return each_f32([=](int i) { return p[i]; });
}
void store_f32(float* p, F32 v) {
  for (int i = 0; i < 16; ++i) p[i] = v.lane[i];
}
// The first n lanes (0..16); the others are zero, or not written.
F32 load_f32_n(const float* p, int n) {
  return each_f32([=](int i) { return i < n ? p[i] : 0.0f; });
}
void store_f32_n(float* p, F32 v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v.lane[i];
}
F32 add(F32 a, F32 b) {
  return each_f32([&](int i) { return a.lane[i] + b.lane[i]; });
}
F32 sub(F32 a, F32 b) {
  return each_f32([&](int i) { return a.lane[i] - b.lane[i]; });
}
F32 mul(F32 a, F32 b) {
  return each_f32([&](int i) { return a.lane[i] * b.lane[i]; });
}
F32 div(F32 a, F32 b) {
  return each_f32([&](int i) { return a.lane[i] / b.lane[i]; });
}
// a * b + c, rounded once.
F32 fma(F32 a, F32 b, F32 c) {
  return each_f32([&](int i) { return __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]); });
}
// a where a > b, else b (b when either is NaN, like the instruction).
F32 max(F32 a, F32 b) {
  return each_f32([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
F32 min(F32 a, F32 b) {
  return each_f32([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}
F32 abs(F32 a) {
  return each_f32([&](int i) { return __builtin_fabsf(a.lane[i]); });
}
// a < b ? x : y, lane by lane.
F32 select_less(F32 a, F32 b, F32 x, F32 y) {
  return each_f32([&](int i) { return a.lane[i] < b.lane[i] ? x.lane[i] : y.lane[i]; });
}
// Lanes in a fixed tree: 16 -> 8 (i, i+8) -> 4 -> 2 -> 1.
float sum_lanes(F32 v) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) v.lane[i] += v.lane[i + half];
  }
  return v.lane[0];
}
float max_lanes(F32 v) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) v.lane[i] = v.lane[i] > v.lane[i + half] ? v.lane[i] : v.lane[i + half];
  }
  return v.lane[0];
}

// Sums of floats in double, lane by lane; sum_lanes_f64 takes the same tree as sum_lanes.
struct F64 {
  double lane[16];
};
F64 zero_f64() {
  F64 r;
  for (int i = 0; i < 16; ++i) r.lane[i] = 0.0;
  return r;
}
F64 add_f64(F64 sum, F32 v) {
  for (int i = 0; i < 16; ++i) sum.lane[i] += static_cast<double>(v.lane[i]);
  return sum;
}
double sum_lanes_f64(F64 v) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) v.lane[i] += v.lane[i + half];
  }
  return v.lane[0];
}

// How many vectors the registers hold, and how many independent sums hide the latency of an operation.
inline constexpr int kRegisterVectors = 2;
inline constexpr int kPeakSums = 4;
inline constexpr int kPeakByteSums = 4;  // Of int8 products.

F32 load_f16(const uint16_t* p) {
  return each_f32([=](int i) {
    const uint32_t h = p[i];
    const uint32_t sign = (h & 0x8000u) << 16, exponent = (h >> 10) & 31u, mantissa = h & 0x3FFu;
    if (exponent == 0) {  // Zero and subnormals are exact in f32.
      const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
      return sign != 0 ? -magnitude : magnitude;
    }
    const uint32_t bits = sign | ((exponent == 31 ? 255u : exponent + 112u) << 23) | (mantissa << 13);
    float f;
    __builtin_memcpy(&f, &bits, 4);
    return f;
  });
}
F32 load_bf16(const uint16_t* p) {
  return each_f32([=](int i) {
    const uint32_t bits = static_cast<uint32_t>(p[i]) << 16;
    float f;
    __builtin_memcpy(&f, &bits, 4);
    return f;
  });
}

I32 set_i32(int32_t x) {
  return each_i32([=](int) { return x; });
}
// Wraps around.
I32 add_i32(I32 a, I32 b) {
  return each_i32(
      [&](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.lane[i]) + static_cast<uint32_t>(b.lane[i])); });
}
__attribute__((noinline)) I32 mul_i32(I32 a, I32 b) {
  return each_i32(
      [&](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.lane[i]) * static_cast<uint32_t>(b.lane[i])); });
}
I32 load_i32(const void* p) {
  I32 r;
  __builtin_memcpy(&r, p, sizeof r);
  return r;
}
I32 shift_left_i32(I32 a, int bits) {
  return each_i32([&](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.lane[i]) << bits); });
}
F32 to_f32(I32 v) {
  return each_f32([&](int i) { return static_cast<float>(v.lane[i]); });
}
// To nearest, ties to even; what does not fit becomes INT32_MIN, as it does in the vector instructions.
I32 round_to_i32(F32 v) {
  return each_i32([&](int i) {
    const float nearest = __builtin_nearbyintf(v.lane[i]);
    return nearest >= -0x1p31f && nearest < 0x1p31f ? static_cast<int32_t>(nearest) : INT32_MIN;
  });
}
// The bits of a float as an integer and back.
I32 bits_of(F32 v) {
  I32 r;
  __builtin_memcpy(&r, &v, sizeof r);
  return r;
}
F32 from_bits(I32 v) {
  F32 r;
  __builtin_memcpy(&r, &v, sizeof r);
  return r;
}
// The low byte of each lane, 16 bytes.
void store_i8(int8_t* p, I32 v) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(v.lane[i]);
}
// The low half of each lane, 16 half words.
void store_i16(int16_t* p, I32 v) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int16_t>(v.lane[i]);
}
// sum + a[0] * b[0] + a[1] * b[1] for the signed half words of each lane, modulo 2^32.
I32 dot_pairs(I32 sum, I32 a, I32 b) {
  return each_i32([&](int i) {
    int16_t x[2], y[2];
    __builtin_memcpy(x, &a.lane[i], sizeof x);
    __builtin_memcpy(y, &b.lane[i], sizeof y);
    return static_cast<int32_t>(static_cast<uint32_t>(sum.lane[i]) + static_cast<uint32_t>(x[0] * y[0]) +
                                static_cast<uint32_t>(x[1] * y[1]));
  });
}
I32 load_i8(const int8_t* p) {
  return each_i32([=](int i) { return static_cast<int32_t>(p[i]); });
}
// 16 unsigned bytes or half words.
__attribute__((noinline)) I32 widen_u8(const void* p) {
  uint8_t x[16];
  __builtin_memcpy(x, p, sizeof x);
  return each_i32([&](int i) { return static_cast<int32_t>(x[i]); });
}
I32 widen_u16(const void* p) {
  uint16_t x[16];
  __builtin_memcpy(x, p, sizeof x);
  return each_i32([&](int i) { return static_cast<int32_t>(x[i]); });
}
int32_t sum_lanes_i32(I32 v) {
  uint32_t sum = 0;
  for (int i = 0; i < 16; ++i) sum += static_cast<uint32_t>(v.lane[i]);
  return static_cast<int32_t>(sum);
}

// 64 unsigned bytes: 4 consecutive columns of each of 16 rows.
struct U8 {
  uint8_t byte[64];
};
template <class Function>
U8 each_u8(Function function) {
  U8 r;
  for (int i = 0; i < 64; ++i) r.byte[i] = static_cast<uint8_t>(function(i));
  return r;
}
U8 load_u8(const void* p) {
  U8 r;
  __builtin_memcpy(&r, p, 64);
  return r;
}
void store_u8(void* p, U8 v) { __builtin_memcpy(p, &v, 64); }
// (each byte >> shift) & mask; a shift below 0 goes to the left. The mask has only bits that come from the same byte.
template <int kShift, int kMask>
__attribute__((noinline)) U8 bit_field(U8 v) {
  return each_u8([&](int i) { return (kShift < 0 ? v.byte[i] << -kShift : v.byte[i] >> kShift) & kMask; });
}
__attribute__((noinline)) U8 or_u8(U8 a, U8 b) {
  return each_u8([&](int i) { return a.byte[i] | b.byte[i]; });
}
// sum + a[0] * b[0] + ... + a[3] * b[3] for the bytes of each lane, a unsigned and b signed.
I32 dot_bytes(I32 sum, U8 a, U8 b) {
  return each_i32([&](int lane) {
    int32_t total = sum.lane[lane];
    for (int i = 4 * lane; i < 4 * lane + 4; ++i) total += a.byte[i] * static_cast<int8_t>(b.byte[i]);
    return total;
  });
}
U8 set_u8(int x) {
  return each_u8([=](int) { return x; });
}
// Wrap around.
__attribute__((noinline)) U8 add_u8(U8 a, U8 b) {
  return each_u8([&](int i) { return a.byte[i] + b.byte[i]; });
}
__attribute__((noinline)) U8 sub_u8(U8 a, U8 b) {
  return each_u8([&](int i) { return a.byte[i] - b.byte[i]; });
}
// Byte i gets that of `addend` added (and wraps) where bit i of the mask is set.
__attribute__((noinline)) U8 add_where(U8 v, U8 addend, uint64_t mask) {
  return each_u8([&](int i) { return v.byte[i] + ((mask >> i) & 1 ? addend.byte[i] : 0); });
}
// The same 16 bytes four times; the four bytes of each of 16 words.
__attribute__((noinline)) U8 repeat_16(const uint8_t* p) {
  return each_u8([=](int i) { return p[i % 16]; });
}
U8 bytes_of(I32 v) {
  U8 r;
  __builtin_memcpy(&r, &v, sizeof r);
  return r;
}
// Each run of 16 bytes is a table for the same run of `index`, whose bytes are below 16.
__attribute__((noinline)) U8 lookup(U8 table, U8 index) {
  return each_u8([&](int i) { return table.byte[i / 16 * 16 + index.byte[i]]; });
}
// Byte i gets `value` or-ed in where bit i of the mask is set.
template <int kValue>
__attribute__((noinline)) U8 or_where(U8 v, uint64_t mask) {
  return each_u8([&](int i) { return v.byte[i] | ((mask >> i) & 1 ? kValue : 0); });
}
// Four vectors of 32-bit words, one word of each of 16 rows.
struct WordRows {
  U8 word[4];
};
// 16 bytes of each of 16 rows that lie `stride` bytes apart: word[j] holds bytes 4j..4j+3 of every row.
WordRows transpose_words(const std::byte* rows, size_t stride) {
  WordRows r;
  for (size_t row = 0; row < 16; ++row) {
    for (size_t j = 0; j < 4; ++j) __builtin_memcpy(r.word[j].byte + 4 * row, rows + row * stride + 4 * j, 4);
  }
  return r;
}
// The first halves of 16 words, then the second ones.
U8 transpose_halves(U8 words) {
  U8 r;
  for (int i = 0; i < 16; ++i) {
    __builtin_memcpy(r.byte + 2 * i, words.byte + 4 * i, 2);
    __builtin_memcpy(r.byte + 32 + 2 * i, words.byte + 4 * i + 2, 2);
  }
  return r;
}
// The first bytes of 16 words, then the second, third and fourth ones.
U8 transpose_bytes(U8 words) {
  U8 r;
  for (int k = 0; k < 4; ++k) {
    for (int i = 0; i < 16; ++i) r.byte[16 * k + i] = words.byte[4 * i + k];
  }
  return r;
}
// Each byte + 128.
U8 flip_top_bits(U8 v) {
  return each_u8([&](int i) { return v.byte[i] ^ 128; });
}
// Bit i of the result is bit kBit of byte i.
template <int kBit>
uint64_t bit_mask(U8 v) {
  uint64_t mask = 0;
  for (int i = 0; i < 8; ++i) {
    uint64_t eight;
    __builtin_memcpy(&eight, v.byte + 8 * i, 8);
    // The multiplication gathers bits 0, 8, .. 56 at bits 56..63.
    mask |= ((eight >> kBit & 0x0101010101010101u) * 0x0102040810204080u >> 56) << (8 * i);
  }
  return mask;
}
// A running integer dot product of codes of kBits bits over kSteps steps: step<k>() adds, for row r, the sum over i < 4
// of code[4r + i] * x[i]; k counts through the block of 8 steps. begin() and result() are given the same start, and a
// set adds it where that is cheaper. A set may take 8-bit codes as code - 128.
inline constexpr bool kWideCodesAreSigned = false;
// sum[r] += codes[4r] * x[0] + ... + codes[4r + 3] * x[3].
__attribute__((noinline)) void add_products(I32& sum, const U8& codes, const int8_t* x) {
  for (int r = 0; r < 16; ++r) {
    for (int i = 0; i < 4; ++i) sum.lane[r] += codes.byte[4 * r + i] * x[i];
  }
}
template <int kBits, int kSteps>
struct Dot {
  I32 sum;
  void begin(I32 start) { sum = start; }
  template <int kStep>
  void step(U8 codes, const int8_t* x) {
    add_products(sum, codes, x);
  }
  I32 result(I32) const { return sum; }
};
// Each lane's (word >> shift) & mask.
__attribute__((noinline)) I32 field_i32(I32 v, int shift, uint32_t mask) {
  return each_i32([&](int i) { return static_cast<int32_t>((static_cast<uint32_t>(v.lane[i]) >> shift) & mask); });
}
// 16 words of 32 bits -> (word >> shift) & mask, as floats.
F32 word_field(const void* words, int shift, uint32_t mask) {
  uint32_t word[16];
  __builtin_memcpy(word, words, 64);
  return each_f32([&](int i) { return static_cast<float>((word[i] >> shift) & mask); });
}

// For measuring the peak: one round of products in registers, and a value that the compiler may not know.
I32 multiply_add_i8(I32 sum, U8 codes, U8 x) {
  return each_i32([&](int r) {
    auto s = static_cast<uint32_t>(sum.lane[r]);  // Wraps.
    for (int i = 4 * r; i < 4 * r + 4; ++i) s += static_cast<uint32_t>(codes.byte[i]) * x.byte[i];
    return static_cast<int32_t>(s);
  });
}
void forget(U8& v) { asm volatile("" : "+m"(v)); }

// No registers for attention_nibbles.inl.h: its pages go the way of all others.
struct NibblePages {
  explicit NibblePages(const AttentionArgs&) {}
  bool may_attend(int) const { return false; }
  bool attend(const AttentionArgs&, int, int, const AttentionPage&) const { return false; }
};
