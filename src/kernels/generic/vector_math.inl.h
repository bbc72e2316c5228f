// The element-wise kernels: norms, activations, rotations, exp and log-sum-exp. See kernel_table.h for the contracts.
// Every operation here is rounded correctly and happens in an order given by n alone, so that all instruction sets give
// the same bits. Included by kernels_<isa>.cc inside its unnamed namespace, after the vocabulary.

inline constexpr int kLanes = 16;
inline constexpr float kLaneNumbers[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// Compile-time loop: body(Constant<0>), body(Constant<1>), ...
template <int kValue>
struct Constant {
  static constexpr int value = kValue;
  constexpr operator int() const { return kValue; }
};
template <int kBegin, int kEnd, class Body>
inline __attribute__((always_inline)) void unrolled(Body body) {
  if constexpr (kBegin < kEnd) {
    body(Constant<kBegin>{});
    unrolled<kBegin + 1, kEnd>(body);
  }
}

float minus_infinity() { return -__builtin_inff(); }

// The first n lanes of v (n may be below 0 or above 16), `fill` in the others.
F32 keep_first(F32 v, int n, F32 fill) {
  return select_less(load_f32(kLaneNumbers), set_f32(static_cast<float>(n)), v, fill);
}

// x = k ln 2 + r with an integer k and |r| <= ln 2 / 2: returns e^r and leaves k in the low bits of `shifted`, as
// `shifter` = 1.5 * 2^23 + offset does it: adding it rounds to an integer and adds the offset.
F32 exp_of_remainder(F32 x, F32 shifter, F32* shifted) {
  *shifted = fma(x, set_f32(0x1.715476p0f), shifter);  // 1 / ln 2
  const F32 k = sub(*shifted, shifter);
  F32 r = fma(k, set_f32(-0x1.62e430p-1f), x);  // ln 2 in two parts; this step is exact.
  r = fma(k, set_f32(0x1.05c610p-29f), r);
  F32 p = set_f32(0x1.6a23ccp-10f);  // Minimax for the relative error, 3e-9.
  p = fma(p, r, set_f32(0x1.123a20p-7f));
  p = fma(p, r, set_f32(0x1.5558f2p-5f));
  p = fma(p, r, set_f32(0x1.555492p-3f));
  p = fma(p, r, set_f32(0x1.fffffcp-2f));
  p = fma(p, r, set_f32(1.0f));
  return fma(p, r, set_f32(1.0f));
}

inline constexpr float kExpLowest = -0x1.5d589ep6f;   // Below it e^x is no normal number: 0 is returned.
inline constexpr float kExpInfinite = 0x1.62e430p6f;  // From here on e^x rounds to infinity.

// e^x within 1 ulp; exactly 1 at 0, exactly 0 where it would be denormal (denormals are slow on many processors and
// would enter products), infinity above the range; NaN stays NaN.
F32 exp_f32(F32 x) {
  F32 shifted;
  const F32 p = exp_of_remainder(x, set_f32(0x1.8p23f), &shifted);
  // k is added to the exponent bits. Lanes out of range hold nonsense until the selection.
  const F32 result = from_bits(add_i32(bits_of(p), shift_left_i32(bits_of(shifted), 23)));
  const F32 above = add(x, set_f32(__builtin_inff()));
  return select_less(x, set_f32(kExpLowest), zero_f32(), select_less(x, set_f32(kExpInfinite), result, above));
}

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

// The same bits for x <= 0 with fewer operations; NaN stays NaN. 2^k is a factor made from k + 127.
F32 exp_not_positive(F32 x) {
  F32 shifted;
  const F32 p = exp_of_remainder(x, set_f32(0x1.8p23f + 127.0f), &shifted);
  const F32 result = mul(p, from_bits(shift_left_i32(bits_of(shifted), 23)));
  return select_less(x, set_f32(kExpLowest), zero_f32(), result);
}

// Calls body(first index, how many lanes) for 16 elements at a time; body knows to take a fast path when all are there.
template <class Body>
void for_each_vector(int n, Body body) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, n - i);
}
F32 load_lanes(const float* p, int lanes) { return lanes == kLanes ? load_f32(p) : load_f32_n(p, lanes); }
void store_lanes(float* p, F32 v, int lanes) {
  if (lanes == kLanes) {
    store_f32(p, v);
  } else {
    store_f32_n(p, v, lanes);
  }
}

