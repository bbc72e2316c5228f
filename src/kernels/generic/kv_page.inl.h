// What lies in KV pages and in rows of queries (AttentionPage, AttentionArgs): rotating, rounding to codes, making
// planes. Included by kernels_<isa>.cc inside its unnamed namespace, after vector_math.inl.h.

inline constexpr float kCodeLength = 32700.0f;    // Of the codes of a query or key; rounding adds at most 8.
inline constexpr float kCodeMax = 32767.0f;       // -32768 is not used: its products with itself could overflow.
inline constexpr float kValueCodeMax = 16383.0f;  // Of a value's code.
inline constexpr float kByteCodeMax = 127.0f;     // Of a query's code in 8 bits.
// Beyond it, inputs count as this: squares and their sums stay finite, so that no page holds an infinity.
inline constexpr float kInputMax = 1e15f;
inline constexpr float kInputMin = 1e-30f;  // Vectors below it count as zero.
// Codes of 8 bits stand for (c - kMiddle) times a scale; of 4 bits for (16 h + kLowMiddle - kMiddle).
inline constexpr float kMiddle = 127.5f;
inline constexpr float kLowMiddle = 7.5f;
inline constexpr float kNibbleVariance = 256.0f / 12.0f;  // Of a code's error at 4 bits: even within 16.
inline constexpr float kWeightByteMax = 255.0f;           // Of a weight's code where values have 8 or 4 bits.
inline constexpr float kLog2E = 0x1.715476p0f;

inline constexpr int kPageVectors = kPageTokens / kLanes;

F32 greatest_of(const F32 (&x)[kPageVectors]) { return max(max(x[0], x[1]), max(x[2], x[3])); }
F32 sum_of(const F32 (&x)[kPageVectors]) { return add(add(x[0], x[1]), add(x[2], x[3])); }

// ---- Rotating.

struct Signs {
  float of[kLanes][kLanes];
};
// The Hadamard matrix of 16: +1 or -1 by the parity of the bits that row and column have in common.
constexpr Signs hadamard_signs() {
  Signs signs{};
  for (int i = 0; i < kLanes; ++i) {
    for (int j = 0; j < kLanes; ++j) {
      const int both = i & j;
      signs.of[i][j] = (both >> 3 ^ both >> 2 ^ both >> 1 ^ both) % 2 == 0 ? 1.0f : -1.0f;
    }
  }
  return signs;
}
inline constexpr Signs kSigns = hadamard_signs();

// n is a power of two, at least 16.
void rotate_power_of_two(float* x, int n) {
  for (int half = kLanes; half < n; half *= 2) {
    for (int i = 0; i < n; i += 2 * half) {
      for (int j = i; j < i + half; j += kLanes) {
        const F32 a = load_f32(x + j), b = load_f32(x + j + half);
        store_f32(x + j, add(a, b));
        store_f32(x + j + half, sub(a, b));
      }
    }
  }
  const F32 norm = set_f32(1.0f / __builtin_sqrtf(static_cast<float>(n)));
  for (int i = 0; i < n; i += kLanes) {
    F32 sums[4] = {zero_f32(), zero_f32(), zero_f32(), zero_f32()};  // Four, so that additions need not wait.
    for (int j = 0; j < kLanes; ++j) sums[j % 4] = fma(set_f32(x[i + j]), load_f32(kSigns.of[j]), sums[j % 4]);
    store_f32(x + i, mul(add(add(sums[0], sums[1]), add(sums[2], sums[3])), norm));
  }
}

void rotate_hadamard(float* x, int n) {
  int power = 1;
  while (2 * power <= n) power *= 2;
  for (; n > 0; power /= 2) {
    if (power > n) continue;
    rotate_power_of_two(x, power);
    x += power;
    n -= power;
  }
}

// ---- 16 bits.

F32 within_input_range(F32 v) { return min(set_f32(kInputMax), max(set_f32(-kInputMax), v)); }

// 16 codes of x * factor. NaN becomes some code: the scale tells of it.
I32 codes_of(const float* x, F32 factor) {
  const F32 code = mul(within_input_range(load_f32(x)), factor);
  return round_to_i32(min(max(code, set_f32(-kCodeMax)), set_f32(kCodeMax)));
}

// What codes are multiplied by for x (a NaN stays one), and what x is multiplied by for codes.
struct CodeScale {
  float scale;
  float inverse;
};
CodeScale code_scale(float magnitude, float greatest_code) {
  if (magnitude <= kInputMin) return {0.0f, 0.0f};
  return {magnitude / greatest_code, greatest_code / magnitude};
}

