// Softmax attention over pages of 64 tokens. Included by kernels_<isa>.cc inside its unnamed namespace, after
// kv_page.inl.h and code_product.inl.h.
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
// For pages in floats scores and outputs are sums of products of floats, in order, and weights have no codes.
// For pages of 8 and 4 bits the same with bytes: queries have codes of 8 bits, and with o = 127.5 (8 bits) or 120 (4)
//   x_t     = (float(sum over d of query_d * key_dt) - o * sum of the query's codes - e * key scale_t) * key scale_t
//   score_t = x_t * (query scale * log2 e) + product of the query's 16-bit codes with the mean key
// where e, at 4 bits only, takes back what rounding adds to weights on average: a score whose error has the variance v
// gives a weight that is exp(v / 2) too large in the mean, and v = |query|^2 * key scale_t^2 * 256 / 12.
//   out_d   = out_d * fade + (float(sum over t of c_t * value_td) + o' * sum of c_t) / f,  c_t at most 255
// Tokens that a row may not see thus change no bit of it, so a tile of rows may walk as far as its farthest row sees.
//
// Why no sum overflows: query and key codes are scaled by their length, so that by Cauchy and Schwarz no part of their
// product exceeds kCodeLength^2 < 2^31 (an element that stands out costs the others no more than its share of the
// length); for values, |sum of c_t * value_td| <= (kWeightCodeSum + 32) * kValueCodeMax < 2^31.

inline constexpr float kWeightCodeSum = 131000.0f;  // Of the codes of a page's weights; rounding adds at most 32.

inline constexpr int kFewRows = 4 * kTileRows;  // Up to here pages come from memory, more use them.

// ---- Softmax.

// The page that a tile of rows attends to.
struct PageView {
  AttentionPage parts;
  AttentionPage next;  // What comes after it, or again this one.
  const float* key_scales;
  const float* value_scales;
  int first_token;    // Counted like AttentionArgs::visible_end.
  PageShare* shares;  // Of all rows, or null.
};

// What softmax keeps of each row of a tile while it passes a page. Arrays of 16 are worked on as one vector.
struct TileSoftmax {
  int from[kTileRows];  // Of the page's tokens, the row may see those from `from` up to but not including `to`.
  int to[kTileRows];
  float factor[kTileRows];  // score = factor * x + offset
  float offset[kTileRows];
  float page_max[kTileRows];  // The greatest score of the page.
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
void cap_scores(float cap, float* scores, float* factor, float* offset) {
  const float to_angle = 2.0f / (cap * kLog2E);
  const F32 by = set_f32(*factor * to_angle), start = set_f32(*offset * to_angle), bound = set_f32(cap * kLog2E);
  for (int v = 0; v < kPageVectors; ++v) {
    const F32 e = exp_f32(fma(load_f32(scores + v * kLanes), by, start));
    const F32 tanh = sub(set_f32(1.0f), div(set_f32(2.0f), add(e, set_f32(1.0f))));
    store_f32(scores + v * kLanes, mul(tanh, bound));
  }
  *factor = 1.0f;
  *offset = 0.0f;
}

// body(0), body(1) ...: the vectors of a row, kept in registers.
template <class Body>
inline __attribute__((always_inline)) void for_each_page_vector(const Body& body) {
  unrolled<0, kPageVectors>(body);
}

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
  return max_lanes(greatest_of(x)) * softmax.factor[r] + softmax.offset[r];
}

