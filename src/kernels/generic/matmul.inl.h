// Matrix products. Two paths with the same arithmetic, so that they give the same bits:
// Few tokens (one tile): weights are decoded in registers and used at once; the memory stream is the limit.
// Many tokens: codes and scales of kPanelsAtOnce panels are unpacked to scratch once, where they stay in the
// second-level cache, then every tile of tokens runs over them; the integer dot product is the limit.

// What the integer dot product of a scale group starts from, so that codes need no subtraction: -zero * sum of inputs.
template <class Format>
inline __attribute__((always_inline)) I32 dot_start(const int32_t* neg_sums, int group) {
  if constexpr (Format::kZeroBits < 0 || HasGroupScales<Format> || (Format::kBits == 8 && kWideCodesAreSigned)) {
    return set_i32(0);
  } else {
    const int32_t sum = Format::kGroups == 1 ? neg_sums[0] : group == 0 ? neg_sums[1] : neg_sums[0] - neg_sums[1];
    return shift_left_i32(set_i32(sum), Format::kZeroBits);
  }
}

// What the sums of 16 columns (four steps) start from where they have an integer scale.
template <class Format>
inline __attribute__((always_inline)) int32_t group_start(const int32_t* neg_sums, int group) {
  constexpr int kZero = Format::kZeroBits < 0 ? 0 : 1 << Format::kZeroBits;
  return (group == 0 ? neg_sums[1] : neg_sums[0] - neg_sums[1]) * kZero;
}

// ---- Few tokens: decode in registers.

// One block of 32 columns of one panel, whose phase is kPhase, times kTokens tokens; `at` is the first one's place
// among the tile's inputs.
template <class Format, int kTokens, int kPhase>
inline __attribute__((always_inline)) void stream_block(const std::byte* unit, const typename Format::Scales& scales,
                                                        int block, const Tile& tile, size_t at, F32* acc) {
  constexpr int kSteps = 8 / Format::kGroups;
  const int8_t* x = tile.codes + at * kActivationBlock;
  F32 part[kTokens];
  unrolled<0, Format::kGroups>([&](auto group) __attribute__((always_inline)) {
    constexpr int kGroup = decltype(group)::value;
    const auto start = [&](int t) __attribute__((always_inline)) {
      return dot_start<Format>(tile.neg_sums + 2 * (at + static_cast<size_t>(t)), kGroup);
    };
    Dot<Format::kBits, kSteps> dot[kTokens];
    for (int t = 0; t < kTokens; ++t) dot[t].begin(start(t));
    unrolled<kGroup * kSteps, (kGroup + 1) * kSteps>([&](auto step) __attribute__((always_inline)) {
      constexpr int kStep = decltype(step)::value;
      if constexpr (HasGroupScales<Format>) {
        if constexpr (kStep % 4 == 0) {
          for (int t = 0; t < kTokens; ++t) {
            dot[t].begin_group(group_start<Format>(tile.neg_sums + 2 * (at + static_cast<size_t>(t)), kStep / 4));
          }
        }
      }
      const U8 codes = Format::template codes<kPhase, kStep>(unit, block / Format::kPhases);
      for (int t = 0; t < kTokens; ++t) {
        dot[t].template step<kStep>(codes, x + t * kActivationBlock + 4 * kStep);
      }
      if constexpr (HasGroupScales<Format>) {
        if constexpr (kStep % 4 == 3) {
          for (int t = 0; t < kTokens; ++t) {
            dot[t].template end_group<kStep / 4>(scales.group_scales(block, kStep / 4));
          }
        }
      }
    });
    const F32 scale = scales.scale(block, kGroup);
    for (int t = 0; t < kTokens; ++t) {
      const F32 sum = to_f32(dot[t].result(start(t)));
      part[t] = kGroup == 0 ? mul(sum, scale) : fma(sum, scale, part[t]);
    }
  });
  if constexpr (HasHalfMinima<Format>) {
    const F32 whole = scales.half_minimum(block, 0), first = scales.half_minimum(block, 1);
    for (int t = 0; t < kTokens; ++t) {
      part[t] = with_half_minima(part[t], whole, first, HalfSums(tile.neg_sums + 2 * (at + static_cast<size_t>(t))));
    }
  }
  for (int t = 0; t < kTokens; ++t) acc[t] = fma(part[t], set_f32(tile.scales[at + static_cast<size_t>(t)]), acc[t]);
  if constexpr (Format::kHasMinimum) {
    const F32 minimum = scales.minimum(block);
    for (int t = 0; t < kTokens; ++t) acc[t] = fma(minimum, set_f32(tile.sums[at + static_cast<size_t>(t)]), acc[t]);
  }
}

