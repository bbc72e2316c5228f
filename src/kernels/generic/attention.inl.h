// Softmax attention over pages of 64 tokens. Included by kernels_<isa>.cc inside its unnamed namespace, after
// vector_math.inl.h.
//
// What each row's result is, whatever rows it is computed with (AttentionArgs; page by page, in order):
//   score_t = sum over d in order of fma(q_d, key_dt); -infinity where the row may not see token t
//   max'    = the greater of max and the page's greatest score
//   fade    = exp(max - max'), exactly 1 where the maximum stays
//   p_t     = exp(score_t - max'), exactly 0 where not visible
//   sum     = sum * fade + (p of the 64 tokens added in a fixed tree)
//   out_d   = out_d * fade, then for t in order fma(p_t, value_td, out_d), then + 0 so that no zero is negative
// Tokens that a row may not see thus change no bit of it, so a tile of rows may walk as far as its farthest row sees.
// (Were such a token's value NaN, 0 * NaN would show; infinities cannot occur, see store_value.)

inline constexpr int kTileRows = kRegisterVectors < 8 ? 1 : 6;  // Rows that share each load of a page's elements.
inline constexpr int kHalfRows = 4 * kTileRows;                 // For more rows, a page is converted to f32 once.
inline constexpr int kPageVectors = kPageTokens / kLanes;

F32 load_element(const float* p) { return load_f32(p); }
F32 load_element(const uint16_t* p) { return load_f16(p); }

// The greatest finite half instead of infinity: a value that overflows must not turn 0 * value into NaN.
F32 within_half_range(F32 v) { return min(set_f32(65504.0f), max(set_f32(-65504.0f), v)); }

void store_key(const float* key, int head_dim, int slot, uint16_t* page_keys) {
  uint16_t halves[kLanes];
  for (int d = 0; d < head_dim; d += kLanes) {
    store_f16(halves, within_half_range(load_f32(key + d)));
    for (int i = 0; i < kLanes; ++i) page_keys[(d + i) * kPageTokens + slot] = halves[i];
  }
}

void store_value(const float* value, int head_dim, int slot, uint16_t* page_values) {
  for (int d = 0; d < head_dim; d += kLanes) {
    store_f16(page_values + slot * head_dim + d, within_half_range(load_f32(value + d)));
  }
}

// Where a product takes its factors and puts its sums: sums[r][c] = start + sum over k of left[r][k] * right[k][c].
template <class Element>
struct Product {
  const float* left;
  int left_stride;
  const Element* right;
  int right_stride;
  int steps;
  const float* fade;  // [rows]: start = sums * fade; or null: start = 0.
  float* sums;
  int sums_stride;
  const Element* next;  // Laid out like `right`: brought into the cache on the way, for the product after this one.
};

// Rows x Vectors sums in registers, one walk along k: both products of attention are this loop.
template <int Rows, int Vectors, class Element>
void product_tile(const Product<Element>& p, int column) {
  F32 sum[Rows][Vectors];
  float* const target = p.sums + column;
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      sum[r][v] =
          p.fade == nullptr ? zero_f32() : mul(load_f32(target + r * p.sums_stride + kLanes * v), set_f32(p.fade[r]));
    }
  }
  const float* left = p.left;
  const Element* right = p.right + column;
  const Element* next = p.next + column;
  for (int k = 0; k < p.steps; ++k) {
    F32 element[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      element[v] = load_element(right + kLanes * v);
      if constexpr (sizeof(Element) == 2) {
        if (v % 2 == 0) __builtin_prefetch(next + kLanes * v);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const F32 factor = set_f32(left[r * p.left_stride]);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[r][v] = fma(factor, element[v], sum[r][v]);
    }
    left += 1;
    right += p.right_stride;
    next += p.right_stride;
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      store_f32(target + r * p.sums_stride + kLanes * v, add(sum[r][v], zero_f32()));
    }
  }
}

// Whether a tile's sums fit into registers with its operands: one factor, and the elements of a step where they are
// used more than once (floats can be taken from memory again, halves are converted once).
template <int Rows, int Vectors, class Element>
inline constexpr bool kTileFits = Rows * Vectors + (sizeof(Element) == 2 && Rows > 1 ? Vectors : 1) < kRegisterVectors;

