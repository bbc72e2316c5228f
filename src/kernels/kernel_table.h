// What a set of kernels for one instruction set offers: plain functions on plain pointers, chosen once at start.
//
// Contract of every entry:
//  1. Within one instruction set the result is the same bit for bit whatever the number of threads, the split into
//     panels and tokens, and whoever shares the batch: each output depends only on its own row and token, and its
//     additions happen in an order given by shapes alone. Prefix reuse, speculation and the golden tests rest on this.
//  2. Vectors are 16 lanes wide in every instruction set (two registers in AVX2, an array in scalar), and only
//     correctly rounded operations are used, so that sets agree with each other bit for bit unless an entry says less.
//  3. No allocation, no clock, no threads, no errors: arguments are checked by the caller.
// Thread safety: pure functions; concurrent calls must write to different places.
//
// This header is included by files that are compiled for different instruction sets: it holds plain data only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/block_formats.h"

namespace infer::kernels {

inline constexpr int kPanelRows = 16;        // Rows of a weight panel, one per lane.
inline constexpr int kActivationBlock = 32;  // Activations that share an int8 scale.
inline constexpr int kPageTokens = 64;       // Tokens of a KV page.
inline constexpr int kHeadDimMax = 256;      // head_dim is a multiple of 16, at most this.
// Of a panel's block of 32 columns, unpacked: 512 codes; for each of 16 rows at most a scale and two minima, or two
// scales and a minimum; the integer scales of two groups.
inline constexpr size_t kScratchBlockBytes = 512 + 3 * kPanelRows * 4 + 2 * kPanelRows;

// A weight matrix [rows][cols] repacked by pack_panels: panel p holds rows 16p..16p+15, interleaved so that a vector
// load gives the same columns of 16 rows; the last panel is filled up with zero rows. Takes the same bytes as in the
// file. docs/internals/kernels.md draws the layouts.
struct Panels {
  WeightType type;
  int rows;
  int cols;
  const std::byte* data;  // 64-byte aligned; panel p at p * panel_bytes(type, cols).
};

// The inputs of a matrix product, [tokens][cols], packed by pack_activations into tiles of KernelTable::token_tile
// tokens (the last tile may have fewer). A tile that starts at token t0 and has n tokens holds, for block b of 32
// columns and token t of the tile:
//   codes       [t0 * cols      + (b * n + t) * 32 ...]  int8, x ~= scale * code
//   scales      [t0 * cols / 32 + b * n + t]             largest magnitude / 127
//   scaled_sums [same]                                   scale * sum of the 32 codes
//   neg_sums    [2 * same], [2 * same + 1]               minus the sum of the 32 codes, minus that of the first 16
// or, for float weights, for column c:
//   values      [t0 * cols + c * n + t]                  f32
struct Activations {
  int tokens;
  int cols;
  int8_t* codes;
  float* scales;
  float* scaled_sums;
  int32_t* neg_sums;
  float* values;
};

// How weights that are used once are asked for before their use. Both give the same bits; which one is faster is a
// matter of the processor and not of its instruction set. Past the second-level cache, whose place is then left to
// inputs, a unit at once: on Zen 5 as fast as memory, on Zen 3 0.5 to 0.9 of the other way's speed for Q4_0 and K
// formats (Q8_0 and floats: 0.96 to 1.06), and on Intel's processors a third of the bandwidth, for such requests wait
// in the few line buffers of the first level.
enum class WeightStream : uint8_t { kPastL2, kThroughL2 };

struct MatmulArgs {
  Panels weights;
  Activations inputs;
  int panel_begin, panel_end;  // Which panels: their 16 rows are written whole, padding rows too.
  int token_begin, token_end;  // Which tokens; token_begin is a multiple of token_tile.
  float* out;                  // out[token * out_stride + row]
  size_t out_stride;           // At least 16 * number of panels.
  bool accumulate;             // Sums start from what is in `out` instead of from zero.
  std::byte* scratch;          // matmul_scratch_bytes(cols) of the calling thread, 64-byte aligned.
  WeightStream stream;
};

// Keys and values of one KV head in a page of 64 tokens, at one of three levels, or in floats. Queries, keys and values
// are rotated (rotate_hadamard) before they are coded. What is in a page, in order; sizes: kernels/panels.h.
//
// 32 bits, in place of 16 where a cache was made so: what store_float_key and store_float_value were given.
//   keys          f32 [head_dim][64 tokens]
//   values        f32 [64 tokens][head_dim]
// 16 bits: codes with a scale for each token (block floating point), about as precise as IEEE halves.
//   key codes     int16 [head_dim / 2][64 tokens][2]   key_d   ~= key scale * code; scale = length of the key / 32700
//   value codes   int16 [64 / 2][head_dim][2 tokens]   value_d ~= value scale * code; scale = greatest / 16383
//   key scales    f32 [64]
//   value scales  f32 [64]
// In both, a token's slot may be written in any order; slots that nobody may see may hold anything.
//
// 8 and 4 bits: a code c of 8 bits is a high nibble h and a low one; the level of 4 bits has no low plane.
//   key_d ~= mean_d + key scale * (c - 127.5), or (16 h + 7.5 - 127.5); value_d likewise without a mean.
// Bytes hold two nibbles. High plane:
//   keys          [head_dim / 8][64 tokens][4]  byte (i, t, j): dimension 4i + j, and head_dim / 2 + 4i + j in the
//   upper values        [8][head_dim][4]              byte (i, d, j): token 4i + j, and 32 + 4i + j; top bit of c
//   inverted key scales    bf16 [64] value scales  bf16 [64] mean          int16 [head_dim], then its scale in f32
// Low plane: keys and values.
struct AttentionPage {
  const std::byte* full;  // 16 bits; null where the page has planes or floats.
  const std::byte* high;
  const std::byte* low;               // Null at 4 bits.
  const std::byte* floats = nullptr;  // 32 bits, and none of the others.
};

// Bytes from a head's part of a page to the next head's.
struct PartStride {
  size_t full = 0;
  size_t high = 0;
  size_t low = 0;
  size_t floats = 0;
};

// The rotated queries themselves, for pages in floats: row r of head h, of AttentionArgs, is `first` +
// h * head_stride + r / group * token_stride + r % group * head_dim.
struct FloatQueries {
  const float* first = nullptr;
  size_t head_stride = 0;  // In floats.
  size_t token_stride = 0;
  int group = 1;        // Rows that lie behind each other.
  float factor = 0.0f;  // Of all scores, as store_query had it.
};

// What one row gave to one page, in base 2 like AttentionArgs::max. With the row's max and sum over all its pages, the
// page's part of the attention is sum * 2^(base - max) / sum of all.
struct PageShare {
  float most;  // Greatest score of a visible token; -infinity where none is visible.
  float base;  // The greatest score up to and with this page.
  float sum;   // Sum of 2^(score - base).
};

// Rows of queries that attend to a run of KV pages of one KV head, or of several: rows of each head attend to its part
// of the pages, and what a head's rows get does not depend on how many heads there are. Few rows of several heads walk
// through the pages as they lie in memory, which is what the hardware's prefetching needs. A page without any part is
// passed over, as if none of its tokens were visible.
struct AttentionArgs {
  const std::byte* queries;   // [heads][rows], query_row_bytes each: what store_query wrote.
  size_t queries_stride = 0;  // Bytes from head to head.
  int heads = 1;
  int rows;  // Of each head.
  int head_dim;
  const int* visible_begin;  // [rows]: this row sees the tokens, counted from the first page's first,
  const int* visible_end;    // [rows]: from visible_begin up to but not including visible_end.
  float score_cap;           // Scores become cap * tanh(score / cap); 0: as they are.
  // From scores of keys at 4 bits, half of the variance of their rounding error is subtracted, so that tokens at
  // different levels compete as equals: (|query| * key scale * 16)^2 / 24.
  const AttentionPage* pages;  // [page_count], the first head's part of each; 4-byte aligned.
  int page_count;
  PartStride part_stride{};
  FloatQueries float_queries{};  // Where a page is in floats.
  float* out;  // [heads][rows][head_dim]: sum of 2^(score * log2 e - max) * value, not yet divided by `sum`.
  float* max;  // [heads][rows]: greatest score times log2 e, -infinity where nothing is visible.
  float* sum;  // [heads][rows]: sum of 2^(score * log2 e - max).
  PageShare* shares = nullptr;  // [heads][page_count][rows]; null where nobody asks.
  AttentionPage after{};        // What is likely attended next, to be asked for in time; or nothing.
};

struct KernelTable {
  const char* name;     // "scalar", "avx2", "avx512", "amx"
  WeightStream stream;  // What MatmulArgs::stream should be on the processor that the table was chosen for.
  int token_tile;       // Tokens per activation tile.

