// Softmax attention over pages of 64 tokens. Included by kernels_<isa>.cc inside its unnamed namespace, after
// vector_math.inl.h.
//
// Queries, keys, values and weights are 16-bit codes, so that both products are sums of integers: exact, hence the same
// in any order and instruction set, at twice the rate of floats, and without conversion of what lies in the cache. What
// each row's result is, whatever rows it is computed with (AttentionArgs; page by page, in order; scores are base-2):
//   x_t     = float(sum over d of query_d * key_dt) * key scale_t
//   score_t = x_t * (query scale * log2 e), and capped where asked; -infinity where the row may not see token t
//   max'    = the greater of max and the page's greatest score
//   fade    = 2^(max - max'), exactly 1 where the maximum stays
//   p_t     = 2^(score_t - max'), exactly 0 where not visible
//   sum     = sum * fade + (p of the 64 tokens added in a fixed tree)
//   w_t     = p_t * value scale_t
//   c_t     = round(w_t * f), f as great as the 16 bits of c and the 32 bits of the sums allow
//   out_d   = out_d * fade + float(sum over t of c_t * value_td) / f, then + 0 so that no zero is negative
// Tokens that a row may not see thus change no bit of it, so a tile of rows may walk as far as its farthest row sees.
//
// Why no sum overflows: query and key codes are scaled by their length, so that by Cauchy and Schwarz no part of their
// product exceeds kCodeLength^2 < 2^31 (an element that stands out costs the others no more than its share of the
// length); for values, |sum of c_t * value_td| <= (kWeightCodeSum + 32) * kValueCodeMax < 2^31.

inline constexpr float kCodeLength = 32700.0f;      // Of the codes of a query or key; rounding adds at most 8.
inline constexpr float kCodeMax = 32767.0f;         // -32768 is not used: its products with itself could overflow.
inline constexpr float kValueCodeMax = 16383.0f;    // Of a value's code.
inline constexpr float kWeightCodeSum = 131000.0f;  // Of the codes of a page's weights; rounding adds at most 32.
// Beyond it, inputs count as this: squares and their sums stay finite, so that no page holds an infinity.
inline constexpr float kInputMax = 1e15f;
inline constexpr float kInputMin = 1e-30f;  // Vectors below it count as zero.
inline constexpr float kLog2E = 0x1.715476p0f;

inline constexpr int kTileRows = kRegisterVectors < 8 ? 1 : 6;  // Rows that share each load of a page's codes.
inline constexpr int kFewRows = 4 * kTileRows;                  // Up to here pages come from memory, more use them.
inline constexpr int kPageVectors = kPageTokens / kLanes;

// ---- Writing: KvPageLayout.

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
CodeScale scale_by_greatest(const float* x, int n) {
  F32 most = zero_f32(), sum = zero_f32();
  for (int d = 0; d < n; d += kLanes) {
    const F32 v = within_input_range(load_f32(x + d));
    most = max(most, abs(v));
    sum = add(sum, v);
  }
  const float total = sum_lanes(sum);
  return total == total ? code_scale(max_lanes(most), kValueCodeMax) : CodeScale{total, 0.0f};
}

void store_query(const float* query, int head_dim, float factor, int16_t* codes, float* scale) {
  const CodeScale by = scale_by_length(query, head_dim);
  for (int d = 0; d < head_dim; d += kLanes) store_i16(codes + d, codes_of(query + d, set_f32(by.inverse)));
  *scale = by.scale * factor;
}

// Where a page's parts lie (kernel_table.h), in bytes.
int values_at(int head_dim) { return kPageTokens * head_dim * 2; }
int key_scales_at(int head_dim) { return 2 * values_at(head_dim); }
int value_scales_at(int head_dim) { return key_scales_at(head_dim) + kPageTokens * 4; }

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
  const CodeScale by = scale_by_greatest(value, head_dim);
  int16_t* const target = reinterpret_cast<int16_t*>(page + values_at(head_dim)) + slot / 2 * 2 * head_dim + slot % 2;
  for (int d = 0; d < head_dim; d += kLanes) {
    int16_t codes[kLanes];
    store_i16(codes, codes_of(value + d, set_f32(by.inverse)));
    for (int i = 0; i < kLanes; ++i) target[2 * (d + i)] = codes[i];
  }
  __builtin_memcpy(page + value_scales_at(head_dim) + 4 * slot, &by.scale, sizeof(float));
}

