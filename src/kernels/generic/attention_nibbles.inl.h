// Attention of a few rows over a page at 4 bits that they see whole: what decoding behind a long text does most of the
// time. These are the operations of attend_planes (attention.inl.h has their definition) with the same bits, but all
// rows go together, and from scores to the codes of weights in registers. Included by kernels_<isa>.cc inside its
// unnamed namespace, before attention.inl.h, where the instruction set has 32 registers; others have a NibblePages that
// does nothing.
//
// Why the bits are the same:
//   - Sums of keys start from -120 times the sum of the query's codes, and values are 16 h - 120 at once instead of
//     (16 h - 128) and 8 times the sum of weights later: integers below 2^24, exact either way.
//   - Lanes are reduced for four rows at once in the order of sum_lanes and max_lanes.
//   - An output is not multiplied by a fade of 1. It cannot be a negative zero: where 1 / f is no smaller than 2^-125,
//     a product with it that is not 0 does not round to 0.
// What this does not hold for (NaN, weights of nearly 0) is left to attend_planes.

// Asks for memory, some lines at a time, into the second level: requests for the first hold one of its few line buffers
// until memory answers, and other loads wait for those.
struct Ahead {
  const std::byte* at;

  inline __attribute__((always_inline)) void ask(int lines) {
    for (int i = 0; i < lines; ++i) __builtin_prefetch(at + 64 * i, 0, 2);
    at += 64 * lines;
  }
};
inline constexpr int kAskedInAStep = 3;  // Of a product, for each 64 columns; the rest between the two.

// Numbers of rows, those of four in a vector: row r's in lanes 4 (r % 4) to 4 (r % 4) + 3 of quad r / 4.
template <int Rows>
struct OfRows {
  static constexpr int kQuads = (Rows + 3) / 4;
  F32 quad[kQuads];

  static constexpr int rows_of(int q) { return Rows - 4 * q < 4 ? Rows - 4 * q : 4; }
  template <int kRow>
  F32 of() const {
    return repeat_quarter<kRow % 4>(quad[kRow / 4]);
  }
};
// make(q): the quads in turn.
template <int Rows, class Make>
inline __attribute__((always_inline)) OfRows<Rows> make_of_rows(const Make& make) {
  OfRows<Rows> all;  // NOLINT(misc-const-correctness): it does not see that the lambda writes.
  unrolled<0, OfRows<Rows>::kQuads>([&](auto q) __attribute__((always_inline)) { all.quad[q] = make(q); });
  return all;
}
template <int Rows>
inline __attribute__((always_inline)) OfRows<Rows> load_of_rows(const float* p) {
  return make_of_rows<Rows>(
      [&](auto q) __attribute__((always_inline)) { return load_quad(p + 4 * q, OfRows<Rows>::rows_of(q)); });
}
template <int Rows>
inline __attribute__((always_inline)) void store_of_rows(float* p, const OfRows<Rows>& all) {
  unrolled<0, OfRows<Rows>::kQuads>(
      [&](auto q) __attribute__((always_inline)) { store_quad(p + 4 * q, all.quad[q], OfRows<Rows>::rows_of(q)); });
}
// reduce(a, b, c, d): the quad of the lanes of four rows; where there are fewer, the last stands for those that lack.
template <int Rows, int kQuad, class Vector, class Reduce>
inline __attribute__((always_inline)) auto reduce_lanes(const Vector (&of_row)[Rows], const Reduce& reduce) {
  constexpr int kFirst = 4 * kQuad, kLast = Rows - 1;
  return reduce(of_row[kFirst], of_row[kFirst + 1 < kLast ? kFirst + 1 : kLast],
                of_row[kFirst + 2 < kLast ? kFirst + 2 : kLast], of_row[kFirst + 3 < kLast ? kFirst + 3 : kLast]);
}
template <int Rows, class Vector, class Reduce>
inline __attribute__((always_inline)) OfRows<Rows> reduce_rows(const Vector (&of_row)[Rows], const Reduce& reduce) {
  return make_of_rows<Rows>(
      [&](auto q) __attribute__((always_inline)) { return reduce_lanes<Rows, decltype(q)::value>(of_row, reduce); });
}

