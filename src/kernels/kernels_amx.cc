// What AMX-INT8 does better than AVX-512: products of many tokens with weights of block types. A block of 32 columns of
// two panels and twelve tokens is two instructions; what is left to vectors is to scale the integer sums, rounded where
// they are everywhere, so that the bits are the same. All else is the set "avx512".
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

// Which tile registers a block uses. Where it has one scale group its sums stay in theirs while the next block is
// multiplied, for a product is slow to come and quick to follow; with two groups, each of half the height, there are
// registers for one block, and sums that take as long to add up.
template <int kGroups, int kOdd>
struct Registers {
  static constexpr int sums(int panel, int group) { return 2 * (kGroups == 1 ? kOdd : group) + panel; }
  static constexpr int inputs(int group) { return 4 + (kGroups == 1 ? kOdd : group); }
  static constexpr int weights(int panel) { return 6 + panel; }
};

TileShapes shapes_for(int tokens, int groups) {
  TileShapes shapes;
  for (int t = 0; t < 4; ++t) shapes.set(t, tokens, kPanelRows * 4);
  for (int t = 4; t < 6; ++t) shapes.set(t, tokens, kActivationBlock / groups);
  for (int t = 6; t < kTiles; ++t) shapes.set(t, kActivationBlock / 4 / groups, kPanelRows * 4);
  return shapes;
}

// Starts the products of a block: inputs at x, [token][32], with the panels' codes.
template <int kGroups, int kPanels, int kOdd>
inline __attribute__((always_inline)) void multiply_block(const Unpacked* w, size_t block, const int8_t* x) {
  using Tiles = Registers<kGroups, kOdd>;
  unrolled<0, kGroups>([&](auto group) __attribute__((always_inline)) {
    constexpr int kGroup = decltype(group)::value;
    load_tile<Tiles::inputs(kGroup)>(x + kGroup * (kActivationBlock / kGroups), kActivationBlock);
    unrolled<0, kPanels>([&](auto panel) __attribute__((always_inline)) {
      constexpr int kPanel = decltype(panel)::value;
      load_tile<Tiles::weights(kPanel)>(w[kPanel].codes + block * 512 + kGroup * (512 / kGroups), 64);
      zero_tile<Tiles::sums(kPanel, kGroup)>();
      add_tile_products<Tiles::sums(kPanel, kGroup), Tiles::inputs(kGroup), Tiles::weights(kPanel)>();
    });
  });
}

// A block's integer sums: a panel's rows for each token.
struct alignas(64) BlockSums {
  int32_t of[kTokenTile][kPanelRows];
};

template <int kGroups, int kPanels, int kOdd>
inline __attribute__((always_inline)) void take_sums(BlockSums (&sums)[kGroups][kPanels]) {
  unrolled<0, kGroups>([&](auto group) __attribute__((always_inline)) {
    unrolled<0, kPanels>([&](auto panel) __attribute__((always_inline)) {
      store_tile<Registers<kGroups, kOdd>::sums(decltype(panel)::value, decltype(group)::value)>(sums[group][panel]);
    });
  });
}

// Added to an integer in (-2^22, 2^22), the bits of the float 1.5 * 2^23 become those of 1.5 * 2^23 plus that integer.
inline constexpr int32_t kFloatOfZero = 0x4B400000;

// Weight scales have so few bits (16-bit floats, times at most 7 of a second scale) that 1.5 * 2^23 times one is exact.
template <class Format>
inline constexpr bool kScalesAreShort = true;
template <>
inline constexpr bool kScalesAreShort<PackedMXFP4> = false;  // Powers up to 2^127.

// A panel's integer sums of one block as floats, times its scales, rounded once. While tiles are in use, operations on
// floats take twice their time and those on integers do not (docs/internals/kernels.md), so a conversion is an integer
// addition, and what it adds goes away with the product. A zero is +0 whatever its scale's sign.
template <class Format>
class ScaledSums {
 public:
  explicit ScaledSums(const float* scales)
      : scale_(load_f32(scales)), excess_(mul(scale_, set_f32(-0x1.8p23f))), zero_(set_i32(kFloatOfZero)) {}
  F32 operator()(const int32_t* sums) const {
    if constexpr (!kScalesAreShort<Format>) return mul(to_f32(load_i32(sums)), scale_);
    return fma(from_bits(add_i32(load_i32(sums), zero_)), scale_, excess_);
  }

 private:
  F32 scale_, excess_;
  I32 zero_;
};