CodeScale scale_by_length(const float* x, int n) {
  F32 squares = zero_f32();
  for (int d = 0; d < n; d += kLanes) {
    const F32 v = within_input_range(load_f32(x + d));
    squares = fma(v, v, squares);
  }
  return code_scale(__builtin_sqrtf(sum_lanes(squares)), kCodeLength);
}

// NaN is passed on only by the sum: the greatest of lanes may miss it.
CodeScale scale_by_greatest(const float* x, int n, float greatest_code) {
  F32 most = zero_f32(), sum = zero_f32();
  for (int d = 0; d < n; d += kLanes) {
    const F32 v = within_input_range(load_f32(x + d));
    most = max(most, abs(v));
    sum = add(sum, v);
  }
  const float total = sum_lanes(sum);
  return total == total ? code_scale(max_lanes(most), greatest_code) : CodeScale{total, 0.0f};
}

// Where a page's parts lie (kernel_table.h), in bytes.
int values_at(int head_dim) { return kPageTokens * head_dim * 2; }
int key_scales_at(int head_dim) { return 2 * values_at(head_dim); }
int value_scales_at(int head_dim) { return key_scales_at(head_dim) + kPageTokens * 4; }

// The part of head `head` of a page, given that of the first head.
AttentionPage part_of_head(const AttentionPage& page, const PartStride& stride, int head) {
  const auto index = static_cast<size_t>(head);
  AttentionPage part = page;
  if (page.full != nullptr) part.full += index * stride.full;
  if (page.high != nullptr) part.high += index * stride.high;
  if (page.low != nullptr) part.low += index * stride.low;
  if (page.floats != nullptr) part.floats += index * stride.floats;
  return part;
}

// Where the page's first product begins to read.
const std::byte* first_part(const AttentionPage& page) {
  return page.full != nullptr ? page.full : page.high != nullptr ? page.high : page.floats;
}

void store_key(const float* key, int head_dim, int slot, std::byte* page) {
  const CodeScale by = scale_by_length(key, head_dim);
  int16_t* const target = reinterpret_cast<int16_t*>(page) + 2 * slot;
  for (int d = 0; d < head_dim; d += kLanes) {
    int16_t codes[kLanes];
    store_i16(codes, codes_of(key + d, set_f32(by.inverse)));
    for (int i = 0; i < kLanes; i += 2)
      __builtin_memcpy(target + (d + i) * kPageTokens, codes + i, 2 * sizeof(int16_t));
  }
  __builtin_memcpy(page + key_scales_at(head_dim) + 4 * slot, &by.scale, sizeof(float));
}

void store_value(const float* value, int head_dim, int slot, std::byte* page) {
  const CodeScale by = scale_by_greatest(value, head_dim, kValueCodeMax);
  int16_t* const target = reinterpret_cast<int16_t*>(page + values_at(head_dim)) + slot / 2 * 2 * head_dim + slot % 2;
  for (int d = 0; d < head_dim; d += kLanes) {
    int16_t codes[kLanes];
    store_i16(codes, codes_of(value + d, set_f32(by.inverse)));
    for (int i = 0; i < kLanes; ++i) target[2 * (d + i)] = codes[i];
  }
  __builtin_memcpy(page + value_scales_at(head_dim) + 4 * slot, &by.scale, sizeof(float));
}

// ---- 32 bits.

void store_float_key(const float* key, int head_dim, int slot, std::byte* page) {
  float* const target = reinterpret_cast<float*>(page) + slot;
  for (int d = 0; d < head_dim; d += kLanes) {
    float within[kLanes];
    store_f32(within, within_input_range(load_f32(key + d)));
    for (int i = 0; i < kLanes; ++i) target[(d + i) * kPageTokens] = within[i];
  }
}

void store_float_value(const float* value, int head_dim, int slot, std::byte* page) {
  float* const target = reinterpret_cast<float*>(page) + (kPageTokens + slot) * head_dim;
  for (int d = 0; d < head_dim; d += kLanes) store_f32(target + d, within_input_range(load_f32(value + d)));
}

// ---- Rows of queries.

struct QueryFactors {
  float scale;       // Of the codes of 16 bits, with the factor of all scores.
  float byte_scale;  // Of the codes of 8 bits, likewise.
  float byte_sum;    // The sum of the codes of 8 bits.
};
int query_bytes(int head_dim) { return 3 * head_dim + 16; }