inline constexpr int kNibbleRows = 6;       // Of a head, at most.
inline constexpr int kNibbleRowsAll = 256;  // Of all heads.
inline constexpr int kNibbleColumns = 4 * kLanes;
inline constexpr float kNibbleWeightMin = 1e-35f, kNibbleScaleMax = 1e30f;  // Ordinary weights: 255 / w is finite.

// What comes from the queries of all heads: see attend_planes.
struct NibbleFactors {
  alignas(64) float score[kNibbleRowsAll];
  alignas(64) float mean[kNibbleRowsAll];
  alignas(64) float minus_excess[kNibbleRowsAll];
  alignas(64) int32_t start[kNibbleRowsAll];
};

// The rows of one head at one page.
struct NibbleRows {
  const std::byte* queries;  // query_bytes each.
  int head_dim;
  const float* score;  // Of NibbleFactors, from the first row on.
  const float* mean;
  const float* minus_excess;
  const int32_t* start;
  float* out;
  float* max;
  float* sum;
  PageShare* shares;  // Or null.
};

// sum += left * right for a page's keys or values, or 64 columns of them; left as in NibbleProduct.
template <int Rows, int kOffset, Sign kSign>
inline __attribute__((always_inline)) void add_nibbles(const std::byte* left, int left_stride, int steps,
                                                       const std::byte* right, int right_stride, Ahead* ahead,
                                                       I32 (&sum)[Rows][4]) {
  for (int k = 0; k < steps; ++k, right += right_stride) {
    U8 plane[4];  // NOLINT(misc-const-correctness)
    unrolled<0, 4>([&](auto v) __attribute__((always_inline)) { plane[v] = load_u8(right + 64 * v); });
    ahead->ask(kAskedInAStep);
    unrolled<0, 2>([&](auto half) __attribute__((always_inline)) {
      U8 codes[4];  // NOLINT(misc-const-correctness)
      unrolled<0, 4>([&](auto v) __attribute__((always_inline)) {
        constexpr bool kUpper = decltype(half)::value == 1;
        codes[v] = upper_nibbles<kOffset>(kUpper ? plane[v] : raise_nibbles(plane[v]));
      });
      unrolled<0, Rows>([&](auto r) __attribute__((always_inline)) {
        const U8 factor = repeat_word(left + r * left_stride + 4 * (k + half * steps));
        unrolled<0, 4>([&](auto v) __attribute__((always_inline)) {
          sum[r][v] = dot_of_signs<kSign>(sum[r][v], factor, codes[v]);
        });
      });
    });
  }
}

// What the mean key adds to all scores of each row.
template <int Rows>
inline __attribute__((always_inline)) OfRows<Rows> offsets_of_mean(const std::byte* mean, const NibbleRows& rows) {
  const int head_dim = rows.head_dim, stride = query_bytes(head_dim);
  I32 sum[Rows];
  unrolled<0, Rows>([&](auto r) __attribute__((always_inline)) { sum[r] = set_i32(0); });
  for (int d = 0; d < head_dim; d += 2 * kLanes) {
    const I32 codes = load_i32(mean + 2 * d);
    unrolled<0, Rows>([&](auto r) __attribute__((always_inline)) {
      sum[r] = dot_pairs(sum[r], load_i32(rows.queries + r * stride + 2 * d), codes);
    });
  }
  float scale;
  __builtin_memcpy(&scale, mean + 2 * head_dim, sizeof scale);
  const OfRows<Rows> factor = load_of_rows<Rows>(rows.mean);
  return make_of_rows<Rows>([&](auto q) __attribute__((always_inline)) {
    const F32 total = to_f32(reduce_lanes<Rows, decltype(q)::value>(sum, sum_quad_i32));
    return mul(mul(total, set_f32(scale)), factor.quad[q]);
  });
}

