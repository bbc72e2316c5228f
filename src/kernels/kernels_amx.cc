// What AMX-INT8 does better than AVX-512: products of many tokens with weights of block types. A block of 32 columns of
// two panels and twelve tokens is two instructions; what is left to vectors is to scale the integer sums, with the same
// operations in the same order as everywhere, so that the bits are the same. All else is the set "avx512".
//
// Only plain headers may be included here, as in kernels_avx512.cc.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"
#include "kernels/tables.h"

// The vocabulary is whole in every file; this one uses little of it.
#pragma GCC diagnostic ignored "-Wunused-function"

namespace infer::kernels::amx {
namespace {
#include "kernels/isa/avx512.h"
//
#include "kernels/isa/amx.h"
//
#include "kernels/generic/vector_math.inl.h"
//
#include "kernels/generic/unpack.inl.h"
//
#include "kernels/generic/tiles.inl.h"
//
#include "kernels/generic/unpacked.inl.h"

// Fewer tokens than this wait for the weights, and AVX-512 is as fast.
inline constexpr int kTileTokens = 17;

// One block of 32 columns is one product of tiles. With two scale groups it would be two, of half the height, and twice
// as many sums to scale: no faster than AVX-512.
template <class Format>
inline constexpr bool kSuitsTiles = Format::kGroups == 1;

// Which tile registers a block uses. Its sums stay in theirs while the next block is multiplied, for a product is slow
// to come and quick to follow.
template <int kOdd>
struct Registers {
  static constexpr int sums(int panel) { return 2 * kOdd + panel; }
  static constexpr int kInputs = 4 + kOdd;
  static constexpr int weights(int panel) { return 6 + panel; }
};

TileShapes shapes_for(int tokens) {
  TileShapes shapes;
  for (int t = 0; t < 4; ++t) shapes.set(t, tokens, kPanelRows * 4);
  for (int t = 4; t < 6; ++t) shapes.set(t, tokens, kActivationBlock);
  for (int t = 6; t < kTiles; ++t) shapes.set(t, kActivationBlock / 4, kPanelRows * 4);
  return shapes;
}

// Starts the products of a block: inputs at x, [token][32], with the panels' codes.
template <int kPanels, int kOdd>
inline __attribute__((always_inline)) void multiply_block(const Unpacked* w, size_t block, const int8_t* x) {
  using Tiles = Registers<kOdd>;
  load_tile<Tiles::kInputs>(x, kActivationBlock);
  unrolled<0, kPanels>([&](auto panel) __attribute__((always_inline)) {
    constexpr int kPanel = decltype(panel)::value;
    load_tile<Tiles::weights(kPanel)>(w[kPanel].codes + block * 512, 64);
    zero_tile<Tiles::sums(kPanel)>();
    add_tile_products<Tiles::sums(kPanel), Tiles::kInputs, Tiles::weights(kPanel)>();
  });
}

// A block's integer sums: a panel's rows for each token.
struct alignas(64) BlockSums {
  int32_t of[kTokenTile][kPanelRows];
};

template <int kPanels, int kOdd>
inline __attribute__((always_inline)) void take_sums(BlockSums (&sums)[kPanels]) {
  unrolled<0, kPanels>([&](auto panel) __attribute__((always_inline)) {
    store_tile<Registers<kOdd>::sums(decltype(panel)::value)>(sums[panel]);
  });
}

// Adds what a block's integer sums are worth, as tile_product in matmul.inl.h does; at: the first token's place among
// the inputs' scales.
template <class Format, int kPanels, int kTokens>
inline __attribute__((always_inline)) void add_block(const Unpacked* w, size_t block, const Tile& tile, size_t at,
                                                     const BlockSums (&sums)[kPanels], F32 (&acc)[kPanels][kTokens]) {
  unrolled<0, kPanels>([&](auto panel) __attribute__((always_inline)) {
    const F32 scale = load_f32(w[panel].scales + block * 16);
    const float* minima = w[panel].minima + block * 32;
    unrolled<0, kTokens>([&](auto token) __attribute__((always_inline)) {
      F32 part = mul(to_f32(load_i32(sums[panel].of[token])), scale);
      if constexpr (HasHalfMinima<Format>) {
        const HalfSums inputs(tile.neg_sums + 2 * (at + token));
        part = with_half_minima(part, load_f32(minima), load_f32(minima + 16), inputs);
      }
      acc[panel][token] = fma(part, set_f32(tile.scales[at + token]), acc[panel][token]);
    });
  });
  if constexpr (Format::kHasMinimum) {
    F32 minimum[kPanels];
    for (int p = 0; p < kPanels; ++p) minimum[p] = load_f32(w[p].minima + block * 16);
    unrolled<0, kTokens>([&](auto token) __attribute__((always_inline)) {
      const F32 input_sum = set_f32(tile.sums[at + token]);
      for (int p = 0; p < kPanels; ++p) acc[p][token] = fma(minimum[p], input_sum, acc[p][token]);
    });
  }
}

// kPanels panels times the first `count` tokens of a tile. Registers hold sums of kTokens >= count: those beyond count
// are of whatever lies behind (activation_bytes has room for that), and are not stored.
template <class Format, int kPanels, int kTokens>
void tile_product(const Unpacked* w, const Tile& tile, int count, const MatmulArgs& args, float* out) {
  const auto at = [&](int p, int t) { return out + static_cast<size_t>(t) * args.out_stride + p * kPanelRows; };
  F32 acc[kPanels][kTokens];
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) acc[p][t] = t < count ? start_from(at(p, t), args.accumulate) : zero_f32();
  }
  constexpr size_t kBehind = 2;  // A block's sums are taken when so many later ones are under way.
  const size_t blocks = static_cast<size_t>(args.weights.cols) / kActivationBlock;
  const auto tokens = static_cast<size_t>(tile.tokens);
  BlockSums sums[kPanels];
  const auto step = [&](auto odd, size_t b) __attribute__((always_inline)) {
    constexpr int kOdd = decltype(odd)::value;
    if (b >= kBehind) take_sums<kPanels, kOdd>(sums);
    if (b < blocks) multiply_block<kPanels, kOdd>(w, b, tile.codes + b * tokens * kActivationBlock);
    if (b >= kBehind) add_block<Format, kPanels, kTokens>(w, b - kBehind, tile, (b - kBehind) * tokens, sums, acc);
  };
  for (size_t b = 0; b < blocks + kBehind; ++b) b % 2 == 0 ? step(Constant<0>{}, b) : step(Constant<1>{}, b);
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) {
      if (t < count) store_f32(at(p, t), acc[p][t]);
    }
  }
}

