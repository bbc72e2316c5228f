// Attention of a step: its work items, keys and values into the cache, and what queries get from their pages.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <span>

#include "kernels/panels.h"
#include "kv/page_pool.h"
#include "model/forward.h"

namespace infer::model {

namespace {

// Pieces of a spread step's attention per thread, at least: see kPiecesPerThread.
constexpr int kAttentionPiecesPerThread = 8;

}  // namespace

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

  const bool floats = rows_[at].cache->holds_floats();
  const auto store_key = floats ? kernels_.store_float_key : kernels_.store_key;
  const auto store_value = floats ? kernels_.store_float_value : kernels_.store_value;
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
    store_key(key + kv_head * head_dim, head_dim, slot, page);
    kernels_.rotate_hadamard(value + kv_head * head_dim, head_dim);
    store_value(value + kv_head * head_dim, head_dim, slot, page);
  }
}

// The codes of a row's queries, those that share a KV head.
std::byte* Forward::query_row(int kv_head, int row) const {
  const size_t rows = static_cast<size_t>(kv_head) * rows_.size() + static_cast<size_t>(row);
  return buffers_.queries + rows * static_cast<size_t>(group_) * kernels::query_row_bytes(config_.head_dim);
}

// A row's query itself, which lies where it was rotated.
const float* Forward::rotated_query(int row, int head) const {
  return buffers_.qkv + static_cast<ptrdiff_t>(row) * buffers_.qkv_stride +
         static_cast<ptrdiff_t>(head) * config_.head_dim;
}

// KV heads of a piece of work. A few rows read pages once and wait for memory: all heads of a page, which lie side by
// side, are one stream. But threads need several pieces each; and all rows of a piece have their results in the
// scratch.
int Forward::heads_per_piece() const {
  if (!spread_) return 1;
  int most_rows = 0;
  for (const AttentionItem& item : items_) most_rows = std::max(most_rows, item.rows);
  int heads = std::clamp(buffers_.block_tokens / std::max(1, most_rows), 1, config_.kv_heads);
  const int pieces_wanted = kAttentionPiecesPerThread * pool_.threads();
  while (heads > 1 && static_cast<int>(items_.size()) * pieces_of(config_.kv_heads, heads) < pieces_wanted) heads /= 2;
  return heads;
}

void Forward::attend(int layer) {
  const int heads = heads_per_piece();
  const size_t items = items_.size(), pieces = items * static_cast<size_t>(pieces_of(config_.kv_heads, heads));
  // Some KV heads after the others, so that their pages stay in cache; the last tokens first, which see most.
  const auto item_of = [&](size_t piece) -> const AttentionItem& { return items_[items - 1 - piece % items]; };
  const auto heads_of = [&](size_t piece) {
    const int begin = static_cast<int>(piece / items) * heads;
    return HeadRange{begin, std::min(begin + heads, config_.kv_heads)};
  };
  pool_.run(pieces, [&](size_t piece, int thread) {
    kernels::AttentionPage after{};
    if (spread_ && piece + 1 < pieces) {  // A thread mostly takes the next piece; its few rows would wait for memory.
      const AttentionItem& next = item_of(piece + 1);
      const kv::SequenceCache& cache = *rows_[static_cast<size_t>(next.row_begin)].cache;
      after = cache.part(layer, first_page(next, layer, next.chunk_begin), heads_of(piece + 1).begin);
    }
    attend_item(item_of(piece), layer, heads_of(piece), thread, after);
  });
}

int Forward::first_page(const AttentionItem& item, int layer, int chunk) const {
  const int position = rows_[static_cast<size_t>(item.row_begin)].position;
  return std::max(chunk * kChunkPages, first_visible(layer, position) / kernels::kPageTokens);
}

