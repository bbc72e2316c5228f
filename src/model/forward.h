// One pass of the transformer over a batch: embeddings, layers, logits. It asks the config what to do and never the
// name of the architecture.
//
// Per layer: norm and pack, QKV products, rotate and store keys and values, attention, output product into the
// residual, norm and pack, gate and up products, activation and pack, down product into the residual. Where a product
// is normalized before it joins the residual, or must not be seen by what follows, it goes to a branch beside it first.
// Each of these is a parallel region (small ones run on the calling thread), divided into pieces that write to
// different places. In the last layer only the tokens that want logits go on behind the KV cache. Ownership: borrows
// all but its buffers. Thread safety: one thread (the engine's).
#pragma once

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "kernels/kernel_table.h"
#include "kernels/panels.h"
#include "kv/page_attention.h"
#include "model/expert_plan.h"
#include "model/model_config.h"
#include "model/rope_table.h"
#include "model/step_batch.h"
#include "model/step_buffers.h"
#include "model/weights.h"
#include "os/thread_pool.h"

namespace infer::model {

class Forward {
 public:
  static Result<std::unique_ptr<Forward>> make(const ModelConfig& config, const Weights& weights, InputKinds kinds,
                                               const kernels::KernelTable& kernels, os::ThreadPool& pool,
                                               const StepLimits& limits);

  // The batch is within the limits, its tokens in the vocabulary, its caches have room reserved. Writes keys and values
  // behind each cache's length and the wanted logits; commits nothing. The watch looks before each layer and before the
  // logits.
  Status run(const StepBatch& batch, StepWatch& watch);
  // Of the row-th token that wanted them.
  std::span<const float> logits(int row) const;
  int logits_rows() const { return static_cast<int>(logits_rows_.size()); }

 private:
  // A token of the batch.
  struct Row {
    kv::SequenceCache* cache;
    TokenId token;
    int position;
    int last_position;  // Of the slice that it belongs to.

    // Whether the cache wants to know what this token attends to.
    bool is_observed() const { return kv::PageAttention::observes(position) && cache->attention() != nullptr; }
    // Whether its queries are to be kept.
    bool is_kept() const { return position > last_position - kv::PageAttention::kEvery * kv::PageAttention::kSlots; }
  };
  // Tokens of one sequence that lie together, for attention; with one chunk of pages, or all that they see.
  struct AttentionItem {
    int row_begin;
    int rows;
    int chunk_begin;
    int chunk_end;
  };
  struct HeadRange {  // Of KV heads.
    int begin;
    int end;
  };
  // The vectors of some rows, packed for the products that follow.
  struct Inputs {
    kernels::Activations int8{};
    kernels::Activations f32{};
    bool has_int8 = false;
    bool has_f32 = false;
  };
  struct Product {
    const Inputs* inputs;
    const Matrix* matrix;
    float* out;
    int stride;
    bool accumulate;
  };

  // An index into wanted_, and what its hidden state is added to.
  struct HiddenRow {
    int index;
    float* sum;
  };

  // What the rows of the residual stream still lack of the products before: added when they are read next.
  struct Due {
    const Matrix* added = nullptr;      // This product is in the residual, its bias is not.
    const Matrix* branch = nullptr;     // This one is in buffers_.branch; its bias is added there,
    const Norm* branch_norm = nullptr;  // then comes this norm.
  };

  Forward(const ModelConfig& config, const Weights& weights, const kernels::KernelTable& kernels, os::ThreadPool& pool,
          const StepLimits& limits, std::vector<RopeTable> ropes, StepBuffers buffers);

  static int pieces_of(int count, int grain) { return (count + grain - 1) / grain; }
  void plan(const StepBatch& batch);
  void want(const SequenceSlice& slice, int row);
  void start_rows();
  void run_layer(int index);
  void project_heads(const LayerWeights& layer, int rows);
  void run_feed_forward(const LayerWeights& layer, int rows);
  const float* activate(const ExpertWeights& weights, int row, float* scratch) const;
  // forward_experts.cc
  void run_experts(const LayerWeights& layer, int rows, const Due& due);
  void choose_experts_of_rows(const LayerWeights& layer, int rows, const Due& due);
  template <class Fill>
  void pack_for_experts(int cols, std::initializer_list<const Matrix*> matrices, Fill&& fill);
  void multiply_gate_up(const LayerWeights& layer);
  void multiply_down(const LayerWeights& layer);
  void join_experts(const LayerWeights& layer, int rows);