// x of the page's tokens.
template <int Rows>
inline __attribute__((always_inline)) void score_nibbles(const std::byte* page, const NibbleRows& rows, Ahead* ahead,
                                                         F32 (&x)[Rows][4]) {
  const int head_dim = rows.head_dim;
  I32 sum[Rows][4];
  for_each_sum<Rows, 4>([&](auto r, auto v) __attribute__((always_inline)) { sum[r][v] = set_i32(rows.start[r]); });
  add_nibbles<Rows, 0, Sign::kLeft>(rows.queries + 2 * head_dim, query_bytes(head_dim), head_dim / 8, page,
                                    4 * kPageTokens, ahead, sum);
  const auto* const scales = reinterpret_cast<const uint16_t*>(page + plane_key_scales_at(head_dim));
  unrolled<0, 4>([&](auto v) __attribute__((always_inline)) {
    const F32 scale = load_bf16(scales + v * kLanes);
    unrolled<0, Rows>([&](auto r) __attribute__((always_inline)) {
      x[r][v] = mul(fma(set_f32(rows.minus_excess[r]), scale, to_f32(sum[r][v])), scale);
    });
  });
}

// Softmax over the page: x becomes w.
template <int Rows>
struct NibbleSoftmax {
  OfRows<Rows> page_max, before, after, weight_sum, greatest;  // `greatest` of w.
  bool ordinary;                                               // See the head of this file.
};
template <int Rows>
inline __attribute__((always_inline)) NibbleSoftmax<Rows> weigh_nibbles(const std::byte* page, const NibbleRows& rows,
                                                                        const OfRows<Rows>& offset, F32 (&x)[Rows][4]) {
  NibbleSoftmax<Rows> all;
  F32 greatest[Rows], total[Rows];
  unrolled<0, Rows>([&](auto r) __attribute__((always_inline)) { greatest[r] = greatest_of(x[r]); });
  const OfRows<Rows> most = reduce_rows<Rows>(greatest, max_quad), factor = load_of_rows<Rows>(rows.score);
  all.before = load_of_rows<Rows>(rows.max);
  all.page_max = make_of_rows<Rows>(
      [&](auto q) __attribute__((always_inline)) { return add(mul(most.quad[q], factor.quad[q]), offset.quad[q]); });
  all.after = make_of_rows<Rows>([&](auto q) __attribute__((always_inline)) {
    return select_less(all.before.quad[q], all.page_max.quad[q], all.page_max.quad[q], all.before.quad[q]);
  });
  const OfRows<Rows> start =
      make_of_rows<Rows>([&](auto q) __attribute__((always_inline)) { return sub(offset.quad[q], all.after.quad[q]); });
  const auto* const scales = reinterpret_cast<const uint16_t*>(page + plane_value_scales_at(rows.head_dim));
  F32 scale[4];  // NOLINT(misc-const-correctness)
  unrolled<0, 4>([&](auto v) __attribute__((always_inline)) { scale[v] = load_bf16(scales + v * kLanes); });
  unrolled<0, Rows>([&](auto r) __attribute__((always_inline)) {
    const F32 by = set_f32(rows.score[r]), from = start.template of<decltype(r)::value>();
    F32 p[4];  // NOLINT(misc-const-correctness)
    unrolled<0, 4>([&](auto v) __attribute__((always_inline)) {
      p[v] = exp2_not_positive(fma(x[r][v], by, from));
      x[r][v] = mul(p[v], scale[v]);
    });
    total[r] = sum_of(p);
    greatest[r] = greatest_of(x[r]);
  });
  all.weight_sum = reduce_rows<Rows>(total, sum_quad);
  all.greatest = reduce_rows<Rows>(greatest, max_quad);
  all.ordinary = all_between(sum_of(scale), 0.0f, kNibbleScaleMax);  // A sum, which no NaN leaves as it is.
  unrolled<0, OfRows<Rows>::kQuads>([&](auto q) __attribute__((always_inline)) {
    all.ordinary = all.ordinary && all_between(all.weight_sum.quad[q], 0.0f, kNibbleScaleMax) &&
                   all_between(all.greatest.quad[q], kNibbleWeightMin, kNibbleScaleMax);
  });
  return all;
}

