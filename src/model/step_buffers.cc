#include "model/step_buffers.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "kernels/panels.h"
#include "kv/page_pool.h"

namespace infer::model {

namespace {

// Query rows (tokens times heads that share a KV head) of one attention work item: enough that bringing a page into the
// caches is cheap beside the products (64 rows were 8 % slower at a depth of 8192 tokens), few enough that queries and
// sums stay in the second-level cache and that threads find items.
constexpr int kAttentionRows = 256;

int padded(int rows) { return kernels::panel_count(rows) * kernels::kPanelRows; }

// Hands out aligned pieces; with a null base it only counts.
class Arena {
 public:
  explicit Arena(std::byte* base) : base_(base) {}

  std::byte* take_bytes(size_t bytes) {
    const size_t offset = used_;
    used_ += (bytes + 63) / 64 * 64;
    return base_ != nullptr ? base_ + offset : nullptr;
  }
  float* take_floats(size_t a, size_t b = 1, size_t c = 1) {
    return reinterpret_cast<float*>(take_bytes(a * b * c * sizeof(float)));
  }
  kernels::PageShare* take_shares(size_t rows, size_t pages) {
    return reinterpret_cast<kernels::PageShare*>(take_bytes(rows * pages * sizeof(kernels::PageShare)));
  }
  size_t used() const { return used_; }

 private:
  std::byte* base_;
  size_t used_ = 0;
};

ThreadScratch thread_scratch(const ModelConfig& config, int rows, int pages, Arena& arena) {
  const int widest = std::max({config.width, config.query_width(), config.ffn_width});
  const auto row_count = static_cast<size_t>(rows);
  const auto head_dim = static_cast<size_t>(config.head_dim);
  return {.row = arena.take_floats(static_cast<size_t>(padded(widest))),
          .matmul = arena.take_bytes(kernels::matmul_scratch_bytes(widest)),
          .attention_out = arena.take_floats(row_count, head_dim),
          .attention_part = arena.take_floats(row_count, head_dim),
          .max = arena.take_floats(row_count),
          .sum = arena.take_floats(row_count),
          .part_max = arena.take_floats(row_count),
          .part_sum = arena.take_floats(row_count),
          .shares = arena.take_shares(row_count, static_cast<size_t>(pages)),
          .visible_begin = reinterpret_cast<int*>(arena.take_bytes(row_count * sizeof(int))),
          .visible_end = reinterpret_cast<int*>(arena.take_bytes(row_count * sizeof(int)))};
}

// Inputs of the largest product, or those of all experts' products behind each other, each on a boundary of its own.
size_t input_bytes(const ModelConfig& config, int tokens, bool int8) {
  const auto of_rows = [int8](int rows, int cols) {
    const int blocks = (cols + kernels::kActivationBlock - 1) / kernels::kActivationBlock;
    return kernels::activation_bytes(int8, rows, blocks * kernels::kActivationBlock);
  };
  const size_t dense = of_rows(tokens, std::max({config.width, config.query_width(), config.ffn_width}));
  if (config.experts.count == 0) return dense;
  const int entries = tokens * config.experts.used;
  constexpr size_t kArrays = 4;  // Of an Activations, each aligned.
  const size_t boundaries = kArrays * 64 * static_cast<size_t>(std::min(entries, config.experts.count));
  return std::max(dense, of_rows(entries, std::max(config.width, config.ffn_width)) + boundaries);
}

void lay_out(const ModelConfig& config, InputKinds kinds, const StepLimits& limits, Arena& arena, StepBuffers& to) {
  const auto tokens = static_cast<size_t>(limits.tokens);
  const auto spread = static_cast<size_t>(std::min(limits.tokens, kSpreadTokensMax));
  const auto heads = static_cast<size_t>(config.heads);
  const int group = config.heads / config.kv_heads;
  to.width_stride = padded(config.width);
  to.qkv_stride = config.query_width() + 2 * config.kv_width();
  to.ffn_stride = padded(config.ffn_width);
  to.logits_stride = padded(config.vocabulary);
  to.block_tokens = std::max(1, kAttentionRows / group);
  to.chunks_max = (limits.context + kChunkTokens - 1) / kChunkTokens;

  to.residual = arena.take_floats(tokens, static_cast<size_t>(to.width_stride));
  if (config.post_norms || config.parallel_residual) {
    to.branch = arena.take_floats(tokens, static_cast<size_t>(to.width_stride));
  }
  to.qkv = arena.take_floats(tokens, static_cast<size_t>(to.qkv_stride));
  to.queries = arena.take_bytes(tokens * heads * kernels::query_row_bytes(config.head_dim));
  to.attention = arena.take_floats(tokens, static_cast<size_t>(config.query_width()));
  const size_t entries = tokens * static_cast<size_t>(std::max(1, config.experts.used));
  to.gate_up = arena.take_floats(entries, 2, static_cast<size_t>(to.ffn_stride));
  if (config.experts.count > 0) {
    to.router_stride = padded(config.experts.count);
    to.normalized = arena.take_floats(tokens, static_cast<size_t>(to.width_stride));
    to.router_logits = arena.take_floats(tokens, static_cast<size_t>(to.router_stride));
    to.expert_out = arena.take_floats(entries, static_cast<size_t>(to.width_stride));
  }
  to.logits = arena.take_floats(static_cast<size_t>(limits.logits_rows), static_cast<size_t>(to.logits_stride));
  to.cosine = arena.take_floats(config.ropes.size(), tokens, static_cast<size_t>(config.rope_pairs()));
  to.sine = arena.take_floats(config.ropes.size(), tokens, static_cast<size_t>(config.rope_pairs()));

  if (kinds.int8) to.inputs_int8 = arena.take_bytes(input_bytes(config, limits.tokens, true));
  if (kinds.f32) to.inputs_f32 = arena.take_bytes(input_bytes(config, limits.tokens, false));

  const size_t partials = spread * heads * static_cast<size_t>(to.chunks_max);
  to.partial_out = arena.take_floats(partials, static_cast<size_t>(config.head_dim));
  to.partial_max = arena.take_floats(partials);
  to.partial_sum = arena.take_floats(partials);
  to.partial_shares = arena.take_shares(spread * heads, static_cast<size_t>(to.pages_max()));
  to.per_thread.clear();
  for (int i = 0; i < limits.threads; ++i) {
    to.per_thread.push_back(thread_scratch(config, to.block_tokens * group, to.pages_max(), arena));
  }
}

}  // namespace

Result<StepBuffers> StepBuffers::make(const ModelConfig& config, InputKinds kinds, const StepLimits& limits) {
  StepBuffers buffers;
  INFER_ASSIGN(buffers.memory, os::PageMemory::allocate(static_cast<size_t>(bytes(config, kinds, limits))));
  Arena arena(buffers.memory.data());
  lay_out(config, kinds, limits, arena, buffers);
  INFER_CHECK(arena.used() == buffers.memory.size());
  return buffers;
}

uint64_t StepBuffers::bytes(const ModelConfig& config, InputKinds kinds, const StepLimits& limits) {
  StepBuffers unused;
  Arena arena(nullptr);
  lay_out(config, kinds, limits, arena, unused);
  return arena.used();
}

InputKinds input_kinds(const ModelTensors& tensors) {
  InputKinds kinds;
  for_each_matrix(tensors, [&](const MatrixTensor& matrix) {
    (kernels::uses_int8_inputs(matrix.weight->type) ? kinds.int8 : kinds.f32) = true;
  });
  return kinds;
}

}  // namespace infer::model