// e of attention.inl.h. A query of zeros has no scale, and scores of zero.
float excess_of(const QueryFactors& factors) {
  const float length = kCodeLength * factors.scale;
  return factors.byte_scale == 0 ? 0.0f : kNibbleVariance / 2 * length * length / factors.byte_scale;
}

void store_query(const float* query, int head_dim, float factor, std::byte* row) {
  const CodeScale by = scale_by_length(query, head_dim);
  const CodeScale by_bytes = scale_by_greatest(query, head_dim, kByteCodeMax);
  auto* const codes = reinterpret_cast<int16_t*>(row);
  auto* const bytes = reinterpret_cast<int8_t*>(row + 2 * head_dim);
  F32 sum = zero_f32();
  for (int d = 0; d < head_dim; d += kLanes) {
    store_i16(codes + d, codes_of(query + d, set_f32(by.inverse)));
    const I32 small = codes_of(query + d, set_f32(by_bytes.inverse));
    store_i8(bytes + d, small);
    sum = add(sum, to_f32(small));
  }
  const QueryFactors factors{by.scale * factor, by_bytes.scale * factor, sum_lanes(sum)};
  __builtin_memcpy(row + 3 * head_dim, &factors, sizeof factors);
}

// ---- Planes: 8 and 4 bits.

// Where the parts of a high plane lie, in bytes. A low plane has the codes only.
int plane_values_at(int head_dim) { return kPageTokens / 2 * head_dim; }
int plane_key_scales_at(int head_dim) { return kPageTokens * head_dim; }
int plane_value_scales_at(int head_dim) { return plane_key_scales_at(head_dim) + 2 * kPageTokens; }
int plane_mean_at(int head_dim) { return plane_value_scales_at(head_dim) + 2 * kPageTokens; }

// The even or odd halves of 16 words of two codes.
F32 half_codes(const int16_t* words, int half) {
  return to_f32(dot_pairs(set_i32(0), load_i32(words), set_i32(half == 0 ? 1 : 0x10000)));
}
// Up to the next bfloat16 and back; what is stored are the upper 16 bits.
I32 bits_of_scale(F32 scale) { return field_i32(add_i32(bits_of(scale), set_i32(0xFFFF)), 16, 0xFFFF); }
F32 scale_of_bits(I32 bits) { return from_bits(shift_left_i32(bits, 16)); }
// 1 / scale, or 0 where it is 0.
F32 inverse_of_scale(F32 scale) { return select_less(zero_f32(), scale, div(set_f32(1.0f), scale), zero_f32()); }

// c of x / scale, 0 to 255.
I32 byte_codes(F32 x, F32 inverse) {
  const F32 code = fma(x, inverse, set_f32(kMiddle));
  return round_to_i32(min(max(code, zero_f32()), set_f32(255.0f)));
}

// Four vectors of codes as the bytes of 16 words.
struct CodeWords {
  I32 word;
  U8 bytes() const { return bytes_of(word); }
  void put(I32 codes, int byte) { word = byte == 0 ? codes : add_i32(word, shift_left_i32(codes, 8 * byte)); }
};
// Nibbles of two vectors of codes share the bytes of the planes.
void store_planes(U8 lower, U8 upper, std::byte* high, std::byte* low) {
  store_u8(high, or_u8(bit_field<4, 15>(lower), bit_field<0, -16>(upper)));
  store_u8(low, or_u8(bit_field<0, 15>(lower), bit_field<-4, -16>(upper)));
}

// The mean key, as codes with a scale, and back as the floats that those stand for.
void mean_key(const int16_t* keys, const float* scales, int head_dim, std::byte* target, float* mean) {
  for (int d = 0; d < head_dim; ++d) {
    F32 sum = zero_f32();
    for (int v = 0; v < kPageVectors; ++v) {
      const int16_t* words = keys + 2 * (d / 2 * kPageTokens + v * kLanes);
      sum = fma(half_codes(words, d % 2), load_f32(scales + v * kLanes), sum);
    }
    mean[d] = sum_lanes(sum) * (1.0f / kPageTokens);
  }
  const CodeScale by = scale_by_length(mean, head_dim);
  auto* const codes = reinterpret_cast<int16_t*>(target);
  for (int d = 0; d < head_dim; d += kLanes) {
    const I32 rounded = codes_of(mean + d, set_f32(by.inverse));
    store_i16(codes + d, rounded);
    store_f32(mean + d, mul(to_f32(rounded), set_f32(by.scale)));
  }
  __builtin_memcpy(target + 2 * head_dim, &by.scale, sizeof(float));
}

