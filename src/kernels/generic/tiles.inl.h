// The inputs of a matrix product as they were packed, and what the products of all block types share.

// Where the tile that starts at token t0 lies in the packed inputs, and its sizes.
struct Tile {
  int tokens;               // In the tile as packed.
  const int8_t* codes;      // [block][tokens][32]
  const float* scales;      // [block][tokens]
  const float* sums;        // [block][tokens]
  const int32_t* neg_sums;  // [block][tokens][2]
  const float* values;      // [col][tokens]
};

Tile tile_at(const Activations& x, int t0) {
  const int left = x.tokens - t0;
  const int tokens = left < kTokenTile ? left : kTokenTile;
  const size_t first = static_cast<size_t>(t0) * static_cast<size_t>(x.cols);
  if (x.values != nullptr) return {tokens, nullptr, nullptr, nullptr, nullptr, x.values + first};
  const size_t block = first / kActivationBlock;
  return {tokens, x.codes + first, x.scales + block, x.scaled_sums + block, x.neg_sums + 2 * block, nullptr};
}

// The minima of a block whose halves have their own, before the inputs' scale: the second half's times the sum of all
// inputs, and what the first half has beyond it times the sum of its inputs. The sums come negated: minima are
// subtracted.
struct HalfSums {
  F32 whole, first;
  explicit HalfSums(const int32_t* neg_sums)
      : whole(to_f32(set_i32(neg_sums[0]))), first(to_f32(set_i32(neg_sums[1]))) {}
};
inline __attribute__((always_inline)) F32 with_half_minima(F32 part, F32 whole, F32 first, const HalfSums& sums) {
  return fma(first, sums.first, fma(whole, sums.whole, part));
}

inline __attribute__((always_inline)) F32 start_from(const float* out, bool accumulate) {
  return accumulate ? load_f32(out) : zero_f32();
}

// body(tile, its first token, first token inside it, count <= kTokens) for all tokens of the call, in even counts: with
// a short rest the sums would be too few to hide what an addition takes.
template <int kTokens, class Body>
void for_each_register_tile(const MatmulArgs& args, Body body) {
  for (int t0 = args.token_begin; t0 < args.token_end; t0 += kTokenTile) {
    const Tile tile = tile_at(args.inputs, t0);
    const int end = args.token_end - t0 < tile.tokens ? args.token_end - t0 : tile.tokens;
    const int turns = (end + kTokens - 1) / kTokens;
    const int even = (end + turns - 1) / turns;
    for (int first = 0; first < end; first += even) {
      body(tile, t0, first, end - first < even ? end - first : even);
    }
  }
}
