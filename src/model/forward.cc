#include "model/forward.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <utility>

#include "base/check.h"
#include "kernels/panels.h"
#include "kv/page_pool.h"

namespace infer::model {

namespace {

constexpr int kChunkTokens = kChunkPages * kernels::kPageTokens;
// Pieces of a product per thread: with many, a thread whose core was taken away holds up little.
constexpr int kPiecesPerThread = 16;

int pieces_of(int count, int grain) { return (count + grain - 1) / grain; }

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

void Forward::plan_attention(int row_begin, int rows) {
  for (int begin = 0; begin < rows; begin += buffers_.block_tokens) {
    AttentionItem item{.row_begin = row_begin + begin,
                       .rows = std::min(buffers_.block_tokens, rows - begin),
                       .chunk_begin = 0,
                       .chunk_end = 0};
    const Row& last = rows_[static_cast<size_t>(item.row_begin + item.rows - 1)];
    item.chunk_end = last.position / kChunkTokens + 1;
    if (!spread_) {
      items_.push_back(item);
      continue;
    }
    for (int chunk = 0; chunk < item.chunk_end; ++chunk) {
      items_.push_back({item.row_begin, item.rows, chunk, chunk + 1});
    }
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

// ---- Attention.

void Forward::rotate_and_store(const LayerWeights& layer, int index) {
  for_each_row(static_cast<int>(rows_.size()), kStoreGrain, [&](int row, int) { rotate_row(layer, index, row); });
}

void Forward::prepare_heads(const LayerWeights& layer, int index, int row) const {
  const size_t at = static_cast<size_t>(row), pairs = static_cast<size_t>(config_.rope_pairs());
  const int head_dim = config_.head_dim;
  float* const query = buffers_.qkv + at * static_cast<size_t>(buffers_.qkv_stride);
  float* const key = query + config_.query_width();
  add_bias(layer.query, query);
  add_bias(layer.key, key);
  add_bias(layer.value, key + config_.kv_width());
  normalize_heads(layer.query_norm, config_.heads, query);
  normalize_heads(layer.key_norm, config_.kv_heads, key);

  const auto rope = static_cast<size_t>(config_.layer[static_cast<size_t>(index)].rope);
  const float* cosine = buffers_.cosine + (rope * rows_.size() + at) * pairs;
  const float* sine = buffers_.sine + (rope * rows_.size() + at) * pairs;
  const bool adjacent = config_.ropes[rope].pairing == RopePairing::kAdjacent;
  const auto rotate = adjacent ? kernels_.rope_adjacent : kernels_.rope_halves;
  // Keys follow the queries.
  for (int head = 0; head < config_.heads + config_.kv_heads; ++head) {
    rotate(cosine, sine, config_.rope_pairs(), query + head * head_dim);
  }
}

void Forward::normalize_heads(const Norm& norm, int heads, float* vectors) const {
  const int head_dim = config_.head_dim;
  if (config_.head_norm == HeadNorm::kWhole) {
    normalize(norm, vectors, heads * head_dim, vectors);
  } else if (config_.head_norm != HeadNorm::kNone) {
    const size_t step = config_.head_norm == HeadNorm::kSeparate ? static_cast<size_t>(head_dim) : 0;
    for (int head = 0; head < heads; ++head) {
      const Norm own{.weight = norm.weight.subspan(static_cast<size_t>(head) * step), .bias = {}};
      normalize(own, vectors + head * head_dim, head_dim, vectors + head * head_dim);
    }
  }
}

void Forward::rotate_row(const LayerWeights& layer, int index, int row) {
  prepare_heads(layer, index, row);
  const auto at = static_cast<size_t>(row);
  const int head_dim = config_.head_dim;
  float* const query = buffers_.qkv + at * static_cast<size_t>(buffers_.qkv_stride);
  float* const key = query + config_.query_width();
  float* const value = key + config_.kv_width();

  const int position = rows_[at].position, slot = position % kernels::kPageTokens;
  for (int kv_head = 0; kv_head < config_.kv_heads; ++kv_head) {
    std::byte* const page = rows_[at].cache->writable_part(index, position / kernels::kPageTokens, kv_head);
    for (int i = 0; i < group_; ++i) {
      float* const own = query + (kv_head * group_ + i) * head_dim;
      kernels_.rotate_hadamard(own, head_dim);
      kernels_.store_query(own, head_dim, config_.attention_scale,
                           query_row(kv_head, row) + static_cast<size_t>(i) * kernels::query_row_bytes(head_dim));
    }
    kernels_.rotate_hadamard(key + kv_head * head_dim, head_dim);
    kernels_.store_key(key + kv_head * head_dim, head_dim, slot, page);
    kernels_.rotate_hadamard(value + kv_head * head_dim, head_dim);
    kernels_.store_value(value + kv_head * head_dim, head_dim, slot, page);
  }
}

// The codes of a row's queries, those that share a KV head.
std::byte* Forward::query_row(int kv_head, int row) const {
  const size_t rows = static_cast<size_t>(kv_head) * rows_.size() + static_cast<size_t>(row);
  return buffers_.queries + rows * static_cast<size_t>(group_) * kernels::query_row_bytes(config_.head_dim);
}

void Forward::attend(int layer) {
  const size_t items = items_.size(), pieces = items * static_cast<size_t>(config_.kv_heads);
  // One KV head after the other, so that its pages stay in cache; the last tokens first, which see most.
  const auto item_of = [&](size_t piece) -> const AttentionItem& { return items_[items - 1 - piece % items]; };
  const auto head_of = [&](size_t piece) { return static_cast<int>(piece / items); };
  pool_.run(pieces, [&](size_t piece, int thread) {
    kernels::AttentionPage after{};
    if (spread_ && piece + 1 < pieces) {  // A thread mostly takes the next piece; its few rows would wait for memory.
      const AttentionItem& next = item_of(piece + 1);
      const kv::SequenceCache& cache = *rows_[static_cast<size_t>(next.row_begin)].cache;
      after = cache.part(layer, first_page(next, layer, next.chunk_begin), head_of(piece + 1));
    }
    attend_item(item_of(piece), layer, head_of(piece), thread, after);
  });
}

int Forward::first_page(const AttentionItem& item, int layer, int chunk) const {
  const int position = rows_[static_cast<size_t>(item.row_begin)].position;
  return std::max(chunk * kChunkPages, first_visible(layer, position) / kernels::kPageTokens);
}

void Forward::attend_item(const AttentionItem& item, int layer, int kv_head, int thread,
                          const kernels::AttentionPage& after) {
  const ThreadScratch& scratch = buffers_.per_thread[static_cast<size_t>(thread)];
  const int rows = item.rows * group_, head_dim = config_.head_dim;
  // Chunks before the window of the first row, which reaches farthest back, are nobody's.
  const int nearest = first_visible(layer, rows_[static_cast<size_t>(item.row_begin)].position) / kChunkTokens;
  const int chunk_begin = std::max(item.chunk_begin, nearest);
  if (chunk_begin >= item.chunk_end) return;
  const bool observed = observes(item, layer);
  const auto shares_of = [&](int chunk) {
    return observed ? scratch.shares + static_cast<ptrdiff_t>(chunk - chunk_begin) * kChunkPages * rows : nullptr;
  };
  attend_chunk(item, layer, kv_head, chunk_begin, scratch, scratch.attention_out, scratch.max, scratch.sum,
               shares_of(chunk_begin), after);
  for (int chunk = chunk_begin + 1; chunk < item.chunk_end; ++chunk) {
    attend_chunk(item, layer, kv_head, chunk, scratch, scratch.attention_part, scratch.part_max, scratch.part_sum,
                 shares_of(chunk), {});
    for (int row = 0; row < rows; ++row) {
      kernels_.merge_attention(scratch.attention_part + row * head_dim, scratch.part_max[row], scratch.part_sum[row],
                               head_dim, scratch.attention_out + row * head_dim, scratch.max + row, scratch.sum + row);
    }
  }
  if (spread_) {
    keep_partials(item, kv_head, scratch);
    if (observed) keep_shares(item, kv_head, scratch);
  } else {
    if (observed) observe_item(item, layer, kv_head, scratch);
    finish_rows(item, layer, kv_head, scratch);
  }
}

// Of the tokens that one at `position` sees.
int Forward::first_visible(int layer, int position) const {
  const int window = config_.layer[static_cast<size_t>(layer)].window;
  return window > 0 ? std::max(0, position + 1 - window) : 0;
}

void Forward::attend_chunk(const AttentionItem& item, int layer, int kv_head, int chunk, const ThreadScratch& scratch,
                           float* out, float* max, float* sum, kernels::PageShare* shares,
                           const kernels::AttentionPage& after) const {
  const Row& first = rows_[static_cast<size_t>(item.row_begin)];
  const int length = first.position + item.rows;  // Tokens that the last row sees, but for its window.
  const int page_begin = first_page(item, layer, chunk);
  const int pages = std::min((chunk + 1) * kChunkPages, kv::pages_for_tokens(length)) - page_begin;
  std::array<kernels::AttentionPage, kChunkPages> parts{};
  for (int page = 0; page < pages; ++page) {
    parts[static_cast<size_t>(page)] = first.cache->part(layer, page_begin + page, kv_head);
  }
  const int origin = page_begin * kernels::kPageTokens, tokens = pages * kernels::kPageTokens;
  for (int token = 0; token < item.rows; ++token) {
    const int position = first.position + token;
    const int begin = std::clamp(first_visible(layer, position) - origin, 0, tokens);
    const int end = std::clamp(position + 1 - origin, 0, tokens);
    std::fill_n(scratch.visible_begin + token * group_, group_, begin);
    std::fill_n(scratch.visible_end + token * group_, group_, end);
  }
  kernels_.attend({.queries = query_row(kv_head, item.row_begin),
                   .rows = item.rows * group_,
                   .head_dim = config_.head_dim,
                   .visible_begin = scratch.visible_begin,
                   .visible_end = scratch.visible_end,
                   .score_cap = config_.attention_cap,
                   .pages = parts.data(),
                   .page_count = pages,
                   .out = out,
                   .max = max,
                   .sum = sum,
                   .shares = shares,
                   .after = after});
}

void Forward::keep_partials(const AttentionItem& item, int kv_head, const ThreadScratch& scratch) {
  const auto head_dim = static_cast<size_t>(config_.head_dim);
  for (int row = 0; row < item.rows * group_; ++row) {
    const int token = item.row_begin + row / group_, head = kv_head * group_ + row % group_;
    const size_t at = static_cast<size_t>(token * config_.heads + head) * static_cast<size_t>(buffers_.chunks_max) +
                      static_cast<size_t>(item.chunk_begin);
    std::memcpy(buffers_.partial_out + at * head_dim, scratch.attention_out + static_cast<size_t>(row) * head_dim,
                head_dim * sizeof(float));
    buffers_.partial_max[at] = scratch.max[row];
    buffers_.partial_sum[at] = scratch.sum[row];
  }
}

// Sums of weighted values become their mean, as the values were before they were rotated.
void Forward::finish_head(float share, float* out) const {
  kernels_.scale(share, config_.head_dim, out);
  kernels_.rotate_hadamard(out, config_.head_dim);
}

void Forward::finish_rows(const AttentionItem& item, int layer, int kv_head, const ThreadScratch& scratch) {
  const auto head_dim = static_cast<size_t>(config_.head_dim);
  for (int row = 0; row < item.rows * group_; ++row) {
    const int token = item.row_begin + row / group_, head = kv_head * group_ + row % group_;
    float* out = buffers_.attention + static_cast<size_t>(token * config_.heads + head) * head_dim;
    std::memcpy(out, scratch.attention_out + static_cast<size_t>(row) * head_dim, head_dim * sizeof(float));
    finish_head(weight_share(layer, head, scratch.max[row], scratch.sum[row]), out);
  }
}

// What the sum of weighted values is multiplied by: 1 / sum, where the head's sink, if it has one, is in the sum.
float Forward::weight_share(int layer, int head, float max, float sum) const {
  const std::span<const float> sinks = weights_.layers[static_cast<size_t>(layer)].sinks;
  if (sinks.empty()) return 1.0f / sum;
  const double sink = static_cast<double>(sinks[static_cast<size_t>(head)]) * std::numbers::log2e;
  const double most = std::max(static_cast<double>(max), sink);
  const double fade = std::exp2(static_cast<double>(max) - most);
  return static_cast<float>(fade / (static_cast<double>(sum) * fade + std::exp2(sink - most)));
}

// The attention output of a row, all heads; in a spread step its chunks are merged here, in order.
const float* Forward::attention_row(int layer, int row, float* scratch) const {
  if (!spread_) return buffers_.attention + static_cast<size_t>(row) * static_cast<size_t>(config_.query_width());
  const auto head_dim = static_cast<size_t>(config_.head_dim);
  const int position = rows_[static_cast<size_t>(row)].position;
  const bool observed = observes_layer(layer) && rows_[static_cast<size_t>(row)].is_observed();
  const auto chunk_begin = static_cast<size_t>(first_visible(layer, position) / kChunkTokens);
  const auto chunk_end = static_cast<size_t>(position / kChunkTokens + 1);
  for (int head = 0; head < config_.heads; ++head) {
    const size_t first = static_cast<size_t>(row * config_.heads + head) * static_cast<size_t>(buffers_.chunks_max);
    const size_t at = first + chunk_begin;
    float* out = scratch + static_cast<size_t>(head) * head_dim;
    std::memcpy(out, buffers_.partial_out + at * head_dim, head_dim * sizeof(float));
    float max = buffers_.partial_max[at], sum = buffers_.partial_sum[at];
    for (size_t chunk = at + 1; chunk < first + chunk_end; ++chunk) {
      kernels_.merge_attention(buffers_.partial_out + chunk * head_dim, buffers_.partial_max[chunk],
                               buffers_.partial_sum[chunk], config_.head_dim, out, &max, &sum);
    }
    if (observed) {
      buffers_.partial_max[first] = max;
      buffers_.partial_sum[first] = sum;
      keep_query(layer, row, head, out, max, sum);
    }
    finish_head(weight_share(layer, head, max, sum), out);
  }
  if (observed) observe_row(layer, row);
  return scratch;
}

}  // namespace infer::model
