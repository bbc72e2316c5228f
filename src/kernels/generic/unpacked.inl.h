// Packed panels as a stream of memory, and unpacked to scratch: what the products of many tokens run over.

template <class Format>
size_t packed_panel_bytes(int cols) {
  const size_t bytes = static_cast<size_t>(cols) / (32 * Format::kBlocks) * Format::kUnitBytes;
  return (bytes + 63) / 64 * 64;
}

// How far ahead of its use a streamed unit is asked for; a large unit, asked for at once, lies ahead by itself.
// Measured (docs/internals/kernels.md): past the second-level cache 4 KB are 2 to 5 % faster than 1 or 8 KB for every
// format, and than asking line by line; through it 2 KB are as fast as 4.
template <int kUnitBytes>
constexpr int prefetch_bytes(WeightStream stream) {
  return ((stream == WeightStream::kPastL2 ? 4096 : 2048) - kUnitBytes / 3) / 64 * 64;
}

// Asks for a unit that will be used once, some units before its turn. Not unrolled: 36 and more requests at once hold
// up the loads behind them (0.8 of the bandwidth instead of 1).
template <int kBytes>
inline __attribute__((always_inline)) void prefetch_unit(const std::byte* p, WeightStream stream) {
  if (stream == WeightStream::kPastL2) {
#pragma GCC unroll 1
    for (int line = 0; line < kBytes; line += 64) __builtin_prefetch(p + line, 0, 0);
  } else {
#pragma GCC unroll 1
    for (int line = 0; line < kBytes; line += 64) __builtin_prefetch(p + line, 0, 3);
  }
}

// How far ahead of its use a line is asked for where the requests are spread over the blocks of a unit: a unit, where
// one is large. For smaller ones measured, as all of this; 8-bit codes are used up in half the time.
template <class Format>
inline constexpr size_t kLinesAhead = Format::kBlocks > 1  ? Format::kUnitBytes
                                      : Format::kBits == 8 ? 1280
                                                           : 2048;

// Asks, through the second-level cache, for kLines lines from `first` on.
template <int kLines>
inline __attribute__((always_inline)) void prefetch_lines(const std::byte* first) {
  unrolled<0, kLines>(
      [&](auto line) __attribute__((always_inline)) { __builtin_prefetch(first + decltype(line)::value * 64, 0, 3); });
}
template <class Format>
inline constexpr int kUnitLines = (Format::kUnitBytes + 63) / 64;
// Asks, through the second-level cache, for a block's share of the lines of a unit, which starts at `share`. Lines
// asked for together fill the line buffers of the first level, and then the loads behind them wait too.
template <class Format, int kBlock>
inline __attribute__((always_inline)) void prefetch_share(const std::byte* share, Constant<kBlock>) {
  constexpr int kFrom = kUnitLines<Format> * kBlock / Format::kBlocks;
  prefetch_lines<kUnitLines<Format>*(kBlock + 1) / Format::kBlocks - kFrom>(share);
}
template <class Format>
inline __attribute__((always_inline)) void prefetch_share(const std::byte* share, int) {
  prefetch_lines<(kUnitLines<Format> + Format::kBlocks - 1) / Format::kBlocks>(share);  // Shares may overlap.
}

// Where the units lie that are asked for while others are worked on. Several panels walked through side by side are
// followed by as many others, so that near their end they ask behind their neighbours.
struct UnitsAhead {
  size_t panel_bytes;
  size_t behind_bytes;  // What lies between the end of a panel and the one that follows it in the same walk.
  WeightStream stream;

  template <class Format>
  inline __attribute__((always_inline)) void prefetch(const std::byte* panel, size_t offset) const {
    const size_t ahead = offset + static_cast<size_t>(prefetch_bytes<Format::kUnitBytes>(stream));
    prefetch_unit<Format::kUnitBytes>(panel + (ahead < panel_bytes ? ahead : ahead + behind_bytes), stream);
  }
  // What prefetch_share asks for while a block of a unit, which starts `offset` bytes behind its panel, is worked on.
  template <class Format>
  inline __attribute__((always_inline)) const std::byte* of_block(const std::byte* unit, size_t offset,
                                                                  int block) const {
    const size_t ahead = kLinesAhead<Format> + static_cast<size_t>(kUnitLines<Format> * block / Format::kBlocks * 64);
    return unit + ahead + (offset + ahead < panel_bytes ? 0 : behind_bytes);
  }
};