  // Repacks panels [panel_begin, panel_end) of a matrix from the file's rows (rows * row bytes at `source`) to
  // `target` (the start of the whole packed matrix, 64-byte aligned).
  void (*pack_panels)(WeightType type, const std::byte* source, int rows, int cols, int panel_begin, int panel_end,
                      std::byte* target);

  // Packs token `token` of a batch: x [cols] -> its place in `to`. int8 for block types (cols a multiple of 32), f32
  // for float types. round(x / scale) is to nearest, ties to even.
  void (*pack_int8)(const float* x, int token, const Activations& to);
  void (*pack_f32)(const float* x, int token, const Activations& to);

  // For token t and row r, by blocks of 32 columns in order: t = sum over the block's scale groups of
  // float(integer dot) * scale, acc = fma(t, input scale, acc), and where the format has a minimum,
  // acc = fma(minimum, input scaled sum, acc). For float weights acc = fma(w, x, acc) by columns in order.
  void (*matmul)(const MatmulArgs& args);

  // out = x / sqrt(mean(x^2) + eps) * weight. The sum runs in 16 lanes, then a fixed tree. x may be out.
  void (*rms_norm)(const float* x, const float* weight, int n, float eps, float* out);
  // out = (x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias; a null bias is none. Sums as in rms_norm. x may
  // be out.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int n, float eps, float* out);
  // out = gate / (1 + exp(-gate)) * up. out may be gate or up.
  void (*silu_multiply)(const float* gate, const float* up, int n, float* out);
  // gelu(x) = x / (1 + exp(-2 u)), u = sqrt(2 / pi) * (x + 0.044715 x^3): what 0.5 x (1 + tanh(u)) is, without its
  // cancellation. out may be x, gate or up.
  void (*gelu)(const float* x, int n, float* out);
  void (*gelu_multiply)(const float* gate, const float* up, int n, float* out);
  // g / (1 + exp(-1.702 g)) * (u + 1), g = min(gate, limit), u = up within -limit..limit. out may be gate or up.
  void (*clipped_swiglu)(const float* gate, const float* up, int n, float limit, float* out);
  // x = cap * tanh(x / cap), within 3e-7 * cap.
  void (*soft_cap)(float cap, int n, float* x);
  // y += x
  void (*add)(const float* x, int n, float* y);
  // Rotates pairs of one head in place: (2i, 2i+1) or (i, i + pairs), by the angle with cosine[i], sine[i].
  void (*rope_adjacent)(const float* cosine, const float* sine, int pairs, float* head);
  void (*rope_halves)(const float* cosine, const float* sine, int pairs, float* head);