  // forward_attention.cc
  void plan_attention(int row_begin, int rows);
  void rotate_and_store(const LayerWeights& layer, int index);
  void rotate_row(const LayerWeights& layer, int index, int row);
  void prepare_heads(const LayerWeights& layer, int index, int row) const;
  void normalize_heads(const Norm& norm, int heads, float* vectors) const;
  void attend(int layer);
  int heads_per_piece() const;
  // after: see kernels::AttentionArgs.
  void attend_item(const AttentionItem& item, int layer, HeadRange heads, int thread,
                   const kernels::AttentionPage& after);
  void attend_chunk(const AttentionItem& item, int layer, HeadRange heads, int chunk, const ThreadScratch& scratch,
                    float* out, float* max, float* sum, kernels::PageShare* shares,
                    const kernels::AttentionPage& after) const;
  int first_page(const AttentionItem& item, int layer, int chunk) const;
  void keep_partials(const AttentionItem& item, HeadRange heads, const ThreadScratch& scratch);
  void finish_rows(const AttentionItem& item, int layer, int kv_head, const ThreadScratch& scratch);
  int first_visible(int layer, int position) const;
  float weight_share(int layer, int head, float max, float sum) const;
  void finish_head(float share, float* out) const;
  std::byte* query_row(int kv_head, int row) const;
  const float* rotated_query(int row, int head) const;
  const float* attention_row(int layer, int row, float* scratch) const;
  // forward_observe.cc
  bool observes_layer(int layer) const { return config_.layer[static_cast<size_t>(layer)].window == 0; }
  bool observes(const AttentionItem& item, int layer) const;
  void observe_item(const AttentionItem& item, int layer, int kv_head, const ThreadScratch& scratch) const;
  void keep_shares(const AttentionItem& item, HeadRange heads, const ThreadScratch& scratch) const;
  void keep_query(int layer, int row, int head, const float* out, float max, float sum) const;
  void observe_row(int layer, int row) const;
  void look_for_evicted(int layer, int row) const;

  void keep_wanted_rows();
  void sum_hidden_states(const Due& due) const;
  const float* last_hidden_state(int index, const Due& due, float* scratch) const;
  void compute_logits();

  // Which packings the products of `matrices` need; no rows yet.
  static Inputs inputs_for(std::initializer_list<const Matrix*> matrices);
  // Packs rows [0, count) for the products of `matrices`; fill(row, scratch) gives a row's vector.
  template <class Fill>
  Inputs pack(int count, int cols, std::initializer_list<const Matrix*> matrices, Fill&& fill);
  Inputs pack_normalized(int count, const Norm& norm, const Due& due, std::initializer_list<const Matrix*> matrices);
  void settle(int row, const Due& due) const;
  // x itself where there is no norm, else `out`; they may be the same.
  const float* normalize(const Norm& norm, const float* x, int n, float* out) const;
  void add_bias(const Matrix& matrix, float* vector) const;
  // Multiplies into the residual, or into the branch beside it; due_ tells what is left to do.
  void join_residual(const Inputs& inputs, const Matrix& matrix, const Norm& post_norm, bool apart);
  void multiply(std::initializer_list<Product> products) { multiply(std::span(products.begin(), products.end())); }
  void multiply(std::span<const Product> products);
  void run_product(const Product& product, int panel_begin, int panel_end, int thread) const;
  void pack_row(const float* vector, int row, const Inputs& inputs) const;
  // In pieces of `grain` rows.
  template <class Body>
  void for_each_row(int count, int grain, Body&& body);

  // Rows that one thread stores or adds up at a time: neighbours share the cache lines of a page's keys.
  static constexpr int kStoreGrain = 32;

  const ModelConfig& config_;
  const Weights& weights_;
  const kernels::KernelTable& kernels_;
  os::ThreadPool& pool_;
  std::vector<RopeTable> ropes_;
  StepBuffers buffers_;
  int group_;  // Heads that share a KV head.

  // Of the step that runs; their room is reserved for the limits.
  std::vector<Row> rows_;
  std::vector<int> wanted_;       // Rows that go through the whole last layer, ascending: for logits or hidden states.
  std::vector<int> logits_rows_;  // Indices into wanted_ of those that want logits.
  std::vector<HiddenRow> hidden_rows_;
  std::vector<AttentionItem> items_;
  Due due_;
  ExpertPlan expert_plan_;
  std::vector<ExpertShare> expert_shares_;  // [rows][used]
  std::vector<Inputs> expert_inputs_;       // By expert.
  std::vector<Product> expert_products_;
  bool spread_ = false;  // Chunks are items of their own, and attention_row merges them.
};

template <class Body>
void Forward::for_each_row(int count, int grain, Body&& body) {
  const auto run_piece = [&](size_t piece, int thread) {
    const int begin = static_cast<int>(piece) * grain;
    for (int row = begin; row < std::min(count, begin + grain); ++row) body(row, thread);
  };
  if (count <= grain) {  // Not worth waking anybody.
    if (count > 0) run_piece(0, 0);
  } else {
    pool_.run(static_cast<size_t>((count + grain - 1) / grain), run_piece);
  }
}

template <class Fill>
Forward::Inputs Forward::pack(int count, int cols, std::initializer_list<const Matrix*> matrices, Fill&& fill) {
  Inputs inputs = inputs_for(matrices);
  if (inputs.has_int8) inputs.int8 = kernels::activation_view(buffers_.inputs_int8, true, count, cols);
  if (inputs.has_f32) inputs.f32 = kernels::activation_view(buffers_.inputs_f32, false, count, cols);
  // A tile's scales share cache lines, so that one thread packs whole tiles.
  for_each_row(count, kernels_.token_tile, [&](int row, int thread) {
    pack_row(fill(row, buffers_.per_thread[static_cast<size_t>(thread)].row), row, inputs);
  });
  return inputs;
}

}  // namespace infer::model