// ---- Products of codes.

// Where a product takes its factors: sum over pairs k of left[r][2k] * right[k][c][0] + left[r][2k + 1] *
// right[k][c][1].
struct CodeProduct {
  const int16_t* left;  // [rows][left_stride]
  int left_stride;
  const int16_t* right;  // [pairs][right_columns][2]
  int right_columns;
  int pairs;
  const int16_t* next;  // Laid out like `right`: brought into the cache on the way, for the product after this one.
};

// The loops over sums are unrolled before the optimizer looks, which then keeps them in registers.
template <int Rows, int Vectors, class Body>
inline __attribute__((always_inline)) void for_each_sum(const Body& body) {
  unrolled<0, Rows>([&](auto r) __attribute__((always_inline)) {
    unrolled<0, Vectors>([&](auto v) __attribute__((always_inline)) { body(r, v); });
  });
}

// Rows x Vectors sums in registers, one walk along the pairs: both products of attention are this loop. finish(row,
// column, sum) takes each vector of sums.
template <int Rows, int Vectors, bool kAhead, class Finish>
void product_tile(const CodeProduct& p, int column, const Finish& finish) {
  I32 sum[Rows][Vectors];
  for_each_sum<Rows, Vectors>([&](auto r, auto v) __attribute__((always_inline)) { sum[r][v] = set_i32(0); });
  const int16_t* left = p.left;
  const int16_t* right = p.right + 2 * column;
  const int16_t* next = p.next + 2 * column;
  for (int k = 0; k < p.pairs; ++k) {
    I32 codes[Vectors];
    unrolled<0, Vectors>([&](auto v) __attribute__((always_inline)) {
      codes[v] = load_i32(right + 2 * kLanes * v);
      if constexpr (kAhead) __builtin_prefetch(next + 2 * kLanes * v);
    });
    unrolled<0, Rows>([&](auto r) __attribute__((always_inline)) {
      int32_t pair;
      __builtin_memcpy(&pair, left + r * p.left_stride, sizeof pair);
      const I32 factor = set_i32(pair);
      unrolled<0, Vectors>([&](auto v)
                               __attribute__((always_inline)) { sum[r][v] = dot_pairs(sum[r][v], factor, codes[v]); });
    });
    left += 2;
    right += 2 * p.right_columns;
    next += 2 * p.right_columns;
  }
  for_each_sum<Rows, Vectors>([&](auto r, auto v)
                                  __attribute__((always_inline)) { finish(r, column + kLanes * v, sum[r][v]); });
}

// Whether a tile's sums fit into registers with its operands: one factor, and the codes of a step where they are used
// more than once.
template <int Rows, int Vectors>
inline constexpr bool kTileFits = Rows * Vectors + (Rows > 1 ? Vectors : 1) < kRegisterVectors;

// All columns, 4 vectors at a time, or 2, or 1.
template <int Rows, bool kAhead, class Finish>
void product_rows(const CodeProduct& p, int vectors, const Finish& finish) {
  int v = 0;
  if constexpr (kTileFits<Rows, 4>) {
    for (; v + 4 <= vectors; v += 4) product_tile<Rows, 4, kAhead>(p, v * kLanes, finish);
  }
  if constexpr (kTileFits<Rows, 2>) {
    for (; v + 2 <= vectors; v += 2) product_tile<Rows, 2, kAhead>(p, v * kLanes, finish);
  }
  for (; v < vectors; ++v) product_tile<Rows, 1, kAhead>(p, v * kLanes, finish);
}

template <bool kAhead, int Rows = kTileRows, class Finish>
void product(const CodeProduct& p, int rows, int vectors, const Finish& finish) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return product<kAhead, Rows - 1>(p, rows, vectors, finish);
  }
  product_rows<Rows, kAhead>(p, vectors, finish);
}

// ---- Softmax.