void rms_norm(const float* x, const float* weight, int n, float eps, float* out) {
  F32 squares = zero_f32();
  for_each_vector(n, [&](int i, int lanes) {
    const F32 v = load_lanes(x + i, lanes);
    squares = fma(v, v, squares);
  });
  const float mean = sum_lanes(squares) / static_cast<float>(n);
  const F32 factor = set_f32(1.0f / __builtin_sqrtf(mean + eps));
  for_each_vector(n, [&](int i, int lanes) {
    store_lanes(out + i, mul(mul(load_lanes(x + i, lanes), factor), load_lanes(weight + i, lanes)), lanes);
  });
}

void silu_multiply(const float* gate, const float* up, int n, float* out) {
  for_each_vector(n, [&](int i, int lanes) {
    const F32 g = load_lanes(gate + i, lanes);
    const F32 silu = div(g, add(set_f32(1.0f), exp_f32(sub(zero_f32(), g))));
    store_lanes(out + i, mul(silu, load_lanes(up + i, lanes)), lanes);
  });
}

void layer_norm(const float* x, const float* weight, const float* bias, int n, float eps, float* out) {
  F32 sum = zero_f32();
  for_each_vector(n, [&](int i, int lanes) { sum = add(sum, load_lanes(x + i, lanes)); });
  const F32 mean = set_f32(sum_lanes(sum) / static_cast<float>(n));
  F32 squares = zero_f32();
  for_each_vector(n, [&](int i, int lanes) {
    // Lanes past the end are 0, not minus the mean.
    const F32 v = keep_first(sub(load_lanes(x + i, lanes), mean), lanes, zero_f32());
    squares = fma(v, v, squares);
  });
  const float variance = sum_lanes(squares) / static_cast<float>(n);
  const F32 factor = set_f32(1.0f / __builtin_sqrtf(variance + eps));
  for_each_vector(n, [&](int i, int lanes) {
    const F32 offset = bias == nullptr ? zero_f32() : load_lanes(bias + i, lanes);
    const F32 v = mul(sub(load_lanes(x + i, lanes), mean), factor);
    store_lanes(out + i, fma(v, load_lanes(weight + i, lanes), offset), lanes);
  });
}

F32 gelu_of(F32 x) {
  // -2 u = x * (a + b x^2)
  const F32 inner = fma(mul(x, x), set_f32(-0x1.2444f2p-4f), set_f32(-0x1.988454p0f));
  return div(x, add(set_f32(1.0f), exp_f32(mul(x, inner))));
}

void gelu(const float* x, int n, float* out) {
  for_each_vector(n, [&](int i, int lanes) { store_lanes(out + i, gelu_of(load_lanes(x + i, lanes)), lanes); });
}

void gelu_multiply(const float* gate, const float* up, int n, float* out) {
  for_each_vector(n, [&](int i, int lanes) {
    store_lanes(out + i, mul(gelu_of(load_lanes(gate + i, lanes)), load_lanes(up + i, lanes)), lanes);
  });
}

void clipped_swiglu(const float* gate, const float* up, int n, float limit, float* out) {
  const F32 most = set_f32(limit), least = set_f32(-limit), one = set_f32(1.0f);
  for_each_vector(n, [&](int i, int lanes) {
    const F32 g = min(most, load_lanes(gate + i, lanes));
    const F32 u = min(most, max(least, load_lanes(up + i, lanes)));
    const F32 gated = div(g, add(one, exp_f32(mul(g, set_f32(-1.702f)))));
    store_lanes(out + i, mul(gated, add(u, one)), lanes);
  });
}

