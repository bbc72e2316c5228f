#include "kv/sequence_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "kernels/kernel_table.h"

namespace infer::kv {

int layer_pages_max(int window, int context, int step) {
  const int all = pages_for_tokens(context);
  if (window == 0 || window >= context) return all;
  // Behind the end of the sequence and behind its mark: the window, what a rewind sees, and a page on each border.
  const int64_t kept = 2 * (int64_t{pages_for_tokens(window + kRewindTokens)} + 1);
  return static_cast<int>(std::min<int64_t>(all, kept + pages_for_tokens(step) + 1));
}

SequenceCache::SequenceCache(PagePool& pool, std::span<const int> windows, int context)
    : pool_(&pool), context_(context) {
  INFER_CHECK(!windows.empty() && context > 0);
  layers_.reserve(windows.size());
  for (const int window : windows) layers_.push_back({window, 0});
  tables_.resize(layers_.size() * static_cast<size_t>(pages_for_tokens(context)));
}

SequenceCache::SequenceCache(SequenceCache&& other) noexcept
    : pool_(other.pool_),
      layers_(std::move(other.layers_)),
      context_(other.context_),
      length_(std::exchange(other.length_, 0)),
      mark_(std::exchange(other.mark_, 0)),
      pages_end_(std::exchange(other.pages_end_, 0)),
      pages_held_(std::exchange(other.pages_held_, 0)),
      tables_(std::move(other.tables_)) {}

SequenceCache& SequenceCache::operator=(SequenceCache&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(layers_, other.layers_);
  std::swap(context_, other.context_);
  std::swap(length_, other.length_);
  std::swap(mark_, other.mark_);
  std::swap(pages_end_, other.pages_end_);
  std::swap(pages_held_, other.pages_held_);
  std::swap(tables_, other.tables_);
  return *this;
}

SequenceCache::~SequenceCache() { give_back_pages(0); }

int SequenceCache::reserved() const {
  const int64_t tokens = int64_t{pages_end_} * kernels::kPageTokens;
  return tokens < context_ ? static_cast<int>(tokens) : context_;
}

Status SequenceCache::reserve(int tokens) {
  INFER_CHECK(tokens >= 0);
  if (tokens > context_ - length_) {
    return Error{ErrorCode::kInvalidArgument,
                 format("{} tokens in the context and {} more do not fit into its {}: shorten the prompt or load the "
                        "model with a longer context",
                        length_, tokens, context_)};
  }
  const int pages_needed = pages_for_tokens(length_ + tokens);
  if (pages_needed <= pages_end_) return {};
  const int64_t missing = int64_t{pages_needed - pages_end_} * layers();
  if (missing > pool_->free_pages()) {
    return Error{
        ErrorCode::kExhausted,
        format("the KV cache needs {} more pages for {} tokens, but {} of {} are free: end another sequence or "
               "give the cache more memory",
               missing, length_ + tokens, pool_->free_pages(), pool_->pages_max())};
  }
  for (; pages_end_ < pages_needed; ++pages_end_) {
    for (size_t layer = 0; layer < layers_.size(); ++layer) page(layer, pages_end_) = pool_->take();
  }
  pages_held_ += missing;
  return {};
}

void SequenceCache::commit(int tokens) {
  INFER_CHECK(tokens >= 0 && tokens <= reserved() - length_);
  length_ += tokens;
  leave_windows();
}

void SequenceCache::truncate(int length) {
  INFER_CHECK(length >= 0 && length <= length_ && can_truncate(length));
  length_ = length;
  mark_ = std::min(mark_, length);
  give_back_pages(pages_for_tokens(length));
}

int SequenceCache::first_page(const Layer& layer, int length) {
  return layer.window == 0 ? 0 : std::max(0, length + 1 - layer.window) / kernels::kPageTokens;
}

bool SequenceCache::can_truncate(int length) const {
  for (int layer = 0; layer < layers(); ++layer) {
    const std::span<std::byte* const> table = pages(layer);
    const int last = pages_for_tokens(length);
    for (int i = first_page(layers_[static_cast<size_t>(layer)], length); i < last; ++i) {
      if (table[static_cast<size_t>(i)] == nullptr) return false;
    }
  }
  return true;
}

void SequenceCache::set_mark() {
  mark_ = length_;
  for (Layer& layer : layers_) layer.looked_at = 0;
}

// Gives back what no token will see any more, whether the sequence goes on from here, from a little before or from the
// mark.
void SequenceCache::leave_windows() {
  const int mark_end = pages_for_tokens(mark_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    Layer& layer = layers_[i];
    if (layer.window == 0) continue;
    const int mark_begin = first_page(layer, mark_);
    const int end = first_page(layer, std::max(0, length_ - kRewindTokens));
    for (int at = layer.looked_at; at < end; ++at) {
      std::byte*& candidate = page(i, at);
      if (candidate == nullptr || (at >= mark_begin && at < mark_end)) continue;
      pool_->give_back(std::exchange(candidate, nullptr));
      --pages_held_;
    }
    layer.looked_at = std::max(layer.looked_at, end);
  }
}

void SequenceCache::give_back_pages(int pages_kept) {
  // Last taken first, so that the pool hands them out in the same order again.
  for (; pages_end_ > pages_kept; --pages_end_) {
    for (size_t layer = layers_.size(); layer > 0; --layer) {
      std::byte*& candidate = page(layer - 1, pages_end_ - 1);
      if (candidate == nullptr) continue;
      pool_->give_back(std::exchange(candidate, nullptr));
      --pages_held_;
    }
  }
  for (Layer& layer : layers_) layer.looked_at = std::min(layer.looked_at, pages_kept);
}

std::span<std::byte* const> SequenceCache::pages(int layer) const {
  INFER_CHECK(layer >= 0 && layer < layers());
  const size_t stride = static_cast<size_t>(pages_for_tokens(context_));
  return std::span(tables_).subspan(static_cast<size_t>(layer) * stride, static_cast<size_t>(pages_end_));
}

uint64_t SequenceCache::kv_bytes() const {
  return uint64_t{pool_->shape().page_bytes()} * static_cast<uint64_t>(pages_held_);
}

uint64_t SequenceCache::kv_bytes_f16() const {
  return uint64_t{pool_->shape().page_bytes_f16()} * static_cast<uint64_t>(pages_held_);
}

}  // namespace infer::kv