// 2^x for x near or below 0, within 2 ulp; exactly 1 at 0, exactly 0 where it would be denormal; NaN stays NaN.
F32 exp2_not_positive(F32 x) {
  const F32 bounded = max(set_f32(-127.0f), x);
  const F32 shifter = set_f32(0x1.8p23f + 127.0f);  // Adding it rounds to an integer, with the exponent's bias.
  const F32 shifted = add(bounded, shifter);
  const F32 r = sub(bounded, sub(shifted, shifter));
  F32 p = set_f32(0x1.5bba18p-10f);  // Minimax for the relative error, 1.1e-7, on [-0.5, 0.5].
  p = fma(p, r, set_f32(0x1.3cea88p-7f));
  p = fma(p, r, set_f32(0x1.c6b752p-5f));
  p = fma(p, r, set_f32(0x1.ebf9bcp-3f));
  p = fma(p, r, set_f32(0x1.62e42ap-1f));
  p = fma(p, r, set_f32(1.0f));
  return mul(p, from_bits(shift_left_i32(bits_of(shifted), 23)));
}

// The page that a tile of rows attends to.
struct PageView {
  const int16_t* keys;
  const int16_t* values;
  const float* key_scales;
  const float* value_scales;
  const int16_t* next_keys;  // Of the page after it, or again of this one.
  int first_token;           // Counted like AttentionArgs::visible_end.
};

// What softmax keeps of each row of a tile while it passes a page. Arrays of 16 are worked on as one vector.
struct TileSoftmax {
  int from[kTileRows];  // Of the page's tokens, the row may see those from `from` up to but not including `to`.
  int to[kTileRows];
  float factor[kTileRows];  // score = factor * x
  float weight_sum[kTileRows];
  alignas(64) float before[kLanes];  // The greatest score before this page and with it.
  alignas(64) float after[kLanes];
  alignas(64) float fade[kLanes];           // 2^(before - after)
  alignas(64) float greatest_code[kLanes];  // Of w, and their sum; then what w is multiplied by for codes,
  alignas(64) float code_sum[kLanes];
  alignas(64) float to_code[kLanes];
  alignas(64) float from_code[kLanes];  // and what sums of codes are multiplied by.

  bool sees_all(int r) const { return from[r] == 0 && to[r] == kPageTokens; }
};

F32 keep_visible(F32 v, const TileSoftmax& softmax, int r, int vector, F32 fill) {
  const F32 until = keep_first(v, softmax.to[r] - vector * kLanes, fill);
  return keep_first(fill, softmax.from[r] - vector * kLanes, until);
}

// cap * tanh(score / cap), with scores counted in base 2 before and after.
void cap_scores(float cap, float* scores, float* factor) {
  const F32 to_angle = set_f32(*factor * (2.0f / (cap * kLog2E))), bound = set_f32(cap * kLog2E);
  for (int v = 0; v < kPageVectors; ++v) {
    const F32 e = exp_f32(mul(load_f32(scores + v * kLanes), to_angle));
    const F32 tanh = sub(set_f32(1.0f), div(set_f32(2.0f), add(e, set_f32(1.0f))));
    store_f32(scores + v * kLanes, mul(tanh, bound));
  }
  *factor = 1.0f;
}

// body(0), body(1) ...: the vectors of a row, kept in registers.
template <class Body>
inline __attribute__((always_inline)) void for_each_page_vector(const Body& body) {
  unrolled<0, kPageVectors>(body);
}
F32 greatest_of(const F32 (&x)[kPageVectors]) { return max(max(x[0], x[1]), max(x[2], x[3])); }
F32 sum_of(const F32 (&x)[kPageVectors]) { return add(add(x[0], x[1]), add(x[2], x[3])); }

// The greatest visible score of row r.
float greatest_score(const float* row, const TileSoftmax& softmax, int r) {
  F32 x[kPageVectors];
  for_each_page_vector([&](auto v) __attribute__((always_inline)) { x[v] = load_f32(row + v * kLanes); });
  if (!softmax.sees_all(r)) {
    if (softmax.to[r] <= softmax.from[r]) return minus_infinity();
    for_each_page_vector([&](auto v) __attribute__((always_inline)) {
      x[v] = keep_visible(x[v], softmax, r, v, set_f32(minus_infinity()));
    });
  }
  return max_lanes(greatest_of(x)) * softmax.factor[r];
}