  // x becomes the Walsh-Hadamard transform of its parts, whose lengths are n's powers of two in descending order
  // (n a multiple of 16; 96 = 64 + 32), normalised: lengths and products stay, and it is its own inverse.
  void (*rotate_hadamard)(float* x, int n);
  // The codes of one row's query in 16 and in 8 bits; `factor` multiplies all scores. query_row_bytes at `row`.
  void (*store_query)(const float* query, int head_dim, float factor, std::byte* row);
  // Writes one token's key or value of one head into slot 0..63 of a page. Magnitudes beyond 1e15 count as 1e15; a NaN
  // makes the token's scale NaN.
  void (*store_key)(const float* key, int head_dim, int slot, std::byte* page);
  void (*store_value)(const float* value, int head_dim, int slot, std::byte* page);
  // The same for a page in floats; a NaN stays one.
  void (*store_float_key)(const float* key, int head_dim, int slot, std::byte* page);
  void (*store_float_value)(const float* value, int head_dim, int slot, std::byte* page);
  // The planes of a page whose 64 tokens are all written; of one in floats, those that it would have in 16 bits.
  void (*make_planes)(const std::byte* full, int head_dim, std::byte* high, std::byte* low);
  void (*make_planes_of_floats)(const std::byte* floats, int head_dim, std::byte* high, std::byte* low);
  // Softmax attention over a run of pages, page by page with a running maximum.
  void (*attend)(const AttentionArgs& args);
  // (out, max, sum) of a row become those of both runs together: the partial (part_out, part_max, part_sum) is added.
  void (*merge_attention)(const float* part_out, float part_max, float part_sum, int head_dim, float* out, float* max,
                          float* sum);
  // out *= factor
  void (*scale)(float factor, int n, float* out);

  // log(sum(exp(x))): the sum is added in double, each term within 1 ulp of float, so the result is within 1.2e-7 (and
  // the double's own rounding). -infinity for n = 0.
  double (*log_sum_exp)(const float* x, int n);

  // For measuring the machine: reads all bytes and returns a checksum; run `rounds` rounds of independent products in
  // registers, return how many operations (multiply and add counted as two) that was, and add to *sink.
  uint64_t (*read_all)(const std::byte* data, size_t bytes);
  // The sum of all 32-bit words modulo 2^32, read as `streams` (1, 2, 4 or 8) equal parts side by side, each prefetched
  // `ahead` bytes before (0: not at all). `bytes` is a multiple of 128 * streams.
  uint64_t (*read_streams)(const std::byte* data, size_t bytes, int streams, size_t ahead);
  uint64_t (*int8_peak)(uint64_t rounds, int32_t* sink);
  uint64_t (*f32_peak)(uint64_t rounds, float* sink);
  // Null where the set has no dot products of BF16 pairs. Its instructions (AVX512_BF16) are not part of what the set
  // requires: the caller asks the processor first (os::CpuFeatures::avx512_bf16).
  uint64_t (*bf16_peak)(uint64_t rounds, float* sink);
};

}  // namespace infer::kernels