// One panel in scratch: codes [block][8 steps][64 bytes], scales [block][groups][16], minima [block][16], or
// [block][2][16] where halves have their own; group_scales [block][2][16] where the format has them.
struct Unpacked {
  std::byte* codes;
  float* scales;
  float* minima;
  int8_t* group_scales;
};

template <class Format>
Unpacked unpacked_at(std::byte* scratch, int cols, int index) {
  const size_t blocks = static_cast<size_t>(cols) / kActivationBlock;
  std::byte* start = scratch + static_cast<size_t>(index) * blocks * kScratchBlockBytes;
  auto* scales = reinterpret_cast<float*>(start + blocks * 512);
  float* minima = scales + blocks * Format::kGroups * 16;
  if constexpr (!HasGroupScales<Format>) return {start, scales, minima, nullptr};
  return {start, scales, minima, reinterpret_cast<int8_t*>(minima + blocks * 32)};
}

// What codes in scratch mean. As stored they are unsigned, and products start from minus their zero times the sum of
// the inputs; signed ones have it taken away.
enum class ScratchCodes { kAsStored, kSigned };

template <class Format, ScratchCodes kCodes>
void unpack_panel(const std::byte* panel, int cols, WeightStream stream, const Unpacked& to) {
  const size_t units = static_cast<size_t>(cols) / (32 * Format::kBlocks);
  const UnitsAhead ahead{packed_panel_bytes<Format>(cols), 0, stream};
  for (size_t u = 0; u < units; ++u) {
    const std::byte* unit = panel + u * Format::kUnitBytes;
    ahead.prefetch<Format>(panel, u * Format::kUnitBytes);
    const typename Format::Scales scales(unit);
    for_each_block<Format>([&](auto phase, auto block_of_unit) __attribute__((always_inline)) {
      const int in_unit = block_of_unit;
      const size_t block = u * Format::kBlocks + static_cast<size_t>(in_unit);
      U8 codes[8];  // All before the first store, which might change what they share for all that is known of it.
      unrolled<0, 8>([&](auto step) __attribute__((always_inline)) {
        constexpr int kStep = decltype(step)::value;
        codes[kStep] = Format::template codes<decltype(phase)::value, kStep>(unit, in_unit / Format::kPhases);
        if constexpr (kCodes == ScratchCodes::kSigned && Format::kZeroBits >= 0) {
          codes[kStep] = sub_u8(codes[kStep], set_u8(1 << Format::kZeroBits));
        }
      });
      for (int step = 0; step < 8; ++step) store_u8(to.codes + block * 512 + step * 64, codes[step]);
      for (int g = 0; g < Format::kGroups; ++g) {
        store_f32(to.scales + (block * Format::kGroups + static_cast<size_t>(g)) * 16, scales.scale(in_unit, g));
      }
      if constexpr (Format::kHasMinimum) store_f32(to.minima + block * 16, scales.minimum(in_unit));
      if constexpr (HasHalfMinima<Format>) {
        for (int half = 0; half < 2; ++half) {
          store_f32(to.minima + (2 * block + static_cast<size_t>(half)) * 16, scales.half_minimum(in_unit, half));
        }
      }
      if constexpr (HasGroupScales<Format>) {
        __builtin_memcpy(to.group_scales + block * 32, scales.group_scales(in_unit, 0), 32);
      }
    });
  }
}

// body(panels in scratch, how many, the first one's number) for all panels of the call, kPanelsAtOnce at a time.
template <class Format, ScratchCodes kCodes, class Body>
void for_each_unpacked(const MatmulArgs& args, Body body) {
  const size_t bytes = packed_panel_bytes<Format>(args.weights.cols);
  Unpacked w[kPanelsAtOnce];
  for (int i = 0; i < kPanelsAtOnce; ++i) w[i] = unpacked_at<Format>(args.scratch, args.weights.cols, i);
  for (int p = args.panel_begin; p < args.panel_end; p += kPanelsAtOnce) {
    const int panels = args.panel_end - p < kPanelsAtOnce ? args.panel_end - p : kPanelsAtOnce;
    for (int i = 0; i < panels; ++i) {
      const std::byte* panel = args.weights.data + static_cast<size_t>(p + i) * bytes;
      unpack_panel<Format, kCodes>(panel, args.weights.cols, args.stream, w[i]);
    }
    body(w, panels, p);
  }
}
