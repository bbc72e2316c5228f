// The products of attention: codes of a few rows of queries (or weights) times a page's codes of keys (or values), in
// register tiles. Included by kernels_<isa>.cc inside its unnamed namespace, before attention.inl.h, which says what is
// multiplied and why no sum overflows.

inline constexpr int kTileRows = kRegisterVectors < 8 ? 1 : 6;  // Rows that share each load of a page's codes.

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

// A function of its own, so that its sums get all registers where there are only just enough: inlined into what calls
// it, g++ 12 kept half of them on the stack (AVX2).
template <int Rows, int Vectors, bool kAhead, class Finish>
__attribute__((noinline)) void product_tile_apart(const CodeProduct& p, int column, const Finish& finish) {
  product_tile<Rows, Vectors, kAhead>(p, column, finish);
}

// Whether a tile's sums fit into registers with its operands: one factor, and the codes of a step where they are used
// more than once.
template <int Rows, int Vectors>
inline constexpr bool kTileFits = Rows * Vectors + (Rows > 1 ? Vectors : 1) < kRegisterVectors;

// Where a product with planes takes its factors: words k and k + steps of `left`, four codes each, go with the lower
// and upper nibbles of the planes' line k.
struct NibbleProduct {
  const std::byte* left;  // [rows][left_stride]
  int left_stride;
  const std::byte* high;  // [steps][right_columns][4]
  const std::byte* low;   // The same; not read at 4 bits.
  int right_columns;
  int steps;
  const std::byte* next_high;  // To bring into the cache on the way.
  const std::byte* next_low;
};

// Codes of 16 x 4 from planes: the nibbles of the high plane above those of the low one, or above zeros.
template <bool kUpper, bool kLow>
U8 codes_of_planes(U8 high, U8 low) {
  const U8 above = kUpper ? bit_field<0, -16>(high) : bit_field<-4, -16>(high);
  if constexpr (!kLow) return above;
  return or_u8(above, kUpper ? bit_field<4, 15>(low) : bit_field<0, 15>(low));
}

enum class Sign { kLeft, kRight };  // Which side's bytes are signed.

template <Sign kSign>
I32 dot_of_signs(I32 sum, U8 left, U8 right) {
  return kSign == Sign::kLeft ? dot_bytes(sum, right, left) : dot_bytes(sum, left, right);
}

inline __attribute__((always_inline)) U8 repeat_word(const std::byte* at) {
  int32_t word;
  __builtin_memcpy(&word, at, sizeof word);
  return bytes_of(set_i32(word));
}

template <int Rows, int Vectors, bool kAhead, bool kLow, Sign kSign, class Finish>
void nibble_tile(const NibbleProduct& p, int column, const Finish& finish) {
  I32 sum[Rows][Vectors];
  for_each_sum<Rows, Vectors>([&](auto r, auto v) __attribute__((always_inline)) { sum[r][v] = set_i32(0); });
  for (int k = 0; k < p.steps; ++k) {
    const int line = 4 * (k * p.right_columns + column);
    U8 high[Vectors], low[Vectors];
    unrolled<0, Vectors>([&](auto v) __attribute__((always_inline)) {
      high[v] = load_u8(p.high + line + 4 * kLanes * v);
      if constexpr (kAhead) __builtin_prefetch(p.next_high + line + 4 * kLanes * v);
      low[v] = high[v];
      if constexpr (kLow) {
        low[v] = load_u8(p.low + line + 4 * kLanes * v);
        if constexpr (kAhead) __builtin_prefetch(p.next_low + line + 4 * kLanes * v);
      }
    });
    unrolled<0, 2>([&](auto half) __attribute__((always_inline)) {
      U8 codes[Vectors];  // NOLINT(misc-const-correctness): it does not see that the lambda writes.
      unrolled<0, Vectors>([&](auto v) __attribute__((always_inline)) {
        constexpr bool kUpper = decltype(half)::value == 1;
        codes[v] = codes_of_planes<kUpper, kLow>(high[v], low[v]);
      });
      unrolled<0, Rows>([&](auto r) __attribute__((always_inline)) {
        const U8 factor = repeat_word(p.left + r * p.left_stride + 4 * (k + half * p.steps));
        unrolled<0, Vectors>([&](auto v) __attribute__((always_inline)) {
          sum[r][v] = dot_of_signs<kSign>(sum[r][v], factor, codes[v]);
        });
      });
    });
  }
  for_each_sum<Rows, Vectors>([&](auto r, auto v)
                                  __attribute__((always_inline)) { finish(r, column + kLanes * v, sum[r][v]); });
}

// At 4 bits, where products of bytes are added in pairs of 16 bits (multiply_add_i8): codes of 8 bits would not fit
// into those, but eight products of nibbles do, 8 * 2 * 127 * 15 or 8 * 2 * 255 * 8. 1.1 to 1.4 times as fast as
// widened codes (AVX2); both planes done so were slower.
inline constexpr bool kNibblesInPairs = kWideCodesAreSigned;