// Row r: scores become w; their greatest and sums are kept.
void weigh(float* row, const float* value_scales, int r, TileSoftmax* softmax) {
  const F32 factor = set_f32(softmax->factor[r]), minus_most = set_f32(softmax->offset[r] - softmax->after[r]);
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

// The 64 scores of each row become w, 0 where not visible.
void soften(const PageView& page, float* scores, int rows, TileSoftmax* softmax) {
  for (int r = 0; r < rows; ++r) {
    const float page_max = greatest_score(scores + r * kPageTokens, *softmax, r);
    softmax->page_max[r] = page_max;
    softmax->after[r] = page_max > softmax->before[r] ? page_max : softmax->before[r];
  }
  const F32 before = load_f32(softmax->before), after = load_f32(softmax->after);
  store_f32(softmax->fade, select_less(before, after, exp2_not_positive(sub(before, after)), set_f32(1.0f)));
  for (int r = 0; r < rows; ++r) weigh(scores + r * kPageTokens, page.value_scales, r, softmax);
}

// Where all weights are 0, so are the codes. (A NaN is no code, but the row's from_code.)
void keep_code_factors(F32 to_code, TileSoftmax* softmax) {
  const F32 total = load_f32(softmax->code_sum);
  store_f32(softmax->to_code, select_less(zero_f32(), total, to_code, total));
  store_f32(softmax->from_code, select_less(zero_f32(), total, div(set_f32(1.0f), to_code), total));
}

void code_weights(const float* weights, int rows, TileSoftmax* softmax, int16_t* codes) {
  const F32 greatest = load_f32(softmax->greatest_code), total = load_f32(softmax->code_sum);
  keep_code_factors(min(div(set_f32(kCodeMax), greatest), div(set_f32(kWeightCodeSum), total)), softmax);
  for (int r = 0; r < rows; ++r) {
    const F32 factor = set_f32(softmax->to_code[r]);
    for_each_page_vector([&](auto v) __attribute__((always_inline)) {
      const int at = r * kPageTokens + v * kLanes;
      store_i16(codes + at, round_to_i32(mul(load_f32(weights + at), factor)));
    });
  }
}

// In 8 bits, and their sums into code_sum.
void code_weights(const float* weights, int rows, TileSoftmax* softmax, uint8_t* codes) {
  keep_code_factors(div(set_f32(kWeightByteMax), load_f32(softmax->greatest_code)), softmax);
  for (int r = 0; r < rows; ++r) {
    const F32 factor = set_f32(softmax->to_code[r]);
    F32 rounded[kPageVectors];
    for_each_page_vector([&](auto v) __attribute__((always_inline)) {
      const int at = r * kPageTokens + v * kLanes;
      const I32 code = round_to_i32(mul(load_f32(weights + at), factor));
      store_i8(reinterpret_cast<int8_t*>(codes) + at, code);
      rounded[v] = to_f32(code);
    });
    softmax->code_sum[r] = sum_lanes(sum_of(rounded));
  }
}

// ---- Rows over pages.

// A tile of rows at work.
struct RowTile {
  RowTile(const AttentionArgs& all, int first_row, int row_count) : args(all), first(first_row), rows(row_count) {}

  const AttentionArgs& args;
  int first;  // Of args.rows.
  int rows;   // At most kTileRows.
  TileSoftmax softmax;
  alignas(64) float scores[kTileRows * kPageTokens];

  const std::byte* query(int r) const { return args.queries + (first + r) * query_bytes(args.head_dim); }
  QueryFactors factors(int r) const {
    QueryFactors factors;
    __builtin_memcpy(&factors, query(r) + 3 * args.head_dim, sizeof factors);
    return factors;
  }
  const float* float_query(int r) const {
    const FloatQueries& from = args.float_queries;
    const int row = first + r;
    return from.first + static_cast<size_t>(row / from.group) * from.token_stride + row % from.group * args.head_dim;
  }
  float* out() const { return args.out + static_cast<size_t>(first) * static_cast<size_t>(args.head_dim); }
};

// Which tokens of the page each row sees; false where none sees any.
bool look_at(const PageView& page, RowTile* tile) {
  TileSoftmax& softmax = tile->softmax;
  store_f32(softmax.before, zero_f32());
  store_f32(softmax.after, zero_f32());
  store_f32(softmax.greatest_code, zero_f32());
  store_f32(softmax.code_sum, zero_f32());
  bool any = false;
  for (int r = 0; r < tile->rows; ++r) {
    const int from = tile->args.visible_begin[tile->first + r] - page.first_token;
    const int to = tile->args.visible_end[tile->first + r] - page.first_token;
    softmax.from[r] = from < 0 ? 0 : from > kPageTokens ? kPageTokens : from;
    softmax.to[r] = to < 0 ? 0 : to > kPageTokens ? kPageTokens : to;
    any = any || softmax.to[r] > softmax.from[r];
    softmax.before[r] = tile->args.max[tile->first + r];
  }
  return any;
}

void cap_tile(RowTile* tile) {
  if (!(tile->args.score_cap > 0)) return;
  for (int r = 0; r < tile->rows; ++r) {
    cap_scores(tile->args.score_cap, tile->scores + r * kPageTokens, &tile->softmax.factor[r],
               &tile->softmax.offset[r]);
  }
}

// ---- One page, at each level.

// out = out * fade + (sum + offset of the row) / f, then + 0.
void add_values(const RowTile& tile, int r, int d, F32 sum) {
  float* const target = tile.out() + r * tile.args.head_dim + d;
  const F32 faded = mul(load_f32(target), set_f32(tile.softmax.fade[r]));
  store_f32(target, add(fma(sum, set_f32(tile.softmax.from_code[r]), faded), zero_f32()));
}

template <bool kAhead>
void attend_full(const PageView& page, RowTile* tile) {
  const int head_dim = tile->args.head_dim;
  int farthest = 0;
  for (int r = 0; r < tile->rows; ++r) {
    farthest = tile->softmax.to[r] > farthest ? tile->softmax.to[r] : farthest;
    tile->softmax.factor[r] = tile->factors(r).scale * kLog2E;
    tile->softmax.offset[r] = 0.0f;
  }
  const auto* const values = reinterpret_cast<const int16_t*>(page.parts.full + values_at(head_dim));
  product<PairTile<kAhead>>(CodeProduct{.left = reinterpret_cast<const int16_t*>(tile->query(0)),
                                        .left_stride = query_bytes(head_dim) / 2,
                                        .right = reinterpret_cast<const int16_t*>(page.parts.full),
                                        .right_columns = kPageTokens,
                                        .pairs = head_dim / 2,
                                        .next = values},
                            tile->rows, kPageVectors, [&](int r, int t, I32 sum) __attribute__((always_inline)) {
                              store_f32(tile->scores + r * kPageTokens + t,
                                        mul(to_f32(sum), load_f32(page.key_scales + t)));
                            });
  cap_tile(tile);
  soften(page, tile->scores, tile->rows, &tile->softmax);
  alignas(64) int16_t codes[kTileRows * kPageTokens];
  code_weights(tile->scores, tile->rows, &tile->softmax, codes);
  product<PairTile<kAhead>>(CodeProduct{.left = codes,
                                        .left_stride = kPageTokens,
                                        .right = values,
                                        .right_columns = head_dim,
                                        .pairs = (farthest + 1) / 2,
                                        .next = reinterpret_cast<const int16_t*>(first_part(page.next))},
                            tile->rows, head_dim / kLanes, [&](int r, int d, I32 sum) __attribute__((always_inline)) {
                              add_values(*tile, r, d, to_f32(sum));
                            });
}

// What the mean key adds to all scores of row r, in base 2.
float score_of_mean(const RowTile& tile, const std::byte* mean, int r, float factor) {
  const int head_dim = tile.args.head_dim;
  I32 sum = set_i32(0);
  int d = 0;
  for (; d + 2 * kLanes <= head_dim; d += 2 * kLanes) {
    sum = dot_pairs(sum, load_i32(tile.query(r) + 2 * d), load_i32(mean + 2 * d));
  }
  int32_t total = sum_lanes_i32(sum);
  for (; d < head_dim; ++d) {
    int16_t a, b;
    __builtin_memcpy(&a, tile.query(r) + 2 * d, sizeof a);
    __builtin_memcpy(&b, mean + 2 * d, sizeof b);
    total += a * b;
  }
  float scale;
  __builtin_memcpy(&scale, mean + 2 * head_dim, sizeof scale);
  return static_cast<float>(total) * scale * factor;
}

template <bool kAhead, bool kLow>
void attend_planes(const PageView& page, RowTile* tile) {
  const int head_dim = tile->args.head_dim, values_at = plane_values_at(head_dim);
  const AttentionPage& parts = page.parts;
  // Half a page at 4 bits is multiplied in less time than memory takes to answer: there each product asks for the same
  // part of the next page.
  const bool far = !kLow && page.next.high != nullptr;
  const std::byte* const next = first_part(page.next) + (far ? values_at : 0);
  const std::byte* const next_of_keys = far ? page.next.high : parts.high + values_at;
  const float middle = kLow ? kMiddle : kMiddle - kLowMiddle;
  float key_offset[kTileRows], excess[kTileRows];
  for (int r = 0; r < tile->rows; ++r) {
    const QueryFactors factors = tile->factors(r);
    excess[r] = kLow ? 0.0f : excess_of(factors);
    tile->softmax.factor[r] = factors.byte_scale * kLog2E;
    tile->softmax.offset[r] = score_of_mean(*tile, parts.high + plane_mean_at(head_dim), r, factors.scale * kLog2E);
    key_offset[r] = -middle * factors.byte_sum;
  }
  product<NibbleTile<kAhead, kLow, Sign::kLeft>>(NibbleProduct{.left = tile->query(0) + 2 * head_dim,
                                                               .left_stride = query_bytes(head_dim),
                                                               .high = parts.high,
                                                               .low = parts.low,
                                                               .right_columns = kPageTokens,
                                                               .steps = head_dim / 8,
                                                               .next_high = next_of_keys,
                                                               .next_low = parts.low + values_at},
                                                 tile->rows, kPageVectors, [&](int r, int t, I32 sum) {
                                                   const F32 scale = load_f32(page.key_scales + t);
                                                   const F32 x = add(to_f32(sum), set_f32(key_offset[r]));
                                                   store_f32(tile->scores + r * kPageTokens + t,
                                                             mul(fma(set_f32(-excess[r]), scale, x), scale));
                                                 });
  cap_tile(tile);
  soften(page, tile->scores, tile->rows, &tile->softmax);
  alignas(64) uint8_t codes[kTileRows * kPageTokens];
  code_weights(tile->scores, tile->rows, &tile->softmax, codes);
  const float value_middle = 128.0f - middle;  // The values' codes are less 128 already.
  product<NibbleTile<kAhead, kLow, Sign::kRight>>(
      NibbleProduct{.left = reinterpret_cast<const std::byte*>(codes),
                    .left_stride = kPageTokens,
                    .high = parts.high + values_at,
                    .low = parts.low + values_at,
                    .right_columns = head_dim,
                    .steps = kPageTokens / 8,
                    .next_high = next,
                    .next_low = page.next.low != nullptr ? page.next.low : next},
      tile->rows, head_dim / kLanes, [&](int r, int d, I32 sum) {
        add_values(*tile, r, d, add(to_f32(sum), set_f32(value_middle * tile->softmax.code_sum[r])));
      });
}

// A page in floats: sums by d in order for scores, by token in order for outputs.
void score_floats(const float* query, const float* keys, int head_dim, float* scores) {
  F32 sums[kPageVectors] = {zero_f32(), zero_f32(), zero_f32(), zero_f32()};
  for (int d = 0; d < head_dim; ++d) {
    const F32 q = set_f32(query[d]);
    for_each_page_vector([&](auto v) __attribute__((always_inline)) {
      sums[v] = fma(q, load_f32(keys + d * kPageTokens + v * kLanes), sums[v]);
    });
  }
  for_each_page_vector([&](auto v) __attribute__((always_inline)) { store_f32(scores + v * kLanes, sums[v]); });
}

// Dimensions d to d + 16 * kVectors of row r. Values that the row may not see may be anything, a NaN too.
template <int kVectors>
void add_float_values(const RowTile& tile, int r, int d, const float* values) {
  const int head_dim = tile.args.head_dim;
  F32 sums[kVectors];
  unrolled<0, kVectors>([&](auto v) __attribute__((always_inline)) { sums[v] = zero_f32(); });
  for (int t = tile.softmax.from[r]; t < tile.softmax.to[r]; ++t) {
    const F32 weight = set_f32(tile.scores[r * kPageTokens + t]);
    unrolled<0, kVectors>([&](auto v) __attribute__((always_inline)) {
      sums[v] = fma(weight, load_f32(values + t * head_dim + d + v * kLanes), sums[v]);
    });
  }
  unrolled<0, kVectors>([&](auto v) __attribute__((always_inline)) { add_values(tile, r, d + v * kLanes, sums[v]); });
}

// Out of line: the rare case.
__attribute__((noinline)) void attend_floats(const PageView& page, RowTile* tile) {
  const int head_dim = tile->args.head_dim;
  const auto* const keys = reinterpret_cast<const float*>(page.parts.floats);
  for (int r = 0; r < tile->rows; ++r) {
    tile->softmax.factor[r] = tile->args.float_queries.factor * kLog2E;
    tile->softmax.offset[r] = 0.0f;
    tile->softmax.from_code[r] = 1.0f;
    score_floats(tile->float_query(r), keys, head_dim, tile->scores + r * kPageTokens);
  }
  cap_tile(tile);
  soften(page, tile->scores, tile->rows, &tile->softmax);
  const float* const values = keys + kPageTokens * head_dim;
  for (int r = 0; r < tile->rows; ++r) {
    int d = 0;
    for (; d + 4 * kLanes <= head_dim; d += 4 * kLanes) add_float_values<4>(*tile, r, d, values);
    for (; d < head_dim; d += kLanes) add_float_values<1>(*tile, r, d, values);
  }
}

// ---- Rows over pages.

// A row that sees nothing of a page gives the same, whether or not others of its tile see some. `shares` may be null.
void keep_no_shares(PageShare* shares, int rows) {
  if (shares == nullptr) return;
  for (int r = 0; r < rows; ++r) shares[r] = {minus_infinity(), 0.0f, 0.0f};
}

void keep_shares(const TileSoftmax& softmax, PageShare* shares, int rows) {
  keep_no_shares(shares, rows);
  if (shares == nullptr) return;
  for (int r = 0; r < rows; ++r) {
    if (softmax.to[r] <= softmax.from[r]) continue;
    shares[r] = {softmax.page_max[r], softmax.after[r], softmax.weight_sum[r]};
  }
}

template <bool kAhead>
void attend_tile(const PageView& page, RowTile* tile) {
  PageShare* const shares = page.shares != nullptr ? page.shares + tile->first : nullptr;
  if (!look_at(page, tile)) return keep_no_shares(shares, tile->rows);
  if (page.parts.full != nullptr) {
    attend_full<kAhead>(page, tile);
  } else if (page.parts.floats != nullptr) {
    attend_floats(page, tile);
  } else if (page.parts.low != nullptr) {
    attend_planes<kAhead, true>(page, tile);
  } else {
    attend_planes<kAhead, false>(page, tile);
  }
  for (int r = 0; r < tile->rows; ++r) {
    const int row = tile->first + r;
    tile->args.max[row] = tile->softmax.after[r];
    tile->args.sum[row] = tile->args.sum[row] * tile->softmax.fade[r] + tile->softmax.weight_sum[r];
  }
  keep_shares(tile->softmax, shares, tile->rows);
}

// All rows, in tiles of nearly the same size.
template <bool kAhead>
void attend_page(const AttentionArgs& args, const PageView& page) {
  const int tiles = (args.rows + kTileRows - 1) / kTileRows;
  for (int i = 0; i < tiles; ++i) {
    const int first = static_cast<int>(static_cast<int64_t>(args.rows) * i / tiles);
    const int last = static_cast<int>(static_cast<int64_t>(args.rows) * (i + 1) / tiles);
    RowTile tile(args, first, last - first);
    attend_tile<kAhead>(page, &tile);
  }
}

// Behind the codes, and so out of reach of the products' own prefetching.
void prefetch_scales(const AttentionPage& page, int head_dim) {
  if (page.floats != nullptr) return;
  const std::byte* const scales =
      page.full != nullptr ? page.full + key_scales_at(head_dim) : page.high + plane_key_scales_at(head_dim);
  for (int at = 0; at < 2 * 4 * kPageTokens; at += 64) __builtin_prefetch(scales + at);
}

// The scales of a page's tokens; those of planes are put into `room`, [2][64], and so are ones for floats.
PageView view_of(const AttentionPage& page, int head_dim, float* room) {
  PageView view{.parts = page,
                .next = page,
                .key_scales = room,
                .value_scales = room + kPageTokens,
                .first_token = 0,
                .shares = nullptr};
  if (page.full != nullptr) {
    view.key_scales = reinterpret_cast<const float*>(page.full + key_scales_at(head_dim));
    view.value_scales = reinterpret_cast<const float*>(page.full + value_scales_at(head_dim));
    return view;
  }
  if (page.floats != nullptr) {
    for (int i = 0; i < 2 * kPageTokens; i += kLanes) store_f32(room + i, set_f32(1.0f));
    return view;
  }
  const auto* const scales = reinterpret_cast<const uint16_t*>(page.high + plane_key_scales_at(head_dim));
  for (int i = 0; i < 2 * kPageTokens; i += kLanes) store_f32(room + i, load_bf16(scales + i));
  return view;
}

bool is_absent(const AttentionPage& page) { return first_part(page) == nullptr; }

// The rows of one head.
AttentionArgs rows_of_head(const AttentionArgs& args, int head) {
  const ptrdiff_t rows = static_cast<ptrdiff_t>(head) * args.rows;
  AttentionArgs own = args;
  own.queries += static_cast<size_t>(head) * args.queries_stride;
  if (own.float_queries.first != nullptr) {
    own.float_queries.first += static_cast<size_t>(head) * args.float_queries.head_stride;
  }
  own.out += rows * args.head_dim;
  own.max += rows;
  own.sum += rows;
  if (own.shares != nullptr) own.shares += rows * args.page_count;
  return own;
}

void start_rows(const AttentionArgs& args) {
  const size_t rows = static_cast<size_t>(args.heads) * static_cast<size_t>(args.rows);
  for (size_t r = 0; r < rows; ++r) {
    args.max[r] = minus_infinity();
    args.sum[r] = 0.0f;
  }
  const size_t outputs = rows * static_cast<size_t>(args.head_dim);
  for (size_t i = 0; i < outputs; i += kLanes) store_f32(args.out + i, zero_f32());
}

// `part` is the head's part of page number `page`; `next` what is attended next.
void attend_part(const AttentionArgs& head, int page, const AttentionPage& part, const AttentionPage& next) {
  alignas(64) float scales[2 * kPageTokens];
  PageView view = view_of(part, head.head_dim, scales);
  if (!is_absent(next)) view.next = next;
  view.first_token = page * kPageTokens;
  view.shares = head.shares != nullptr ? head.shares + page * head.rows : nullptr;
  if (head.rows <= kFewRows) {
    prefetch_scales(view.next, head.head_dim);
    attend_page<true>(head, view);
  } else {
    attend_page<false>(head, view);
  }
}

void attend(const AttentionArgs& args) {
  start_rows(args);
  const NibblePages nibbles(args);
  if (args.rows <= kFewRows && !is_absent(args.pages[0])) prefetch_scales(args.pages[0], args.head_dim);
  for (int page = 0; page < args.page_count; ++page) {
    const AttentionPage& first = args.pages[page];
    const AttentionPage& after = page + 1 < args.page_count ? args.pages[page + 1] : args.after;
    const bool in_nibbles = nibbles.may_attend(page);
    for (int head = 0; head < args.heads; ++head) {
      const AttentionArgs own = rows_of_head(args, head);
      if (is_absent(first)) {
        keep_no_shares(own.shares != nullptr ? own.shares + page * own.rows : nullptr, own.rows);
        continue;
      }
      if (in_nibbles && nibbles.attend(own, page, head, after)) continue;
      const bool last = head + 1 == args.heads;
      attend_part(own, page, part_of_head(first, args.part_stride, head),
                  last ? after : part_of_head(first, args.part_stride, head + 1));
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