template <class Format, int kPanels>
void run_tiles(const Unpacked* w, int panel, const MatmulArgs& args) {
  int configured = 0;
  for_each_register_tile<kTokenTile>(args, [&](const Tile& tile, int t0, int, int count) {
    if (count != configured) configure_tiles(shapes_for(configured = count));
    float* out = args.out + static_cast<size_t>(t0) * args.out_stride + static_cast<size_t>(panel) * kPanelRows;
    if (count <= 4) return tile_product<Format, kPanels, 4>(w, tile, count, args, out);
    if (count <= 8) return tile_product<Format, kPanels, 8>(w, tile, count, args, out);
    tile_product<Format, kPanels, kTokenTile>(w, tile, count, args, out);
  });
  release_tiles();
}

void matmul(const MatmulArgs& args) {
  const auto with_vectors = [&] { avx512::kTables[0].matmul(args); };
  const bool floats = args.inputs.values != nullptr;
  if (floats || args.token_end - args.token_begin < kTileTokens) return with_vectors();
  with_block_format(args.weights.type, [&]<class Format>(Format) {
    if constexpr (!kSuitsTiles<Format>) {
      with_vectors();
    } else {
      for_each_unpacked<Format, ScratchCodes::kSigned>(args, [&](const Unpacked* w, int panels, int p) {
        if (panels == kPanelsAtOnce) return run_tiles<Format, kPanelsAtOnce>(w, p, args);
        for (int i = 0; i < panels; ++i) run_tiles<Format, 1>(w + i, p + i, args);
      });
    }
  });
}

// See KernelTable::int8_peak. Four products of 16 x 16 sums and 64 columns a round.
uint64_t int8_peak(uint64_t rounds, int32_t* sink) {
  TileShapes shapes;
  for (int t = 0; t < kTiles; ++t) shapes.set(t, 16, 64);
  alignas(64) int8_t ones[16][64];
  for (auto& row : ones) store_u8(row, set_u8(1));
  configure_tiles(shapes);
  unrolled<0, 4>([&](auto tile) { zero_tile<decltype(tile)::value>(); });
  unrolled<4, kTiles>([&](auto tile) { load_tile<decltype(tile)::value>(ones, 64); });
  for (uint64_t round = 0; round < rounds; ++round) {
    add_tile_products<0, 4, 6>();
    add_tile_products<1, 4, 7>();
    add_tile_products<2, 5, 6>();
    add_tile_products<3, 5, 7>();
  }
  alignas(64) int32_t sums[16][16];
  unrolled<0, 4>([&](auto tile) {
    store_tile<decltype(tile)::value>(sums);
    *sink = static_cast<int32_t>(static_cast<uint32_t>(*sink) + static_cast<uint32_t>(sums[0][0]));
  });
  release_tiles();
  return rounds * 4 * 16 * 16 * 64 * 2;
}

}  // namespace

extern const TileKernels kTileKernels = {.matmul = matmul, .int8_peak = int8_peak};

}  // namespace infer::kernels::amx