// tanh(y) = (1 - e^(-2|y|)) / (1 + e^(-2|y|)) with the sign of y.
F32 tanh_of(F32 y) {
  const F32 e = exp_not_positive(mul(abs(y), set_f32(-2.0f)));
  const F32 size = div(sub(set_f32(1.0f), e), add(set_f32(1.0f), e));
  return select_less(y, zero_f32(), sub(zero_f32(), size), size);
}

void soft_cap(float cap, int n, float* x) {
  const F32 by = set_f32(cap);
  for_each_vector(
      n, [&](int i, int lanes) { store_lanes(x + i, mul(by, tanh_of(div(load_lanes(x + i, lanes), by))), lanes); });
}

void add_to(const float* x, int n, float* y) {
  for_each_vector(
      n, [&](int i, int lanes) { store_lanes(y + i, add(load_lanes(y + i, lanes), load_lanes(x + i, lanes)), lanes); });
}

void scale_by(float factor, int n, float* out) {
  const F32 by = set_f32(factor);
  for_each_vector(n, [&](int i, int lanes) { store_lanes(out + i, mul(load_lanes(out + i, lanes), by), lanes); });
}

// Element by element: the pairs are interleaved, which compilers turn into the shuffles that vocabulary would need.
void rope_adjacent(const float* cosine, const float* sine, int pairs, float* head) {
  for (int i = 0; i < pairs; ++i) {
    const float a = head[2 * i], b = head[2 * i + 1];
    head[2 * i] = a * cosine[i] - b * sine[i];
    head[2 * i + 1] = b * cosine[i] + a * sine[i];
  }
}

void rope_halves(const float* cosine, const float* sine, int pairs, float* head) {
  float* upper = head + pairs;
  for_each_vector(pairs, [&](int i, int lanes) {
    const F32 c = load_lanes(cosine + i, lanes), s = load_lanes(sine + i, lanes);
    const F32 a = load_lanes(head + i, lanes), b = load_lanes(upper + i, lanes);
    store_lanes(head + i, sub(mul(a, c), mul(b, s)), lanes);
    store_lanes(upper + i, add(mul(b, c), mul(a, s)), lanes);
  });
}

// The greatest of n floats (n >= 1, NaN ignored unless it comes last in its lane).
float greatest(const float* x, int n) {
  const F32 lowest = set_f32(minus_infinity());
  F32 most = lowest;
  for_each_vector(n, [&](int i, int lanes) {
    most = max(most, lanes == kLanes ? load_f32(x + i) : keep_first(load_f32_n(x + i, lanes), lanes, lowest));
  });
  return max_lanes(most);
}

// Terms are exp of (x - greatest). That difference is rounded, which for a far term is more than exp's own error, so
// its rounding error `lost` (known exactly) is multiplied back in: e^(d + lost) = e^d + e^d * lost.
double log_sum_exp(const float* x, int n) {
  const float top = n > 0 ? greatest(x, n) : minus_infinity();
  if (!(__builtin_fabsf(top) < __builtin_inff())) return static_cast<double>(top);
  const F32 most = set_f32(top);
  const F32 far = sub(most, set_f32(150.0f));  // Worth 0, and finite where x is -infinity.
  F64 sum = zero_f64();
  for_each_vector(n, [&](int i, int lanes) {
    F32 v = load_lanes(x + i, lanes);
    if (lanes < kLanes) v = keep_first(v, lanes, far);
    v = max(far, v);
    const F32 d = sub(v, most);
    const F32 minus_most = sub(d, v);  // As far as d knows it.
    const F32 lost = sub(sub(v, sub(d, minus_most)), add(most, minus_most));
    const F32 e = exp_not_positive(d);
    sum = add_f64(sum, fma(e, lost, e));
  });
  return static_cast<double>(top) + __builtin_log(sum_lanes_f64(sum));
}
