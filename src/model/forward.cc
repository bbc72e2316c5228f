#include "model/forward.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/panels.h"

namespace infer::model {

namespace {

// Pieces of a product per thread: with many, a thread whose core was taken away holds up little.
constexpr int kPiecesPerThread = 16;

std::span<const float> rope_factors(const RopeConfig& rope, const Weights& weights, int context) {
  if (!weights.rope_factors.empty() || rope.factors_context == 0) return weights.rope_factors;
  return context > rope.factors_context ? weights.rope_factors_long : weights.rope_factors_short;
}

}  // namespace

Result<std::unique_ptr<Forward>> Forward::make(const ModelConfig& config, const Weights& weights, InputKinds kinds,
                                               const kernels::KernelTable& kernels, os::ThreadPool& pool,
                                               const StepLimits& limits) {
  // The branch holds one product at a time.
  INFER_CHECK(!(config.post_norms && config.parallel_residual));
  std::vector<RopeTable> ropes;
  for (const RopeConfig& rope : config.ropes) {
    INFER_ASSIGN(RopeTable table, RopeTable::make(rope, rope_factors(rope, weights, limits.context)));
    ropes.push_back(std::move(table));
  }
  INFER_ASSIGN(StepBuffers buffers, StepBuffers::make(config, kinds, limits));
  return std::unique_ptr<Forward>(
      new Forward(config, weights, kernels, pool, limits, std::move(ropes), std::move(buffers)));
}

Forward::Forward(const ModelConfig& config, const Weights& weights, const kernels::KernelTable& kernels,
                 os::ThreadPool& pool, const StepLimits& limits, std::vector<RopeTable> ropes, StepBuffers buffers)
    : config_(config),
      weights_(weights),
      kernels_(kernels),
      pool_(pool),
      ropes_(std::move(ropes)),
      buffers_(std::move(buffers)),
      group_(config.heads / config.kv_heads),
      expert_plan_(limits.tokens, config.experts.count, config.experts.used) {
  rows_.reserve(static_cast<size_t>(limits.tokens));
  wanted_.reserve(static_cast<size_t>(limits.tokens));
  hidden_rows_.reserve(static_cast<size_t>(limits.tokens));
  logits_rows_.reserve(static_cast<size_t>(limits.logits_rows));
  expert_shares_.reserve(static_cast<size_t>(limits.tokens) * static_cast<size_t>(config.experts.used));
  expert_inputs_.resize(static_cast<size_t>(config.experts.count));
  expert_products_.reserve(2 * static_cast<size_t>(config.experts.count));
  const int spread_items = std::min(limits.tokens, kSpreadTokensMax) * buffers_.chunks_max;
  items_.reserve(static_cast<size_t>(std::max(limits.tokens, spread_items)));
}

Status Forward::run(const StepBatch& batch, StepWatch& watch) {
  plan(batch);
  start_rows();
  for (int layer = 0; layer < config_.layers; ++layer) {
    INFER_TRY(watch.look());
    run_layer(layer);
  }
  if (wanted_.empty()) return {};
  INFER_TRY(watch.look());
  compute_logits();
  return {};
}

std::span<const float> Forward::logits(int row) const {
  INFER_CHECK(row >= 0 && row < logits_rows());
  return {buffers_.logits + static_cast<size_t>(row) * static_cast<size_t>(buffers_.logits_stride),
          static_cast<size_t>(config_.vocabulary)};
}

// ---- What there is to do.

void Forward::plan(const StepBatch& batch) {
  rows_.clear();
  wanted_.clear();
  hidden_rows_.clear();
  logits_rows_.clear();
  items_.clear();
  size_t tokens = 0;
  for (const SequenceSlice& slice : batch.slices) tokens += slice.tokens.size();
  spread_ = tokens <= kSpreadTokensMax;
  for (const SequenceSlice& slice : batch.slices) {
    const int row_begin = static_cast<int>(rows_.size());
    for (const TokenId token : slice.tokens) {
      const int index = static_cast<int>(rows_.size()) - row_begin;
      if (index >= slice.logits_begin && index < slice.logits_end) want(slice, row_begin + index);
      const int begin = slice.cache->length();
      rows_.push_back({slice.cache, token, begin + index, begin + static_cast<int>(slice.tokens.size()) - 1});
    }
    plan_attention(row_begin, static_cast<int>(slice.tokens.size()));
  }
}

void Forward::want(const SequenceSlice& slice, int row) {
  const int index = static_cast<int>(wanted_.size());
  wanted_.push_back(row);
  if (slice.hidden_sum != nullptr) {
    hidden_rows_.push_back({index, slice.hidden_sum});
  } else {
    logits_rows_.push_back(index);
  }
}

// ---- The pass.

void Forward::start_rows() {
  due_ = {};
  const size_t pairs = static_cast<size_t>(config_.rope_pairs()), count = rows_.size();
  for_each_row(static_cast<int>(count), kStoreGrain, [&](int row, int thread) {
    const auto index = static_cast<size_t>(row);
    float* residual = buffers_.residual + index * static_cast<size_t>(buffers_.width_stride);
    weights_.embed(rows_[index].token, residual);
    if (config_.embedding_scale != 1.0f) kernels_.scale(config_.embedding_scale, config_.width, residual);
    if (config_.learned_positions) {
      float* const learned = buffers_.per_thread[static_cast<size_t>(thread)].row;
      weights_.embed_position(rows_[index].position, learned);
      kernels_.add(learned, config_.width, residual);
    }
    for (size_t rope = 0; rope < ropes_.size(); ++rope) {
      const size_t at = (rope * count + index) * pairs;
      ropes_[rope].fill(rows_[index].position, buffers_.cosine + at, buffers_.sine + at);
    }
  });
}

void Forward::run_layer(int index) {
  const LayerWeights& layer = weights_.layers[static_cast<size_t>(index)];
  const bool last = index + 1 == config_.layers;
  int rows = static_cast<int>(rows_.size());

  project_heads(layer, rows);
  rotate_and_store(layer, index);
  if (last && wanted_.empty()) return;
  attend(index);

  if (last) {
    keep_wanted_rows();
    rows = static_cast<int>(wanted_.size());
  }
  const Inputs attended = pack(rows, config_.query_width(), {&layer.attention_output}, [&](int row, float* scratch) {
    return attention_row(index, last ? wanted_[static_cast<size_t>(row)] : row, scratch);
  });
  join_residual(attended, layer.attention_output, layer.attention_post_norm,
                config_.post_norms || config_.parallel_residual);
  run_feed_forward(layer, rows);
}

void Forward::project_heads(const LayerWeights& layer, int rows) {
  const Inputs normalized =
      pack_normalized(rows, layer.attention_norm, std::exchange(due_, {}), {&layer.query, &layer.key, &layer.value});
  float* const query = buffers_.qkv;
  float* const key = query + config_.query_width();
  float* const value = key + config_.kv_width();
  multiply({{&normalized, &layer.query, query, buffers_.qkv_stride, false},
            {&normalized, &layer.key, key, buffers_.qkv_stride, false},
            {&normalized, &layer.value, value, buffers_.qkv_stride, false}});
}

void Forward::run_feed_forward(const LayerWeights& layer, int rows) {
  // Beside attention: its branch is not for the feed-forward to see.
  const Due due = config_.parallel_residual ? Due{} : std::exchange(due_, {});
  if (!layer.experts.empty()) return run_experts(layer, rows, due);
  const auto& [gate, up, down] = layer.dense;
  const Inputs middle = pack_normalized(rows, layer.ffn_norm, due, {&gate, &up});
  const int stride = 2 * buffers_.ffn_stride;
  multiply({{&middle, &gate, buffers_.gate_up, stride, false},
            {&middle, &up, buffers_.gate_up + buffers_.ffn_stride, stride, false}});
  const Inputs activated = pack(rows, config_.ffn_width, {&down},
                                [&](int row, float* scratch) { return activate(layer.dense, row, scratch); });
  join_residual(activated, down, layer.ffn_post_norm, config_.post_norms);
}

const float* Forward::activate(const ExpertWeights& weights, int row, float* scratch) const {
  constexpr float kClip = 7.0f;
  const int n = config_.ffn_width;
  float* const gate = buffers_.gate_up + static_cast<size_t>(row) * 2 * static_cast<size_t>(buffers_.ffn_stride);
  float* const up = gate + buffers_.ffn_stride;
  add_bias(weights.gate, gate);
  add_bias(weights.up, up);
  switch (config_.feed_forward) {
    case FeedForward::kSiluGated: kernels_.silu_multiply(gate, up, n, scratch); break;
    case FeedForward::kGeluGated: kernels_.gelu_multiply(gate, up, n, scratch); break;
    case FeedForward::kGelu: kernels_.gelu(up, n, scratch); break;
    case FeedForward::kClippedSwiglu: kernels_.clipped_swiglu(gate, up, n, kClip, scratch); break;
  }
  return scratch;
}

void Forward::keep_wanted_rows() {
  const auto stride = static_cast<size_t>(buffers_.width_stride);
  for (size_t i = 0; i < wanted_.size(); ++i) {
    const auto from = static_cast<size_t>(wanted_[i]);  // Never below i, so nothing needed is overwritten.
    if (from != i)
      std::memcpy(buffers_.residual + i * stride, buffers_.residual + from * stride, stride * sizeof(float));
  }
}

void Forward::sum_hidden_states(const Due& due) const {
  float* const scratch = buffers_.per_thread.front().row;
  for (const HiddenRow& row : hidden_rows_)
    kernels_.add(last_hidden_state(row.index, due, scratch), config_.width, row.sum);
}

// What the output matrix is multiplied with.
const float* Forward::last_hidden_state(int index, const Due& due, float* scratch) const {
  settle(index, due);
  const float* residual = buffers_.residual + static_cast<size_t>(index) * static_cast<size_t>(buffers_.width_stride);
  return normalize(weights_.output_norm, residual, config_.width, scratch);
}

void Forward::compute_logits() {
  const Due due = std::exchange(due_, {});
  sum_hidden_states(due);
  const int rows = logits_rows();
  if (rows == 0) return;
  const Matrix& output = weights_.output;
  const Inputs inputs = pack(rows, config_.width, {&output}, [&](int row, float* scratch) {
    return last_hidden_state(logits_rows_[static_cast<size_t>(row)], due, scratch);
  });
  multiply({{&inputs, &output, buffers_.logits, buffers_.logits_stride, false}});
  if (output.bias.empty() && config_.logit_scale == 1.0f && config_.logit_cap == 0.0f) return;
  for_each_row(rows, 1, [&](int row, int) {
    float* logits = buffers_.logits + static_cast<size_t>(row) * static_cast<size_t>(buffers_.logits_stride);
    add_bias(output, logits);
    if (config_.logit_scale != 1.0f) kernels_.scale(config_.logit_scale, config_.vocabulary, logits);
    if (config_.logit_cap != 0.0f) kernels_.soft_cap(config_.logit_cap, config_.vocabulary, logits);
  });
}

// ---- Products.

Forward::Inputs Forward::inputs_for(std::initializer_list<const Matrix*> matrices) {
  Inputs inputs;
  for (const Matrix* matrix : matrices) {
    if (is_absent(*matrix)) continue;
    (kernels::uses_int8_inputs(matrix->panels.type) ? inputs.has_int8 : inputs.has_f32) = true;
  }
  return inputs;
}

void Forward::pack_row(const float* vector, int row, const Inputs& inputs) const {
  if (inputs.has_int8) kernels_.pack_int8(vector, row, inputs.int8);
  if (inputs.has_f32) kernels_.pack_f32(vector, row, inputs.f32);
}

Forward::Inputs Forward::pack_normalized(int count, const Norm& norm, const Due& due,
                                         std::initializer_list<const Matrix*> matrices) {
  return pack(count, config_.width, matrices, [&](int row, float* scratch) {
    settle(row, due);
    const float* residual = buffers_.residual + static_cast<size_t>(row) * static_cast<size_t>(buffers_.width_stride);
    return normalize(norm, residual, config_.width, scratch);
  });
}

void Forward::settle(int row, const Due& due) const {
  const size_t at = static_cast<size_t>(row) * static_cast<size_t>(buffers_.width_stride);
  float* const residual = buffers_.residual + at;
  if (due.added != nullptr) add_bias(*due.added, residual);
  if (due.branch == nullptr) return;
  float* const branch = buffers_.branch + at;
  add_bias(*due.branch, branch);
  normalize(*due.branch_norm, branch, config_.width, branch);
  kernels_.add(branch, config_.width, residual);
}

const float* Forward::normalize(const Norm& norm, const float* x, int n, float* out) const {
  if (norm.weight.empty()) return x;
  if (config_.norm == NormKind::kRms) {
    kernels_.rms_norm(x, norm.weight.data(), n, config_.norm_epsilon, out);
  } else {
    const float* bias = norm.bias.empty() ? nullptr : norm.bias.data();
    kernels_.layer_norm(x, norm.weight.data(), bias, n, config_.norm_epsilon, out);
  }
  return out;
}

void Forward::add_bias(const Matrix& matrix, float* vector) const {
  if (!matrix.bias.empty()) kernels_.add(matrix.bias.data(), static_cast<int>(matrix.bias.size()), vector);
}

void Forward::join_residual(const Inputs& inputs, const Matrix& matrix, const Norm& post_norm, bool apart) {
  multiply({{&inputs, &matrix, apart ? buffers_.branch : buffers_.residual, buffers_.width_stride, !apart}});
  if (apart) {
    due_.branch = &matrix;
    due_.branch_norm = &post_norm;
  } else {
    due_.added = &matrix;
  }
}

void Forward::multiply(std::span<const Product> products) {
  int panels = 0;
  for (const Product& product : products) panels += kernels::panel_count(product.matrix->panels.rows);
  // An even number: kernels work on two panels at once where there are many tokens.
  const int grain = std::max(2, panels / (kPiecesPerThread * pool_.threads()) / 2 * 2);
  int pieces = 0;
  for (const Product& product : products) {
    pieces += pieces_of(kernels::panel_count(product.matrix->panels.rows), grain);
  }
  pool_.run(static_cast<size_t>(pieces), [&](size_t piece, int thread) {
    int left = static_cast<int>(piece);
    for (const Product& product : products) {
      const int product_panels = kernels::panel_count(product.matrix->panels.rows);
      const int begin = left * grain;
      if (begin < product_panels) {
        return run_product(product, begin, std::min(product_panels, begin + grain), thread);
      }
      left -= pieces_of(product_panels, grain);
    }
  });
}

void Forward::run_product(const Product& product, int panel_begin, int panel_end, int thread) const {
  const kernels::Panels& panels = product.matrix->panels;
  const kernels::Activations& activations =
      kernels::uses_int8_inputs(panels.type) ? product.inputs->int8 : product.inputs->f32;
  kernels_.matmul({.weights = panels,
                   .inputs = activations,
                   .panel_begin = panel_begin,
                   .panel_end = panel_end,
                   .token_begin = 0,
                   .token_end = activations.tokens,
                   .out = product.out,
                   .out_stride = static_cast<size_t>(product.stride),
                   .accumulate = product.accumulate,
                   .scratch = buffers_.per_thread[static_cast<size_t>(thread)].matmul,
                   .stream = kernels_.stream});
}

}  // namespace infer::model