// Row r: scores become w; their greatest and sums are kept.
void weigh(float* row, const float* value_scales, int r, TileSoftmax* softmax) {
  const F32 factor = set_f32(softmax->factor[r]), minus_most = set_f32(-softmax->after[r]);
  F32 p[kPageVectors], w[kPageVectors];
  for_each_page_vector([&](auto v) __attribute__((always_inline)) {
    p[v] = exp2_not_positive(fma(load_f32(row + v * kLanes), factor, minus_most));
    w[v] = mul(p[v], load_f32(value_scales + v * kLanes));
  });
  if (!softmax->sees_all(r)) {
    for_each_page_vector([&](auto v) __attribute__((always_inline)) {
      p[v] = keep_visible(p[v], *softmax, r, v, zero_f32());
      w[v] = keep_visible(w[v], *softmax, r, v, zero_f32());
    });
  }
  for_each_page_vector([&](auto v) __attribute__((always_inline)) { store_f32(row + v * kLanes, w[v]); });
  softmax->weight_sum[r] = sum_lanes(sum_of(p));
  softmax->code_sum[r] = sum_lanes(sum_of(w));
  softmax->greatest_code[r] = max_lanes(greatest_of(w));
}

// The 64 scores of each row become codes of its weights, 0 where not visible.
void soften(const PageView& page, float* scores, int rows, TileSoftmax* softmax, int16_t* codes) {
  for (int r = 0; r < rows; ++r) {
    const float page_max = greatest_score(scores + r * kPageTokens, *softmax, r);
    softmax->after[r] = page_max > softmax->before[r] ? page_max : softmax->before[r];
  }
  const F32 before = load_f32(softmax->before), after = load_f32(softmax->after);
  store_f32(softmax->fade, select_less(before, after, exp2_not_positive(sub(before, after)), set_f32(1.0f)));
  for (int r = 0; r < rows; ++r) weigh(scores + r * kPageTokens, page.value_scales, r, softmax);

  // Where all weights are 0, so are the codes. (A NaN is no code, but the row's from_code.)
  const F32 greatest = load_f32(softmax->greatest_code), total = load_f32(softmax->code_sum);
  const F32 to_code = min(div(set_f32(kCodeMax), greatest), div(set_f32(kWeightCodeSum), total));
  store_f32(softmax->to_code, select_less(zero_f32(), total, to_code, total));
  store_f32(softmax->from_code, select_less(zero_f32(), total, div(set_f32(1.0f), to_code), total));
  for (int r = 0; r < rows; ++r) {
    const F32 factor = set_f32(softmax->to_code[r]);
    for_each_page_vector([&](auto v) __attribute__((always_inline)) {
      const int at = r * kPageTokens + v * kLanes;
      store_i16(codes + at, round_to_i32(mul(load_f32(scores + at), factor)));
    });
  }
}

// ---- Rows over pages.

// Which tokens of the page each row of a tile sees; false where none sees any.
bool look_at(const AttentionArgs& args, int first, int rows, const PageView& page, TileSoftmax* softmax) {
  store_f32(softmax->before, zero_f32());
  store_f32(softmax->after, zero_f32());
  store_f32(softmax->greatest_code, zero_f32());
  store_f32(softmax->code_sum, zero_f32());
  bool any = false;
  for (int r = 0; r < rows; ++r) {
    const int from = args.visible_begin[first + r] - page.first_token;
    const int to = args.visible_end[first + r] - page.first_token;
    softmax->from[r] = from < 0 ? 0 : from > kPageTokens ? kPageTokens : from;
    softmax->to[r] = to < 0 ? 0 : to > kPageTokens ? kPageTokens : to;
    any = any || softmax->to[r] > softmax->from[r];
    softmax->before[r] = args.max[first + r];
    softmax->factor[r] = args.query_scales[first + r] * kLog2E;
  }
  return any;
}