// All columns, 4 vectors at a time, or 2, or 1.
template <int Rows, class Element>
void product_rows(const Product<Element>& p, int vectors) {
  int v = 0;
  if constexpr (kTileFits<Rows, 4, Element>) {
    for (; v + 4 <= vectors; v += 4) product_tile<Rows, 4>(p, v * kLanes);
  }
  if constexpr (kTileFits<Rows, 2, Element>) {
    for (; v + 2 <= vectors; v += 2) product_tile<Rows, 2>(p, v * kLanes);
  }
  for (; v < vectors; ++v) product_tile<Rows, 1>(p, v * kLanes);
}

template <class Element, int Rows = kTileRows>
void product(const Product<Element>& p, int rows, int vectors) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return product<Element, Rows - 1>(p, rows, vectors);
  }
  product_rows<Rows>(p, vectors);
}

// The page that a tile of rows attends to.
template <class Element>
struct PageView {
  const Element* keys;
  const Element* values;
  const Element* next_keys;  // Of the page after it, or again of this one.
  int first_token;           // Counted like AttentionArgs::visible.
};

// What softmax keeps of each row of a tile while it passes a page.
struct TileSoftmax {
  int seen[kTileRows];               // How many of the page's tokens the row may see.
  alignas(64) float before[kLanes];  // The greatest score before this page and with it.
  alignas(64) float after[kLanes];
  alignas(64) float fade[kLanes];  // exp(before - after)
  float weight_sum[kTileRows];
};

F32 visible_scores(const float* scores, int seen, int vector) {
  const F32 lowest = set_f32(minus_infinity());
  if (seen >= (vector + 1) * kLanes) return load_f32(scores + vector * kLanes);
  if (seen <= vector * kLanes) return lowest;
  return keep_first(load_f32(scores + vector * kLanes), seen - vector * kLanes, lowest);
}

// The 64 scores of each row become weights exp(score - after), 0 where not visible.
void soften(float* scores, int rows, TileSoftmax* softmax) {
  for (int r = 0; r < rows; ++r) {
    const float* row = scores + r * kPageTokens;
    const int seen = softmax->seen[r];
    const F32 most = max(max(visible_scores(row, seen, 0), visible_scores(row, seen, 1)),
                         max(visible_scores(row, seen, 2), visible_scores(row, seen, 3)));
    const float page_max = max_lanes(most);
    softmax->after[r] = page_max > softmax->before[r] ? page_max : softmax->before[r];
  }
  const F32 before = load_f32(softmax->before), after = load_f32(softmax->after);
  store_f32(softmax->fade, select_less(before, after, exp_not_positive(sub(before, after)), set_f32(1.0f)));
  for (int r = 0; r < rows; ++r) {
    float* row = scores + r * kPageTokens;
    // Where nothing was seen yet, -infinity - -infinity would be NaN; any finite number gives the weights 0.
    const float most = softmax->after[r] > minus_infinity() ? softmax->after[r] : 0.0f;
    F32 weight[kPageVectors];
    for (int v = 0; v < kPageVectors; ++v) {
      weight[v] = exp_not_positive(sub(visible_scores(row, softmax->seen[r], v), set_f32(most)));
      store_f32(row + v * kLanes, weight[v]);
    }
    softmax->weight_sum[r] = sum_lanes(add(add(weight[0], weight[1]), add(weight[2], weight[3])));
  }
}

