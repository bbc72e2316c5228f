// What a step tells the KV cache of its attention: how much each page got, and the last queries.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <span>

#include "kv/page_attention.h"
#include "kv/page_digest.h"
#include "model/forward.h"

namespace infer::model {

// Whether anybody wants to know about a token of the item; all are of one sequence.
bool Forward::observes(const AttentionItem& item, int layer) const {
  if (!observes_layer(layer) || rows_[static_cast<size_t>(item.row_begin)].cache->attention() == nullptr) return false;
  constexpr int kEvery = kv::PageAttention::kEvery;
  const int first = rows_[static_cast<size_t>(item.row_begin)].position;
  return (first + item.rows) / kEvery != first / kEvery;
}

// A block of rows that has seen all its pages: scratch.shares is [pages][rows of the item].
void Forward::observe_item(const AttentionItem& item, int layer, int kv_head, const ThreadScratch& scratch) const {
  const Row& last = rows_[static_cast<size_t>(item.row_begin + item.rows - 1)];
  kv::PageAttention& attention = *last.cache->attention();
  const int rows = item.rows * group_;
  for (int page = 0; page <= last.position / kernels::kPageTokens; ++page) {
    kv::PageObservation sum;
    for (int token = 0; token < item.rows; ++token) {
      const int position = rows_[static_cast<size_t>(item.row_begin + token)].position;
      if (!kv::PageAttention::observes(position) || position + 1 < (page + 1) * kernels::kPageTokens) continue;
      for (int row = token * group_; row < (token + 1) * group_; ++row) {
        kv::PageAttention::observe(scratch.shares[page * rows + row],
                                   {scratch.max[row], scratch.sum[row], position / kernels::kPageTokens + 1}, &sum);
      }
    }
    attention.tally(layer, page, sum);
  }
  for (int row = 0; row < rows; ++row) {
    if (!kv::PageAttention::observes(rows_[static_cast<size_t>(item.row_begin + row / group_)].position)) continue;
    keep_query(layer, item.row_begin + row / group_, kv_head * group_ + row % group_,
               scratch.attention_out + static_cast<ptrdiff_t>(row) * config_.head_dim, scratch.max[row],
               scratch.sum[row]);
  }
}

// Of an item with one chunk of pages, whose shares are [heads][pages][rows]; observe_row goes on when all chunks are
// known.
void Forward::keep_shares(const AttentionItem& item, HeadRange heads, const ThreadScratch& scratch) const {
  const int rows = item.rows * group_, first_page = item.chunk_begin * kChunkPages;
  const auto pages_seen = [&](int token) {
    const int position = rows_[static_cast<size_t>(token)].position;
    return std::min(kChunkPages, position / kernels::kPageTokens + 1 - first_page);
  };
  const int pages = pages_seen(item.row_begin + item.rows - 1);
  for (int i = 0; i < (heads.end - heads.begin) * rows; ++i) {
    const int row = i % rows, token = item.row_begin + row / group_;
    const int head = (heads.begin + i / rows) * group_ + row % group_;
    const kernels::PageShare* const shares = scratch.shares + static_cast<ptrdiff_t>(i / rows) * pages * rows + row;
    kernels::PageShare* const kept =
        buffers_.partial_shares + static_cast<ptrdiff_t>(token * config_.heads + head) * buffers_.pages_max();
    for (int page = 0; page < pages_seen(token); ++page) kept[first_page + page] = shares[page * rows];
  }
}

void Forward::keep_query(int layer, int row, int head, const float* out, float max, float sum) const {
  const Row& token = rows_[static_cast<size_t>(row)];
  if (!token.is_kept()) return;
  const int kv_head = head / group_, member = head % group_;
  const std::byte* const codes =
      query_row(kv_head, row) + static_cast<size_t>(member) * kernels::query_row_bytes(config_.head_dim);
  token.cache->attention()->put(layer, kv_head, member, token.position, codes, rotated_query(row, head), out, max, sum);
}

// A row of a spread step, all heads: max and sum over all chunks are where those of the first chunk were.
void Forward::observe_row(int layer, int row) const {
  const Row& token = rows_[static_cast<size_t>(row)];
  const int whole = (token.position + 1) / kernels::kPageTokens;
  for (int page = 0; page < whole; ++page) {
    kv::PageObservation sum;
    for (int head = 0; head < config_.heads; ++head) {
      const auto at = static_cast<ptrdiff_t>(row * config_.heads + head);
      const kv::RowTotal total{buffers_.partial_max[at * buffers_.chunks_max],
                               buffers_.partial_sum[at * buffers_.chunks_max],
                               token.position / kernels::kPageTokens + 1};
      kv::PageAttention::observe(buffers_.partial_shares[at * buffers_.pages_max() + page], total, &sum);
    }
    token.cache->attention()->tally(layer, page, sum);
  }
  if (token.cache->levels()->any_evicted()) look_for_evicted(layer, row);
}

// Which page out of memory could matter most to a head of the row.
void Forward::look_for_evicted(int layer, int row) const {
  const Row& token = rows_[static_cast<size_t>(row)];
  const std::span<const kv::PageId> pages = token.cache->pages(layer);
  const auto head_dim = static_cast<size_t>(config_.head_dim);
  double most = 0;
  int most_page = -1;
  for (int head = 0; head < config_.heads; ++head) {
    const auto at = static_cast<ptrdiff_t>(row * config_.heads + head) * buffers_.chunks_max;
    const double log_sum = static_cast<double>(buffers_.partial_max[at]) * std::numbers::ln2 +
                           std::log(static_cast<double>(buffers_.partial_sum[at]));
    std::array<float, kernels::kHeadDimMax> query{};
    const float* const rotated = rotated_query(row, head);
    for (size_t d = 0; d < head_dim; ++d) query[d] = rotated[d] * config_.attention_scale;
    const kv::DigestQuery digest_query(std::span<const float>(query).first(head_dim));
    for (int page = 0; page < static_cast<int>(pages.size()); ++page) {
      if (token.cache->level(layer, page) != kv::Level::kEvicted) continue;
      kv::OmittedMass omitted;
      omitted.add(kernels::kPageTokens, digest_query.bound(token.cache->digest(layer, page, head / group_)));
      const double share = omitted.share(log_sum);
      if (share > most) most = share, most_page = page;
    }
  }
  if (most_page >= 0) token.cache->levels()->look_for(layer, most_page, most);
}

}  // namespace infer::model