// Unit u times tokens [first, first + kTokens) of a tile.
template <class Format, int kTokens>
inline __attribute__((always_inline)) void stream_unit(const std::byte* unit, size_t u, const Tile& tile, size_t first,
                                                       F32 (&acc)[kTokens]) {
  const typename Format::Scales scales(unit);
  for_each_block<Format>([&](auto phase, auto block) __attribute__((always_inline)) {
    const size_t at = (u * Format::kBlocks + static_cast<size_t>(block)) * static_cast<size_t>(tile.tokens) + first;
    stream_block<Format, kTokens, decltype(phase)::value>(unit, scales, block, tile, at, acc);
    keep_in_memory(acc);
  });
}

// A pointer of which the compiler shall not know that it is the same as another.
template <class T>
inline __attribute__((always_inline)) void forget(T*& p) {
  asm("" : "+r"(p));
}

// The same unit of two neighbours, whose panels are `stride` bytes apart, times the kTokens tokens of a tile. They take
// turns block by block, so that both are streams of memory all the time, and the sums of one are added up while those
// of the other wait. by_block: requests are spread over the blocks; a Constant<1> where asking whether they are would
// cost.
template <class Format, int kTokens, class ByBlock>
inline __attribute__((always_inline)) void stream_two_units(const std::byte* unit, size_t stride, size_t u,
                                                            const Tile& tile, const UnitsAhead& ahead, ByBlock by_block,
                                                            F32 (&acc)[2][kTokens]) {
  const typename Format::Scales first(unit), second(unit + stride);
  // For more tokens than registers hold, the second panel loads the inputs once more: vectors of four columns that are
  // kept for it would be written to the stack.
  Tile again = tile;
  if constexpr (kTokens > kSharedInputTokens) forget(again.codes);
  for_each_block<Format>([&](auto phase, auto block) __attribute__((always_inline)) {
    constexpr int kPhase = decltype(phase)::value;
    const size_t at = (u * Format::kBlocks + static_cast<size_t>(block)) * static_cast<size_t>(tile.tokens);
    // Bits that several blocks share come from the first-level cache once more: g++ would keep them on the stack.
    const std::byte* second_unit = unit + stride;
    forget(unit);
    forget(second_unit);
    const std::byte* later = ahead.of_block<Format>(unit, u * Format::kUnitBytes, block);
    if (by_block) prefetch_share<Format>(later, block);
    stream_block<Format, kTokens, kPhase>(unit, first, block, tile, at, acc[0]);
    if (by_block) prefetch_share<Format>(later + stride, block);
    stream_block<Format, kTokens, kPhase>(second_unit, second, block, again, at, acc[1]);
    keep_in_memory(acc[0]);
    keep_in_memory(acc[1]);
  });
}

// kPanels neighbours times tokens [first, first + kTokens) of a tile, of one panel or `first` = 0. Two panels are two
// streams of memory, which some processors read faster than one, share their inputs' loads, and halve the time for
// which sums wait for each other. by_block: as in stream_two_units. Not inlined, so that the code for one kind of
// request does not shape that for the other.
template <class Format, int kPanels, int kTokens, class ByBlock>
__attribute__((noinline)) void stream_panel(const std::byte* panel, const Tile& tile, int first, const MatmulArgs& args,
                                            ByBlock by_block, float* out) {
  F32 acc[kPanels][kTokens];
  const auto at = [&](int p, int t) { return out + static_cast<size_t>(t) * args.out_stride + p * kPanelRows; };
  for (int p = 0; p < kPanels; ++p) {
    for (int t = 0; t < kTokens; ++t) acc[p][t] = start_from(at(p, t), args.accumulate);
  }
  const size_t units = static_cast<size_t>(args.weights.cols) / (32 * Format::kBlocks);
  const size_t bytes = packed_panel_bytes<Format>(args.weights.cols);
  const UnitsAhead ahead{bytes, (kPanels - 1) * bytes, args.stream};
  for (size_t u = 0; u < units; ++u) {
    const std::byte* unit = panel + u * Format::kUnitBytes;
    if (kPanels == 1 || !by_block) {
      for (int p = 0; p < kPanels; ++p) ahead.prefetch<Format>(panel + p * bytes, u * Format::kUnitBytes);
    }
    if constexpr (kPanels == 2) {
      stream_two_units<Format, kTokens>(unit, bytes, u, tile, ahead, by_block, acc);
    } else {
      stream_unit<Format, kTokens>(unit, u, tile, static_cast<size_t>(first), acc[0]);
    }
  }
  for (int p = 0; p < kPanels; ++p) {
    for (int t = 0; t < kTokens; ++t) store_f32(at(p, t), acc[p][t]);
  }
}