void Forward::attend_item(const AttentionItem& item, int layer, HeadRange heads, int thread,
                          const kernels::AttentionPage& after) {
  const ThreadScratch& scratch = buffers_.per_thread[static_cast<size_t>(thread)];
  // Chunks before the window of the first row, which reaches farthest back, are nobody's.
  const int nearest = first_visible(layer, rows_[static_cast<size_t>(item.row_begin)].position) / kChunkTokens;
  const int chunk_begin = std::max(item.chunk_begin, nearest);
  if (chunk_begin >= item.chunk_end) return;
  const bool observed = observes(item, layer);
  const int rows = item.rows * group_;
  const auto shares_of = [&](int chunk) {
    return observed ? scratch.shares + static_cast<ptrdiff_t>(chunk - chunk_begin) * kChunkPages * rows : nullptr;
  };
  attend_chunk(item, layer, heads, chunk_begin, scratch, scratch.attention_out, scratch.max, scratch.sum,
               shares_of(chunk_begin), after);
  if (spread_) {
    keep_partials(item, heads, scratch);
    if (observed) keep_shares(item, heads, scratch);
    return;
  }
  for (int chunk = chunk_begin + 1; chunk < item.chunk_end; ++chunk) {
    attend_chunk(item, layer, heads, chunk, scratch, scratch.attention_part, scratch.part_max, scratch.part_sum,
                 shares_of(chunk), {});
    for (int row = 0; row < rows; ++row) {
      kernels_.merge_attention(scratch.attention_part + row * config_.head_dim, scratch.part_max[row],
                               scratch.part_sum[row], config_.head_dim, scratch.attention_out + row * config_.head_dim,
                               scratch.max + row, scratch.sum + row);
    }
  }
  if (observed) observe_item(item, layer, heads.begin, scratch);
  finish_rows(item, layer, heads.begin, scratch);
}

// Of the tokens that one at `position` sees.
int Forward::first_visible(int layer, int position) const {
  const int window = config_.layer[static_cast<size_t>(layer)].window;
  return window > 0 ? std::max(0, position + 1 - window) : 0;
}

void Forward::attend_chunk(const AttentionItem& item, int layer, HeadRange heads, int chunk,
                           const ThreadScratch& scratch, float* out, float* max, float* sum, kernels::PageShare* shares,
                           const kernels::AttentionPage& after) const {
  const Row& first = rows_[static_cast<size_t>(item.row_begin)];
  const int length = first.position + item.rows;  // Tokens that the last row sees, but for its window.
  const int page_begin = first_page(item, layer, chunk);
  const int pages = std::min((chunk + 1) * kChunkPages, kv::pages_for_tokens(length)) - page_begin;
  std::array<kernels::AttentionPage, kChunkPages> parts{};
  for (int page = 0; page < pages; ++page) {
    parts[static_cast<size_t>(page)] = first.cache->part(layer, page_begin + page, heads.begin);
  }
  const int origin = page_begin * kernels::kPageTokens, tokens = pages * kernels::kPageTokens;
  for (int token = 0; token < item.rows; ++token) {
    const int position = first.position + token;
    const int begin = std::clamp(first_visible(layer, position) - origin, 0, tokens);
    const int end = std::clamp(position + 1 - origin, 0, tokens);
    std::fill_n(scratch.visible_begin + token * group_, group_, begin);
    std::fill_n(scratch.visible_end + token * group_, group_, end);
  }
  kernels_.attend({.queries = query_row(heads.begin, item.row_begin),
                   .queries_stride = static_cast<size_t>(query_row(1, 0) - query_row(0, 0)),
                   .heads = heads.end - heads.begin,
                   .rows = item.rows * group_,
                   .head_dim = config_.head_dim,
                   .visible_begin = scratch.visible_begin,
                   .visible_end = scratch.visible_end,
                   .score_cap = config_.attention_cap,
                   .pages = parts.data(),
                   .page_count = pages,
                   .part_stride = first.cache->part_stride(),
                   .float_queries = {.first = rotated_query(item.row_begin, heads.begin * group_),
                                     .head_stride = static_cast<size_t>(group_ * config_.head_dim),
                                     .token_stride = static_cast<size_t>(buffers_.qkv_stride),
                                     .group = group_,
                                     .factor = config_.attention_scale},
                   .out = out,
                   .max = max,
                   .sum = sum,
                   .shares = shares,
                   .after = after});
}

void Forward::keep_partials(const AttentionItem& item, HeadRange heads, const ThreadScratch& scratch) {
  const auto head_dim = static_cast<size_t>(config_.head_dim);
  const int rows = item.rows * group_;
  for (int i = 0; i < (heads.end - heads.begin) * rows; ++i) {
    const int token = item.row_begin + i % rows / group_, head = (heads.begin + i / rows) * group_ + i % group_;
    const size_t at = static_cast<size_t>(token * config_.heads + head) * static_cast<size_t>(buffers_.chunks_max) +
                      static_cast<size_t>(item.chunk_begin);
    std::memcpy(buffers_.partial_out + at * head_dim, scratch.attention_out + static_cast<size_t>(i) * head_dim,
                head_dim * sizeof(float));
    buffers_.partial_max[at] = scratch.max[i];
    buffers_.partial_sum[at] = scratch.sum[i];
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
