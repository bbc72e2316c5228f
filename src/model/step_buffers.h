// All memory that a step writes to besides the KV cache, allocated once for the largest step.
//
// Rows of `residual`, `qkv`, `gate_up` and `logits` are padded to whole panels, because a matrix product writes whole
// panels. Everything is 64-byte aligned.
// Ownership: owns the memory, move-only. Thread safety: a plain buffer; per_thread[i] belongs to thread i.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "kernels/kernel_table.h"
#include "model/model_config.h"
#include "model/model_tensors.h"
#include "os/page_memory.h"

namespace infer::model {

// Pages that attention works on at a time: partial results of runs of this many pages, aligned in the sequence, are
// merged in order. Fixed, because the order of additions must not depend on the batch or on the number of threads.
inline constexpr int kChunkPages = 8;
inline constexpr int kChunkTokens = kChunkPages * kernels::kPageTokens;
// A step of at most this many tokens (decoding) spreads the chunks of a sequence over the threads, too.
inline constexpr int kSpreadTokensMax = 16;

struct StepLimits {
  int tokens;       // Most tokens of a step.
  int logits_rows;  // Most tokens that want logits.
  int context;      // Most tokens of a sequence.
  int threads;
};

// Which packings of inputs the weights of a model need.
struct InputKinds {
  bool int8 = false;
  bool f32 = false;
};

struct ThreadScratch {
  float* row;             // One token's vector of any width in the model.
  std::byte* matmul;      // kernels::matmul_scratch_bytes
  float* attention_out;   // [rows][head_dim], the chunks so far.
  float* attention_part;  // [rows][head_dim], one chunk.
  float* max;             // [rows] each.
  float* sum;
  float* part_max;
  float* part_sum;
  kernels::PageShare* shares;  // [pages_max][rows]
  int* visible_begin;
  int* visible_end;
};

struct StepBuffers {
  int width_stride = 0;
  int qkv_stride = 0;
  int ffn_stride = 0;  // gate_up rows hold gate, then up: 2 * ffn_stride.
  int logits_stride = 0;
  int block_tokens = 0;  // Tokens of one attention work item.
  int chunks_max = 0;    // Of a sequence.
  int pages_max() const { return chunks_max * kChunkPages; }

  float* residual = nullptr;     // [tokens][width_stride]
  float* branch = nullptr;       // The same, of what will be added to it; null where it is added at once.
  float* qkv = nullptr;          // [tokens][qkv_stride]: queries, keys, values
  std::byte* queries = nullptr;  // [kv_heads][tokens][heads / kv_heads][query_row_bytes]
  float* attention = nullptr;    // [tokens][heads][head_dim]
  float* gate_up = nullptr;      // [tokens, times experts of each][2 * ffn_stride]
  float* logits = nullptr;
  // With experts only; an entry is a row that an expert computes.
  float* normalized = nullptr;     // [tokens][width_stride], what the experts read.
  float* router_logits = nullptr;  // [tokens][router_stride]
  float* expert_out = nullptr;     // [entries][width_stride]
  int router_stride = 0;
  float* cosine = nullptr;  // [ropes][tokens][pairs]
  float* sine = nullptr;
  std::byte* inputs_int8 = nullptr;
  std::byte* inputs_f32 = nullptr;
  float* partial_out = nullptr;  // [spread tokens][heads][chunks_max][head_dim]
  float* partial_max = nullptr;  // [spread tokens][heads][chunks_max]
  float* partial_sum = nullptr;
  kernels::PageShare* partial_shares = nullptr;  // [spread tokens][heads][pages_max], of observed tokens.
  std::vector<ThreadScratch> per_thread;

  os::PageMemory memory;

  static Result<StepBuffers> make(const ModelConfig& config, InputKinds kinds, const StepLimits& limits);
  static uint64_t bytes(const ModelConfig& config, InputKinds kinds, const StepLimits& limits);
};

InputKinds input_kinds(const ModelTensors& tensors);

}  // namespace infer::model