// Up to this many tokens two panels have code of their own for each kind of request: to ask for the kind in each block
// costs up to 8 % of one token's speed (Q4_K), and nothing that could be measured from five tokens on.
inline constexpr int kOwnStreamTokens = 2;

template <class Format, int kTokens>
void stream_two_panels(const std::byte* panels, const Tile& tile, const MatmulArgs& args, float* out) {
  const bool by_block = args.stream == WeightStream::kThroughL2;
  if constexpr (kTokens > kOwnStreamTokens) {
    stream_panel<Format, 2, kTokens>(panels, tile, 0, args, by_block, out);
  } else if (by_block) {
    stream_panel<Format, 2, kTokens>(panels, tile, 0, args, Constant<1>{}, out);
  } else {
    stream_panel<Format, 2, kTokens>(panels, tile, 0, args, Constant<0>{}, out);
  }
}

// The tokens of a tile, more than registers hold at once: they take turns over each unit, which stays in the
// first-level cache. All turns have kStreamTokensAtOnce tokens; the last one repeats some of the one before where they
// do not divide evenly, which costs nothing that a turn of its own length would not, and needs no code of its own.
template <class Format>
void stream_panel_in_turns(const std::byte* panel, const Tile& tile, int tokens, const MatmulArgs& args, float* out) {
  constexpr int kTurns = (kStreamTokens + kStreamTokensAtOnce - 1) / kStreamTokensAtOnce;
  const int turns = (tokens + kStreamTokensAtOnce - 1) / kStreamTokensAtOnce;
  const auto first = [&](int turn) {
    const int begin = turn * kStreamTokensAtOnce, last = tokens - kStreamTokensAtOnce;
    return static_cast<size_t>(begin < last ? begin : last);
  };
  F32 acc[kTurns][kStreamTokensAtOnce];
  const auto for_each = [&](auto body) {
    for (int i = 0; i < turns; ++i) {
      for (size_t t = 0; t < kStreamTokensAtOnce; ++t) body(acc[i][t], out + (first(i) + t) * args.out_stride);
    }
  };
  for_each([&](F32& sum, const float* at) { sum = start_from(at, args.accumulate); });
  const size_t units = static_cast<size_t>(args.weights.cols) / (32 * Format::kBlocks);
  const UnitsAhead ahead{packed_panel_bytes<Format>(args.weights.cols), 0, args.stream};
  for (size_t u = 0; u < units; ++u) {
    const std::byte* unit = panel + u * Format::kUnitBytes;
    ahead.prefetch<Format>(panel, u * Format::kUnitBytes);
    for (int i = 0; i < turns; ++i) {
      stream_unit<Format, kStreamTokensAtOnce>(unit, u, tile, first(i), acc[i]);
    }
  }
  for_each([&](const F32& sum, float* at) { store_f32(at, sum); });
}

// ---- Many tokens: unpack once, then run tiles.