// `rows` (at most kTileRows) rows from `first` attend to one page.
template <bool kAhead>
void attend_tile(const AttentionArgs& args, int first, int rows, const PageView& page) {
  TileSoftmax softmax;
  if (!look_at(args, first, rows, page, &softmax)) return;
  int farthest = 0;
  for (int r = 0; r < rows; ++r) farthest = softmax.to[r] > farthest ? softmax.to[r] : farthest;

  alignas(64) float scores[kTileRows * kPageTokens];
  alignas(64) int16_t codes[kTileRows * kPageTokens];
  const int head_dim = args.head_dim;
  product<kAhead>({.left = args.queries + static_cast<size_t>(first) * static_cast<size_t>(head_dim),
                   .left_stride = head_dim,
                   .right = page.keys,
                   .right_columns = kPageTokens,
                   .pairs = head_dim / 2,
                   .next = page.values},
                  rows, kPageVectors, [&](int r, int t, I32 sum) {
                    store_f32(scores + r * kPageTokens + t, mul(to_f32(sum), load_f32(page.key_scales + t)));
                  });
  if (args.score_cap > 0) {
    for (int r = 0; r < rows; ++r) cap_scores(args.score_cap, scores + r * kPageTokens, &softmax.factor[r]);
  }
  soften(page, scores, rows, &softmax, codes);
  float* const out = args.out + static_cast<size_t>(first) * static_cast<size_t>(head_dim);
  product<kAhead>({.left = codes,
                   .left_stride = kPageTokens,
                   .right = page.values,
                   .right_columns = head_dim,
                   .pairs = (farthest + 1) / 2,
                   .next = page.next_keys},
                  rows, head_dim / kLanes, [&](int r, int d, I32 sum) {
                    float* const target = out + r * head_dim + d;
                    const F32 faded = mul(load_f32(target), set_f32(softmax.fade[r]));
                    store_f32(target, add(fma(to_f32(sum), set_f32(softmax.from_code[r]), faded), zero_f32()));
                  });
  for (int r = 0; r < rows; ++r) {
    args.max[first + r] = softmax.after[r];
    args.sum[first + r] = args.sum[first + r] * softmax.fade[r] + softmax.weight_sum[r];
  }
}

// All rows, in tiles of nearly the same size.
template <bool kAhead>
void attend_page(const AttentionArgs& args, const PageView& page) {
  const int tiles = (args.rows + kTileRows - 1) / kTileRows;
  for (int tile = 0; tile < tiles; ++tile) {
    const int first = static_cast<int>(static_cast<int64_t>(args.rows) * tile / tiles);
    const int last = static_cast<int>(static_cast<int64_t>(args.rows) * (tile + 1) / tiles);
    attend_tile<kAhead>(args, first, last - first, page);
  }
}

void prefetch_scales(const std::byte* page, int head_dim) {
  for (int at = key_scales_at(head_dim); at < key_scales_at(head_dim) + 2 * 4 * kPageTokens; at += 64) {
    __builtin_prefetch(page + at);
  }
}

void attend(const AttentionArgs& args) {
  for (int r = 0; r < args.rows; ++r) {
    args.max[r] = minus_infinity();
    args.sum[r] = 0.0f;
  }
  const size_t outputs = static_cast<size_t>(args.rows) * static_cast<size_t>(args.head_dim);
  for (size_t i = 0; i < outputs; i += kLanes) store_f32(args.out + i, zero_f32());

  const bool few = args.rows <= kFewRows;
  if (few && args.page_count > 0) prefetch_scales(args.pages[0], args.head_dim);

  for (int page = 0; page < args.page_count; ++page) {
    const std::byte* const parts = args.pages[page];
    const int next = page + 1 < args.page_count ? page + 1 : page;
    const PageView view{.keys = reinterpret_cast<const int16_t*>(parts),
                        .values = reinterpret_cast<const int16_t*>(parts + values_at(args.head_dim)),
                        .key_scales = reinterpret_cast<const float*>(parts + key_scales_at(args.head_dim)),
                        .value_scales = reinterpret_cast<const float*>(parts + value_scales_at(args.head_dim)),
                        .next_keys = reinterpret_cast<const int16_t*>(args.pages[next]),
                        .first_token = page * kPageTokens};
    if (few) {
      prefetch_scales(args.pages[next], args.head_dim);
      attend_page<true>(args, view);
    } else {
      attend_page<false>(args, view);
    }
  }
}

void merge_attention(const float* part_out, float part_max, float part_sum, int head_dim, float* out, float* max_score,
                     float* sum) {
  if (part_max == minus_infinity()) return;  // The part saw nothing.
  const float most = part_max > *max_score ? part_max : *max_score;
  alignas(64) float fade[kLanes] = {*max_score - most, part_max - most};
  store_f32(fade, exp2_not_positive(load_f32(fade)));
  const F32 fade_this = set_f32(fade[0]), fade_part = set_f32(fade[1]);
  for (int d = 0; d < head_dim; d += kLanes) {
    store_f32(out + d, fma(load_f32(part_out + d), fade_part, mul(load_f32(out + d), fade_this)));
  }
  *sum = *sum * fade[0] + part_sum * fade[1];
  *max_score = most;
}