// Nibbles of 16 x 4 from the high plane: of keys unsigned, of values signed.
template <bool kUpper, bool kSigned>
U8 high_nibbles(U8 plane) {
  if constexpr (!kSigned) return kUpper ? bit_field<4, 15>(plane) : bit_field<0, 15>(plane);
  const U8 shifted = kUpper ? bit_field<4, 15>(flip_top_bits(plane)) : bit_field<0, 15>(add_u8(plane, set_u8(8)));
  return sub_u8(shifted, set_u8(8));
}

// The same sums without a low plane, whose nibbles count as zeros.
template <int Rows, int Vectors, bool kAhead, Sign kSign, class Finish>
void high_nibble_tile(const NibbleProduct& p, int column, const Finish& finish) {
  constexpr int kLinesInPairs = 4;
  I32 sum[Rows][Vectors];
  for_each_sum<Rows, Vectors>([&](auto r, auto v) __attribute__((always_inline)) { sum[r][v] = set_i32(0); });
  for (int begin = 0; begin < p.steps; begin += kLinesInPairs) {
    I32 part[Rows][Vectors];  // NOLINT(misc-const-correctness): it does not see that the lambda writes.
    for_each_sum<Rows, Vectors>([&](auto r, auto v) __attribute__((always_inline)) { part[r][v] = set_i32(0); });
    for (int k = begin; k < begin + kLinesInPairs && k < p.steps; ++k) {
      const int line = 4 * (k * p.right_columns + column);
      unrolled<0, 2>([&](auto half) __attribute__((always_inline)) {
        U8 codes[Vectors];  // NOLINT(misc-const-correctness)
        unrolled<0, Vectors>([&](auto v) __attribute__((always_inline)) {
          constexpr bool kUpper = decltype(half)::value == 1;
          if constexpr (kAhead && !kUpper) __builtin_prefetch(p.next_high + line + 4 * kLanes * v);
          codes[v] = high_nibbles < kUpper, kSign == Sign::kRight > (load_u8(p.high + line + 4 * kLanes * v));
        });
        unrolled<0, Rows>([&](auto r) __attribute__((always_inline)) {
          const U8 factor = repeat_word(p.left + r * p.left_stride + 4 * (k + half * p.steps));
          unrolled<0, Vectors>([&](auto v) __attribute__((always_inline)) {
            part[r][v] = kSign == Sign::kLeft ? multiply_add_i8(part[r][v], codes[v], factor)
                                              : multiply_add_i8(part[r][v], factor, codes[v]);
          });
        });
      });
    }
    for_each_sum<Rows, Vectors>([&](auto r, auto v) __attribute__((always_inline)) {
      sum[r][v] = dot_pairs(sum[r][v], part[r][v], set_i32(0x00100010));  // 16 times each of a pair.
    });
    keep_in_memory(sum);
  }
  for_each_sum<Rows, Vectors>([&](auto r, auto v)
                                  __attribute__((always_inline)) { finish(r, column + kLanes * v, sum[r][v]); });
}

// The two kinds of tile, for the loops over rows and columns below.
template <bool kAhead>
struct PairTile {
  template <int Rows, int Vectors, class Finish>
  static void run(const CodeProduct& p, int column, const Finish& finish) {
    if constexpr (kRegisterVectors == 8) {
      product_tile_apart<Rows, Vectors, kAhead>(p, column, finish);
    } else {
      product_tile<Rows, Vectors, kAhead>(p, column, finish);
    }
  }
};
template <bool kAhead, bool kLow, Sign kSign>
struct NibbleTile {
  template <int Rows, int Vectors, class Finish>
  static void run(const NibbleProduct& p, int column, const Finish& finish) {
    if constexpr (kNibblesInPairs && !kLow) {
      high_nibble_tile<Rows, Vectors, kAhead, kSign>(p, column, finish);
    } else {
      nibble_tile<Rows, Vectors, kAhead, kLow, kSign>(p, column, finish);
    }
  }
};

// All columns, 4 vectors at a time, or 2, or 1.
template <class Tile, int Rows, class Product, class Finish>
void product_rows(const Product& p, int vectors, const Finish& finish) {
  int v = 0;
  if constexpr (kTileFits<Rows, 4>) {
    for (; v + 4 <= vectors; v += 4) Tile::template run<Rows, 4>(p, v * kLanes, finish);
  }
  if constexpr (kTileFits<Rows, 2>) {
    for (; v + 2 <= vectors; v += 2) Tile::template run<Rows, 2>(p, v * kLanes, finish);
  }
  for (; v < vectors; ++v) Tile::template run<Rows, 1>(p, v * kLanes, finish);
}

template <class Tile, int Rows = kTileRows, class Product, class Finish>
void product(const Product& p, int rows, int vectors, const Finish& finish) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return product<Tile, Rows - 1>(p, rows, vectors, finish);
  }
  product_rows<Tile, Rows>(p, vectors, finish);
}