// Into AttentionArgs::max, sum and shares; returns the fades.
template <int Rows>
inline __attribute__((always_inline)) OfRows<Rows> keep_softmax(const NibbleSoftmax<Rows>& softmax,
                                                                const NibbleRows& rows) {
  const OfRows<Rows> fade = make_of_rows<Rows>([&](auto q) __attribute__((always_inline)) {
    const F32 before = softmax.before.quad[q], after = softmax.after.quad[q];
    return select_less(before, after, exp2_not_positive(sub(before, after)), set_f32(1.0f));
  });
  const OfRows<Rows> sum = load_of_rows<Rows>(rows.sum);
  store_of_rows(rows.max, softmax.after);
  store_of_rows(rows.sum, make_of_rows<Rows>([&](auto q) __attribute__((always_inline)) {
                  return add(mul(sum.quad[q], fade.quad[q]), softmax.weight_sum.quad[q]);
                }));
  if (rows.shares != nullptr) {
    float most[Rows], base[Rows], part[Rows];
    store_of_rows(most, softmax.page_max);
    store_of_rows(base, softmax.after);
    store_of_rows(part, softmax.weight_sum);
    for (int r = 0; r < Rows; ++r) rows.shares[r] = {most[r], base[r], part[r]};
  }
  return fade;
}

// 64 columns of outputs: out = out * fade + sum / f.
template <int Rows>
inline __attribute__((always_inline)) void add_weighted(const I32 (&sum)[Rows][4], const OfRows<Rows>& from_code,
                                                        const OfRows<Rows>& fade, bool fades, const NibbleRows& rows,
                                                        int column) {
  unrolled<0, Rows>([&](auto r) __attribute__((always_inline)) {
    const F32 by = from_code.template of<decltype(r)::value>();
    float* const target = rows.out + r * rows.head_dim + column;
    F32 out[4];  // NOLINT(misc-const-correctness)
    unrolled<0, 4>([&](auto v) __attribute__((always_inline)) { out[v] = load_f32(target + v * kLanes); });
    if (fades) {
      const F32 fading = fade.template of<decltype(r)::value>();
      unrolled<0, 4>([&](auto v) __attribute__((always_inline)) { out[v] = mul(out[v], fading); });
    }
    unrolled<0, 4>([&](auto v) __attribute__((always_inline)) {
      store_f32(target + v * kLanes, fma(to_f32(sum[r][v]), by, out[v]));
    });
  });
}

// False, and nothing changed, where the page is left to attend_planes.
template <int Rows>
bool attend_nibbles(const std::byte* page, const NibbleRows& rows, Ahead ahead) {
  const int head_dim = rows.head_dim;
  const OfRows<Rows> offset = offsets_of_mean<Rows>(page + plane_mean_at(head_dim), rows);
  F32 x[Rows][4];
  score_nibbles<Rows>(page, rows, &ahead, x);
  const NibbleSoftmax<Rows> softmax = weigh_nibbles<Rows>(page, rows, offset, x);
  if (!softmax.ordinary) return false;

  const OfRows<Rows> to_code = make_of_rows<Rows>(
      [&](auto q) __attribute__((always_inline)) { return div(set_f32(kWeightByteMax), softmax.greatest.quad[q]); });
  alignas(64) std::byte codes[Rows * kPageTokens];
  unrolled<0, Rows>([&](auto r) __attribute__((always_inline)) {
    const F32 by = to_code.template of<decltype(r)::value>();
    const auto code = [&](int v) __attribute__((always_inline)) { return round_to_i32(mul(x[r][v], by)); };
    store_u8(codes + r * kPageTokens, bytes_of_words(code(0), code(1), code(2), code(3)));
  });
  const int steps = head_dim / 8 + head_dim / kNibbleColumns * (kPageTokens / 8);
  ahead.ask((plane_mean_at(head_dim) + 2 * head_dim) / 64 + 1 - kAskedInAStep * steps);
  const OfRows<Rows> fade = keep_softmax<Rows>(softmax, rows);
  const OfRows<Rows> from_code =
      make_of_rows<Rows>([&](auto q) __attribute__((always_inline)) { return div(set_f32(1.0f), to_code.quad[q]); });
  bool fades = false;
  unrolled<0, OfRows<Rows>::kQuads>(
      [&](auto q) __attribute__((always_inline)) { fades = fades || !all_between(fade.quad[q], 1.0f, 1.0f); });
  for (int column = 0; column < head_dim; column += kNibbleColumns) {
    I32 sum[Rows][4];
    for_each_sum<Rows, 4>([&](auto r, auto v) __attribute__((always_inline)) { sum[r][v] = set_i32(0); });
    add_nibbles<Rows, 8, Sign::kRight>(codes, kPageTokens, kPageTokens / 8,
                                       page + plane_values_at(head_dim) + 4 * column, 4 * head_dim, &ahead, sum);
    add_weighted<Rows>(sum, from_code, fade, fades, rows, column);
  }
  return true;
}