// What is left of the keys without their mean: dimension d of 16 tokens.
F32 centred_key(const int16_t* keys, F32 scale, const float* mean, int d, int vector) {
  const int16_t* words = keys + 2 * (d / 2 * kPageTokens + vector * kLanes);
  return fma(half_codes(words, d % 2), scale, set_f32(-mean[d]));
}

void make_key_planes(const int16_t* keys, const float* scales, int head_dim, std::byte* high, std::byte* low) {
  float mean[kHeadDimMax];
  mean_key(keys, scales, head_dim, high + plane_mean_at(head_dim), mean);
  auto* const stored_scales = reinterpret_cast<int16_t*>(high + plane_key_scales_at(head_dim));
  for (int v = 0; v < kPageVectors; ++v) {
    const F32 scale = load_f32(scales + v * kLanes);
    F32 most = zero_f32();
    for (int d = 0; d < head_dim; ++d) most = max(most, abs(centred_key(keys, scale, mean, d, v)));
    const I32 bits = bits_of_scale(mul(most, set_f32(1.0f / kMiddle)));
    store_i16(stored_scales + v * kLanes, bits);
    const F32 inverse = inverse_of_scale(scale_of_bits(bits));
    for (int d = 0; d < head_dim / 2; d += 4) {
      CodeWords lower, upper;
      for (int i = 0; i < 4; ++i) {
        lower.put(byte_codes(centred_key(keys, scale, mean, d + i, v), inverse), i);
        upper.put(byte_codes(centred_key(keys, scale, mean, head_dim / 2 + d + i, v), inverse), i);
      }
      const int at = d * kPageTokens + v * kLanes * 4;
      store_planes(lower.bytes(), upper.bytes(), high + at, low + at);
    }
  }
}

// Word i of a lane: token 4 * quad + i of 16 dimensions.
CodeWords value_words(const int16_t* values, const float* factors, int head_dim, int quad, int d) {
  CodeWords words;
  for (int i = 0; i < 4; ++i) {
    const int token = 4 * quad + i;
    const F32 code = half_codes(values + 2 * (token / 2 * head_dim + d), token % 2);
    words.put(byte_codes(code, set_f32(factors[token])), i);
  }
  return words;
}

void make_value_planes(const int16_t* values, const float* scales, int head_dim, std::byte* high, std::byte* low) {
  float factors[kPageTokens];  // Code of 16 bits -> that of 8, about its middle.
  auto* const stored_scales = reinterpret_cast<int16_t*>(high + plane_value_scales_at(head_dim));
  for (int t = 0; t < kPageTokens; t += kLanes) {
    const F32 scale = load_f32(scales + t);
    // The greatest code is kValueCodeMax by construction.
    const I32 bits = bits_of_scale(mul(scale, set_f32(kValueCodeMax / kMiddle)));
    store_i16(stored_scales + t, bits);
    store_f32(factors + t, mul(scale, inverse_of_scale(scale_of_bits(bits))));
  }
  for (int quad = 0; quad < kPageTokens / 8; ++quad) {
    for (int d = 0; d < head_dim; d += kLanes) {
      const U8 lower = value_words(values, factors, head_dim, quad, d).bytes();
      const U8 upper = value_words(values, factors, head_dim, quad + kPageTokens / 8, d).bytes();
      const int at = plane_values_at(head_dim) + 4 * (quad * head_dim + d);
      store_planes(flip_top_bits(lower), flip_top_bits(upper), high + at, low + at);
    }
  }
}

void make_planes(const std::byte* full, int head_dim, std::byte* high, std::byte* low) {
  make_key_planes(reinterpret_cast<const int16_t*>(full),
                  reinterpret_cast<const float*>(full + key_scales_at(head_dim)), head_dim, high, low);
  make_value_planes(reinterpret_cast<const int16_t*>(full + values_at(head_dim)),
                    reinterpret_cast<const float*>(full + value_scales_at(head_dim)), head_dim, high, low);
}

void make_planes_of_floats(const std::byte* floats, int head_dim, std::byte* high, std::byte* low) {
  const float* const keys = reinterpret_cast<const float*>(floats);
  alignas(64) std::byte full[2 * kPageTokens * (2 * kHeadDimMax + 4)];  // kv_page_bytes
  for (int slot = 0; slot < kPageTokens; ++slot) {
    float key[kHeadDimMax];
    for (int d = 0; d < head_dim; ++d) key[d] = keys[d * kPageTokens + slot];
    store_key(key, head_dim, slot, full);
    store_value(keys + (kPageTokens + slot) * head_dim, head_dim, slot, full);
  }
  make_planes(full, head_dim, high, low);
}