// Adds what a block's integer sums are worth, as tile_product in matmul.inl.h does; at: the first token's place among
// the inputs' scales.
template <class Format, int kPanels, int kTokens>
inline __attribute__((always_inline)) void add_block(const Unpacked* w, size_t block, const Tile& tile, size_t at,
                                                     const BlockSums (&sums)[Format::kGroups][kPanels],
                                                     F32 (&acc)[kPanels][kTokens]) {
  if constexpr (HasHalfMinima<Format>) {
    // Tokens outside, so that the panels share a token's sums.
    unrolled<0, kTokens>([&](auto token) __attribute__((always_inline)) {
      const HalfSums inputs(tile.neg_sums + 2 * (at + token));
      unrolled<0, kPanels>([&](auto panel) __attribute__((always_inline)) {
        const float* minima = w[panel].minima + block * 32;
        F32 part = ScaledSums<Format>(w[panel].scales + block * 16)(sums[0][panel].of[token]);
        add_product(part, inputs.whole, minima);
        add_product(part, inputs.first, minima + 16);
        add_scaled(acc[panel][token], part, tile.scales + at + token);
      });
    });
    return;
  }
  unrolled<0, kPanels>([&](auto panel) __attribute__((always_inline)) {
    const float* scales = w[panel].scales + block * Format::kGroups * 16;
    const ScaledSums<Format> scaled(scales);
    unrolled<0, kTokens>([&](auto token) __attribute__((always_inline)) {
      const F32 first = scaled(sums[0][panel].of[token]);
      if constexpr (Format::kGroups == 1) {
        add_scaled(acc[panel][token], first, tile.scales + at + token);
      } else {
        const F32 second = to_f32(load_i32(sums[1][panel].of[token]));
        add_scaled(acc[panel][token], fma(second, load_f32(scales + 16), first), tile.scales + at + token);
      }
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

// Each block is started, its sums taken, and added up; `odd` says which registers it has. The next ones are under way
// meanwhile: one where a block fills all registers for sums, else two. No condition in the loop: g++ would move all
// sums where its ways meet.
template <int kGroups, class Start, class Take, class Add>
inline __attribute__((always_inline)) void walk_blocks(size_t blocks, Start start, Take take, Add add) {
  constexpr Constant<0> kEven{};
  constexpr Constant<1> kOdd{};
  start(kEven, 0);
  size_t b = 0;
  if constexpr (kGroups == 2) {
    for (; b + 1 < blocks; ++b) {
      take(kEven);
      start(kEven, b + 1);
      add(kEven, b);
    }
    take(kEven);
    add(kEven, b);
  } else {
    if (blocks > 1) start(kOdd, 1);
    for (; b + 3 < blocks; b += 2) {
      take(kEven);
      start(kEven, b + 2);
      add(kEven, b);
      take(kOdd);
      start(kOdd, b + 3);
      add(kOdd, b + 1);
    }
    for (; b < blocks; b += 2) {
      take(kEven);
      if (b + 2 < blocks) start(kEven, b + 2);
      add(kEven, b);
      if (b + 1 == blocks) break;
      take(kOdd);
      add(kOdd, b + 1);
    }
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
  const size_t blocks = static_cast<size_t>(args.weights.cols) / kActivationBlock;
  const auto tokens = static_cast<size_t>(tile.tokens);
  constexpr int kGroups = Format::kGroups;
  BlockSums sums[kGroups == 1 ? 2 : 1][kGroups][kPanels];
  const auto start = [&](auto odd, size_t b) __attribute__((always_inline)) {
    multiply_block<kGroups, kPanels, decltype(odd)::value>(w, b, tile.codes + b * tokens * kActivationBlock);
  };
  const auto take = [&](auto odd) __attribute__((always_inline)) {
    take_sums<kGroups, kPanels, decltype(odd)::value>(sums[decltype(odd)::value]);
  };
  const auto add = [&](auto odd, size_t b) __attribute__((always_inline)) {
    add_block<Format, kPanels, kTokens>(w, b, tile, b * tokens, sums[decltype(odd)::value], acc);
  };
  walk_blocks<kGroups>(blocks, start, take, add);
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
    if (count != configured) configure_tiles(shapes_for(configured = count, Format::kGroups));
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
    for_each_unpacked<Format, ScratchCodes::kSigned>(args, [&](const Unpacked* w, int panels, int p) {
      if (panels == kPanelsAtOnce) return run_tiles<Format, kPanelsAtOnce>(w, p, args);
      for (int i = 0; i < panels; ++i) run_tiles<Format, 1>(w + i, p + i, args);
    });
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