// kPanels panels times tokens [first, first + kTokens) of a tile.
template <class Format, int kPanels, int kTokens>
void tile_product(const Unpacked* w, const Tile& tile, int first, int cols, bool accumulate, float* out,
                  size_t out_stride) {
  constexpr int kGroups = Format::kGroups, kSteps = 8 / kGroups;
  F32 acc[kPanels][kTokens];
  for (int p = 0; p < kPanels; ++p) {
    for (int t = 0; t < kTokens; ++t) {
      acc[p][t] = start_from(out + static_cast<size_t>(t) * out_stride + p * kPanelRows, accumulate);
    }
  }
  const size_t blocks = static_cast<size_t>(cols) / kActivationBlock;
  for (size_t b = 0; b < blocks; ++b) {
    const size_t at = b * static_cast<size_t>(tile.tokens) + static_cast<size_t>(first);
    const int8_t* x = tile.codes + at * kActivationBlock;
    F32 part[kPanels][kTokens];
    unrolled<0, kGroups>([&](auto group_constant) __attribute__((always_inline)) {
      constexpr int kGroup = decltype(group_constant)::value;
      const auto start = [&](int t) __attribute__((always_inline)) {
        return dot_start<Format>(tile.neg_sums + 2 * (at + static_cast<size_t>(t)), kGroup);
      };
      Dot<Format::kBits, kSteps> dot[kPanels][kTokens];
      for (int t = 0; t < kTokens; ++t) {
        for (int p = 0; p < kPanels; ++p) dot[p][t].begin(start(t));
      }
      unrolled<kGroup * kSteps, (kGroup + 1) * kSteps>([&](auto step_constant) __attribute__((always_inline)) {
        constexpr int kStep = decltype(step_constant)::value;
        if constexpr (HasGroupScales<Format>) {
          if constexpr (kStep % 4 == 0) {
            for (int t = 0; t < kTokens; ++t) {
              const int32_t begin = group_start<Format>(tile.neg_sums + 2 * (at + static_cast<size_t>(t)), kStep / 4);
              for (int p = 0; p < kPanels; ++p) dot[p][t].begin_group(begin);
            }
          }
        }
        U8 codes[kPanels];
        for (int p = 0; p < kPanels; ++p) codes[p] = load_u8(w[p].codes + b * 512 + kStep * 64);
        for (int t = 0; t < kTokens; ++t) {
          for (int p = 0; p < kPanels; ++p) {
            dot[p][t].template step<kStep>(codes[p], x + t * kActivationBlock + 4 * kStep);
          }
        }
        if constexpr (HasGroupScales<Format>) {
          if constexpr (kStep % 4 == 3) {
            for (int t = 0; t < kTokens; ++t) {
              for (int p = 0; p < kPanels; ++p) {
                dot[p][t].template end_group<kStep / 4>(w[p].group_scales + b * 32 + kStep / 4 * 16);
              }
            }
          }
        }
      });
      for (int p = 0; p < kPanels; ++p) {
        const F32 scale = load_f32(w[p].scales + (b * kGroups + kGroup) * 16);
        for (int t = 0; t < kTokens; ++t) {
          const F32 sum = to_f32(dot[p][t].result(start(t)));
          part[p][t] = kGroup == 0 ? mul(sum, scale) : fma(sum, scale, part[p][t]);
        }
      }
    });
    if constexpr (HasHalfMinima<Format>) {
      for (int t = 0; t < kTokens; ++t) {
        const HalfSums sums(tile.neg_sums + 2 * (at + static_cast<size_t>(t)));
        for (int p = 0; p < kPanels; ++p) {
          const float* minima = w[p].minima + b * 32;
          part[p][t] = with_half_minima(part[p][t], load_f32(minima), load_f32(minima + 16), sums);
        }
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      const F32 scale = set_f32(tile.scales[at + static_cast<size_t>(t)]);
      for (int p = 0; p < kPanels; ++p) acc[p][t] = fma(part[p][t], scale, acc[p][t]);
    }
    if constexpr (Format::kHasMinimum) {
      for (int t = 0; t < kTokens; ++t) {
        const F32 sum = set_f32(tile.sums[at + static_cast<size_t>(t)]);
        for (int p = 0; p < kPanels; ++p) acc[p][t] = fma(load_f32(w[p].minima + b * 16), sum, acc[p][t]);
      }
    }
    keep_in_memory(acc);
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int p = 0; p < kPanels; ++p) {
      store_f32(out + static_cast<size_t>(t) * out_stride + p * kPanelRows, acc[p][t]);
    }
  }
}

// Tokens [first, first + count) of a tile, count <= kTokens, in register tiles of at most kTokens.
template <class Format, int kPanels, int kTokens>
void tile_tail(const Unpacked* w, const Tile& tile, int first, int count, const MatmulArgs& args, float* out) {
  if constexpr (kTokens > 0) {
    if (count == kTokens) {
      tile_product<Format, kPanels, kTokens>(w, tile, first, args.weights.cols, args.accumulate, out, args.out_stride);
    } else {
      tile_tail<Format, kPanels, kTokens - 1>(w, tile, first, count, args, out);
    }
  }
}

template <class Format, int kPanels>
void run_tiles(const Unpacked* w, int panel, const MatmulArgs& args) {
  for_each_register_tile<kRegisterTokens>(args, [&](const Tile& tile, int t0, int first, int count) {
    float* out = args.out + static_cast<size_t>(t0 + first) * args.out_stride + static_cast<size_t>(panel) * kPanelRows;
    tile_tail<Format, kPanels, kRegisterTokens>(w, tile, first, count, args, out);
  });
}