// The pages of AttentionArgs that can be attended to in this way.
class NibblePages {
 public:
  explicit NibblePages(const AttentionArgs& args)
      : args_(args),
        possible_(args.rows <= kNibbleRows && args.heads * args.rows <= kNibbleRowsAll && !(args.score_cap > 0) &&
                  args.head_dim % kNibbleColumns == 0) {
    if (!possible_) return;
    for (int head = 0; head < args.heads; ++head) {
      for (int r = 0; r < args.rows; ++r) set_factors(head, r);
    }
  }

  bool may_attend(int page) const { return possible_ && is_seen_at_4_bits(args_.pages[page], page * kPageTokens); }

  // Whether it has been done, to head `head` of such a page, whose rows are those of `own`. `after` comes after the
  // page.
  bool attend(const AttentionArgs& own, int page, int head, const AttentionPage& after) const {
    const int first = head * args_.rows;
    const NibbleRows rows{.queries = own.queries,
                          .head_dim = own.head_dim,
                          .score = factors_.score + first,
                          .mean = factors_.mean + first,
                          .minus_excess = factors_.minus_excess + first,
                          .start = factors_.start + first,
                          .out = own.out,
                          .max = own.max,
                          .sum = own.sum,
                          .shares = own.shares != nullptr ? own.shares + page * own.rows : nullptr};
    const std::byte* const part = part_of_head(args_.pages[page], args_.part_stride, head).high;
    const std::byte* const next = next_part(page, head, after);
    return attend_rows<kNibbleRows>(part, rows, {next != nullptr ? next : part});
  }

 private:
  void set_factors(int head, int r) {
    QueryFactors factors;
    const size_t query =
        static_cast<size_t>(head) * args_.queries_stride + static_cast<size_t>(r * query_bytes(args_.head_dim));
    __builtin_memcpy(&factors, args_.queries + query + 3 * args_.head_dim, sizeof factors);
    const int at = head * args_.rows + r;
    factors_.score[at] = factors.byte_scale * kLog2E;
    factors_.mean[at] = factors.scale * kLog2E;
    factors_.minus_excess[at] = -excess_of(factors);
    factors_.start[at] = static_cast<int32_t>((kLowMiddle - kMiddle) * factors.byte_sum);
  }

  bool is_seen_at_4_bits(const AttentionPage& page, int first_token) const {
    bool seen = page.full == nullptr && page.high != nullptr && page.low == nullptr;
    for (int r = 0; r < args_.rows; ++r) {
      seen = seen && args_.visible_begin[r] <= first_token && args_.visible_end[r] >= first_token + kPageTokens;
    }
    return seen;
  }

  // What is attended to two heads later, or the one head later that there is; perhaps null.
  const std::byte* next_part(int page, int head, const AttentionPage& after) const {
    const int ahead = head + (args_.heads > 1 ? 2 : 1), heads = args_.heads;
    const AttentionPage part = ahead < heads ? part_of_head(args_.pages[page], args_.part_stride, ahead)
                                             : part_of_head(after, args_.part_stride, ahead - heads);
    return first_part(part);
  }

  template <int Rows>
  bool attend_rows(const std::byte* part, const NibbleRows& rows, Ahead ahead) const {
    if constexpr (Rows > 1) {
      if (args_.rows < Rows) return attend_rows<Rows - 1>(part, rows, ahead);
    }
    return attend_nibbles<Rows>(part, rows, ahead);
  }

  const AttentionArgs& args_;
  bool possible_;
  NibbleFactors factors_;
};