// `rows` (at most kTileRows) rows from `first` attend to one page.
template <class Element>
void attend_tile(const AttentionArgs& args, int first, int rows, const PageView<Element>& page) {
  TileSoftmax softmax = {};
  int farthest = 0;
  for (int r = 0; r < rows; ++r) {
    const int left = args.visible[first + r] - page.first_token;
    softmax.seen[r] = left < 0 ? 0 : left > kPageTokens ? kPageTokens : left;
    if (softmax.seen[r] > farthest) farthest = softmax.seen[r];
    softmax.before[r] = args.max[first + r];
  }
  if (farthest == 0) return;

  alignas(64) float scores[kTileRows * kPageTokens];
  const int head_dim = args.head_dim;
  const size_t first_element = static_cast<size_t>(first) * static_cast<size_t>(head_dim);
  product<Element>({.left = args.queries + first_element,
                    .left_stride = head_dim,
                    .right = page.keys,
                    .right_stride = kPageTokens,
                    .steps = head_dim,
                    .fade = nullptr,
                    .sums = scores,
                    .sums_stride = kPageTokens,
                    .next = page.values},
                   rows, (farthest + kLanes - 1) / kLanes);
  soften(scores, rows, &softmax);
  product<Element>({.left = scores,
                    .left_stride = kPageTokens,
                    .right = page.values,
                    .right_stride = head_dim,
                    .steps = farthest,
                    .fade = softmax.fade,
                    .sums = args.out + first_element,
                    .sums_stride = head_dim,
                    .next = page.next_keys},
                   rows, head_dim / kLanes);
  for (int r = 0; r < rows; ++r) {
    args.max[first + r] = softmax.after[r];
    args.sum[first + r] = args.sum[first + r] * softmax.fade[r] + softmax.weight_sum[r];
  }
}

// All rows, in tiles of nearly the same size.
template <class Element>
void attend_page(const AttentionArgs& args, const PageView<Element>& page) {
  const int tiles = (args.rows + kTileRows - 1) / kTileRows;
  for (int tile = 0; tile < tiles; ++tile) {
    const int first = static_cast<int>(static_cast<int64_t>(args.rows) * tile / tiles);
    const int last = static_cast<int>(static_cast<int64_t>(args.rows) * (tile + 1) / tiles);
    attend_tile(args, first, last - first, page);
  }
}

void widen(const uint16_t* halves, int n, float* out) {
  for (int i = 0; i < n; i += kLanes) store_f32(out + i, load_f16(halves + i));
}

// Scratch, attention_scratch_bytes: a page of keys and one of values in f32 (and room for the scores of all rows).
void attend(const AttentionArgs& args) {
  const int page_elements = kPageTokens * args.head_dim;
  int farthest = 0;
  for (int r = 0; r < args.rows; ++r) {
    if (args.visible[r] > farthest) farthest = args.visible[r];
    args.max[r] = minus_infinity();
    args.sum[r] = 0.0f;
  }
  const size_t outputs = static_cast<size_t>(args.rows) * static_cast<size_t>(args.head_dim);
  for (size_t i = 0; i < outputs; i += kLanes) store_f32(args.out + i, zero_f32());

  float* const wide_keys = reinterpret_cast<float*>(args.scratch);
  float* const wide_values = wide_keys + page_elements;
  for (int page = 0; page < args.pages && page * kPageTokens < farthest; ++page) {
    const int first_token = page * kPageTokens;
    if (args.rows <= kHalfRows) {  // Few rows: halves are converted in registers.
      const int next = page + 1 < args.pages ? page + 1 : page;
      attend_page<uint16_t>(args, {args.keys[page], args.values[page], args.keys[next], first_token});
    } else {
      const int tokens = farthest - first_token < kPageTokens ? farthest - first_token : kPageTokens;
      widen(args.keys[page], page_elements, wide_keys);
      widen(args.values[page], tokens * args.head_dim, wide_values);
      attend_page<float>(args, {wide_keys, wide_values, wide_keys, first_token});
    }
  }
}

void merge_attention(const float* part_out, float part_max, float part_sum, int head_dim, float* out, float* max_score,
                     float* sum) {
  if (!(part_max > minus_infinity())) return;  // The part saw nothing.
  const float most = part_max > *max_score ? part_max : *max_score;
  alignas(64) float fade[kLanes] = {*max_score - most, part_max - most};
  store_f32(fade, exp_not_positive(load_f32(fade)));
  const F32 fade_this = set_f32(fade[0]), fade_part = set_f32(fade[1]);
  for (int d = 0; d < head_dim; d += kLanes) {
    store_f32(out + d, fma(load_f32(part_out + d), fade_part, mul(load_f32(out + d), fade_this)));
  }
  *sum = *sum * fade[0] + part_sum * fade[1];
  *max_score = most;
}