// Up to this many tokens a format is streamed: decoding again in each turn must cost less than scratch does, and the
// code of eight unrolled blocks is large.
template <class Format>
inline constexpr int kStreamTokensOf = Format::kBlocks == 1 || Format::kBits == 4 ? kStreamTokens : kStreamTokensAtOnce;

// All tokens in one run over the panels: weights are read from memory once.
template <class Format, int kPanels, int kTokens>
void stream_tokens(const std::byte* panel, const Tile& tile, int tokens, const MatmulArgs& args, float* out) {
  if constexpr (kTokens > 0) {
    if constexpr (kTokens == kStreamTokensAtOnce && kTokens < kStreamTokensOf<Format>) {
      if (tokens > kTokens) return stream_panel_in_turns<Format>(panel, tile, tokens, args, out);
    }
    if (tokens < kTokens) return stream_tokens<Format, kPanels, kTokens - 1>(panel, tile, tokens, args, out);
    if constexpr (kPanels == 2) {
      stream_two_panels<Format, kTokens>(panel, tile, args, out);
    } else {
      stream_panel<Format, 1, kTokens>(panel, tile, 0, args, Constant<0>{}, out);
    }
  }
}

template <class Format>
void stream_panels(const MatmulArgs& args) {
  const Tile tile = tile_at(args.inputs, args.token_begin);
  const size_t bytes = packed_panel_bytes<Format>(args.weights.cols);
  const int tokens = args.token_end - args.token_begin;
  float* out = args.out + static_cast<size_t>(args.token_begin) * args.out_stride;
  const auto panel_at = [&](int p) { return args.weights.data + static_cast<size_t>(p) * bytes; };
  int p = args.panel_begin;
  for (; tokens <= kPairedStreamTokens && p + 2 <= args.panel_end; p += 2) {
    stream_tokens<Format, 2, kPairedStreamTokens>(panel_at(p), tile, tokens, args, out + p * kPanelRows);
  }
  for (; p < args.panel_end; ++p) {
    if (tokens <= kPairedStreamTokens) {  // The last of an odd number. Code for each number of tokens would be large.
      for (int t = 0; t < tokens; ++t) {
        stream_panel<Format, 1, 1>(panel_at(p), tile, t, args, Constant<0>{},
                                   out + t * static_cast<ptrdiff_t>(args.out_stride) + p * kPanelRows);
      }
    } else if constexpr (kPairedStreamTokens < kStreamTokensAtOnce) {
      stream_tokens<Format, 1, kStreamTokensAtOnce>(panel_at(p), tile, tokens, args, out + p * kPanelRows);
    }
  }
}

template <class Format>
void matmul_int8(const MatmulArgs& args) {
  if (args.token_end - args.token_begin <= kStreamTokensOf<Format>) return stream_panels<Format>(args);
  for_each_unpacked<Format, ScratchCodes::kAsStored>(args, [&](const Unpacked* w, int panels, int p) {
    if (panels == kPanelsAtOnce) {
      run_tiles<Format, kPanelsAtOnce>(w, p, args);
    } else {
      for (int i = 0; i < panels; ++i) run_tiles<Format, 1>(w + i, p + i, args);
    }
  });
}

// ---- Float weights: panel [col][16 rows].

// Columns that are worked on together: weights and inputs of a run of kFloatColumns stay in the caches while all tokens
// pass.
struct Columns {
  int begin, end;
};

// How far ahead a column is asked for: measured, as unpacked.inl.h has it for units.
constexpr int prefetch_column_bytes(WeightStream stream) {
  return stream == WeightStream::kPastL2 ? prefetch_bytes<64>(stream) : 3072;
}

// Asks for the line in which a column that comes later starts, if one does.
inline __attribute__((always_inline)) void prefetch_column(const std::byte* column, WeightStream stream) {
  const std::byte* later = column + prefetch_column_bytes(stream);
  if (reinterpret_cast<uintptr_t>(later) % 64 != 0) return;
  stream == WeightStream::kPastL2 ? __builtin_prefetch(later, 0, 0) : __builtin_prefetch(later, 0, 3);
}

template <class Format, int kPanels, int kTokens>
void float_product(const typename Format::Element* const* w, const Tile& tile, int first, Columns columns,
                   WeightStream stream, bool accumulate, float* out, size_t out_stride) {
  F32 acc[kPanels][kTokens];
  for (int p = 0; p < kPanels; ++p) {
    for (int t = 0; t < kTokens; ++t) {
      acc[p][t] = start_from(out + static_cast<size_t>(t) * out_stride + p * kPanelRows, accumulate);
    }
  }
  const float* x = tile.values + static_cast<size_t>(columns.begin) * static_cast<size_t>(tile.tokens) + first;
  for (int c = columns.begin; c < columns.end; ++c, x += tile.tokens) {
    F32 weight[kPanels];
    for (int p = 0; p < kPanels; ++p) {
      const typename Format::Element* at = w[p] + static_cast<size_t>(c) * kPanelRows;
      prefetch_column(reinterpret_cast<const std::byte*>(at), stream);
      weight[p] = Format::load(at);
    }
    for (int t = 0; t < kTokens; ++t) {
      const F32 input = set_f32(x[t]);
      for (int p = 0; p < kPanels; ++p) acc[p][t] = fma(weight[p], input, acc[p][t]);
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int p = 0; p < kPanels; ++p) {
      store_f32(out + static_cast<size_t>(t) * out_stride + p * kPanelRows, acc[p][t]);
    }
  }
}

template <class Format, int kPanels, int kTokens>
void float_tail(const typename Format::Element* const* w, const Tile& tile, int first, int count, Columns columns,
                const MatmulArgs& args, float* out) {
  if constexpr (kTokens > 0) {
    if (count == kTokens) {
      // After the first run of columns `out` holds the sum so far.
      const bool accumulate = args.accumulate || columns.begin > 0;
      // Weights that other tokens need again stay in the caches.
      const bool once = args.token_end - args.token_begin <= kFloatRegisterTokens;
      const WeightStream stream = once ? args.stream : WeightStream::kThroughL2;
      float_product<Format, kPanels, kTokens>(w, tile, first, columns, stream, accumulate, out, args.out_stride);
    } else {
      float_tail<Format, kPanels, kTokens - 1>(w, tile, first, count, columns, args, out);
    }
  }
}

template <class Format, int kPanels, int kTokens>
void float_tiles(const typename Format::Element* const* w, int panel, Columns columns, const MatmulArgs& args) {
  for_each_register_tile<kTokens>(args, [&](const Tile& tile, int t0, int first, int count) {
    float* out = args.out + static_cast<size_t>(t0 + first) * args.out_stride + static_cast<size_t>(panel) * kPanelRows;
    float_tail<Format, kPanels, kTokens>(w, tile, first, count, columns, args, out);
  });
}

// All panels, kPanels at a time, times all tokens in register tiles of at most kTokens, in runs of `step` columns.
template <class Format, int kPanels, int kTokens>
void float_panels(const MatmulArgs& args, int step) {
  using Element = typename Format::Element;
  const int cols = args.weights.cols;
  const size_t bytes = (static_cast<size_t>(cols) * kPanelRows * sizeof(Element) + 63) / 64 * 64;
  for (int begin = 0; begin < cols; begin += step) {
    const Columns columns{begin, begin + step < cols ? begin + step : cols};
    for (int p = args.panel_begin; p < args.panel_end; p += kPanels) {
      const int panels = args.panel_end - p < kPanels ? args.panel_end - p : kPanels;
      const Element* w[kPanels];
      for (int i = 0; i < panels; ++i) {
        w[i] = reinterpret_cast<const Element*>(args.weights.data + static_cast<size_t>(p + i) * bytes);
      }
      if (panels == kPanels) {
        float_tiles<Format, kPanels, kTokens>(w, p, columns, args);
      } else {
        for (int i = 0; i < panels; ++i) float_tiles<Format, 1, kTokens>(w + i, p + i, columns, args);
      }
    }
  }
}

template <class Format>
void matmul_float(const MatmulArgs& args) {
  const int tokens = args.token_end - args.token_begin;
  // Few tokens wait for the weights, which come best in long runs, and for each other's sums, which two panels halve.
  if (tokens <= kFloatPairedTokens) return float_panels<Format, 2, kFloatPairedTokens>(args, args.weights.cols);
  constexpr int kLongRun = 1024;
  const int step = tokens <= kFloatRegisterTokens ? args.weights.cols : tokens <= kTokenTile ? kLongRun : kFloatColumns;
  float_panels<Format, kPanelsAtOnce, kFloatRegisterTokens>(args, step);
}

void matmul(const MatmulArgs& args) {
  switch (args.weights.type) {
    case WeightType::kF32: return matmul_float<PackedF32>(args);
    case WeightType::kF16: return matmul_float<PackedF16>(args);
    case WeightType::kBF16: return matmul_float<PackedBF16>(args);
    default: return with_block_format(args.weights.type, [&]<class Format>(Format) { matmul_int8<Format>(args); });
  }
}
