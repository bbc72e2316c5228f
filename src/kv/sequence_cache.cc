#include "kv/sequence_cache.h"

#include <algorithm>
#include <cstring>
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

SequenceCache::SequenceCache(PagePool& pool, std::span<const int> windows, int context, const LevelModel* levels)
    : pool_(&pool), context_(context) {
  INFER_CHECK(!windows.empty() && context > 0);
  layers_.reserve(windows.size());
  for (const int window : windows) layers_.push_back({window, 0});
  tables_.assign(layers_.size() * static_cast<size_t>(pages_for_tokens(context)), kNoPage);
  if (levels != nullptr) {
    levels_ = std::make_unique<SequenceLevels>(pool, windows, pages_for_tokens(context), *levels);
  }
}

SequenceCache::SequenceCache(SequenceCache&& other) noexcept
    : pool_(other.pool_),
      layers_(std::move(other.layers_)),
      context_(other.context_),
      length_(std::exchange(other.length_, 0)),
      mark_(std::exchange(other.mark_, 0)),
      levels_(std::move(other.levels_)),
      pages_end_(std::exchange(other.pages_end_, 0)),
      pages_held_(std::exchange(other.pages_held_, 0)),
      tables_(std::move(other.tables_)) {}

SequenceCache& SequenceCache::operator=(SequenceCache&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(layers_, other.layers_);
  std::swap(context_, other.context_);
  std::swap(length_, other.length_);
  std::swap(mark_, other.mark_);
  std::swap(levels_, other.levels_);
  std::swap(pages_end_, other.pages_end_);
  std::swap(pages_held_, other.pages_held_);
  std::swap(tables_, other.tables_);
  return *this;
}

SequenceCache::~SequenceCache() {
  pin_mark(false);
  give_back_pages(0);
}

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
  const int new_pages = std::max(0, pages_needed - pages_end_);
  const bool copy = tokens > 0 && last_page_is_shared();
  const int64_t missing = int64_t{new_pages + (copy ? 1 : 0)} * layers();
  if (missing > pool_->free_pages()) {
    return Error{
        ErrorCode::kExhausted,
        format("the KV cache needs {} more pages for {} tokens, but {} of {} are free: end another sequence or "
               "give the cache more memory",
               missing, length_ + tokens, pool_->free_pages(), pool_->pages_max())};
  }
  if (copy) copy_last_pages();
  if (tokens > 0 && length_ % kernels::kPageTokens != 0) {
    for (int layer = 0; layer < layers(); ++layer)
      pool_->drop_planes(page(static_cast<size_t>(layer), length_ / kernels::kPageTokens));
  }
  for (; pages_end_ < pages_needed; ++pages_end_) {
    for (size_t layer = 0; layer < layers_.size(); ++layer) page(layer, pages_end_) = pool_->take();
  }
  pages_held_ += int64_t{new_pages} * layers();
  return {};
}

// All layers are alike.
bool SequenceCache::last_page_is_shared() const {
  const auto index = static_cast<size_t>(length_ / kernels::kPageTokens);
  return length_ % kernels::kPageTokens != 0 && pool_->users(pages(0)[index]) > 1;
}

// The page that length() is in becomes this sequence's own, in all layers. The pool has enough pages.
void SequenceCache::copy_last_pages() {
  const bool marked =
      mark_ % kernels::kPageTokens != 0 && mark_ / kernels::kPageTokens == length_ / kernels::kPageTokens;
  if (marked) pin_mark(false);
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    PageId& shared = page(layer, length_ / kernels::kPageTokens);
    const PageId own = pool_->take();
    INFER_CHECK(pool_->level(shared) == Level::k16);
    pool_->copy_out(shared, pool_->writable_part(own, 0));
    pool_->give_back(shared);
    shared = own;
  }
  if (marked) pin_mark(true);
}

void SequenceCache::commit(int tokens) {
  INFER_CHECK(tokens >= 0 && tokens <= reserved() - length_);
  length_ += tokens;
  leave_windows();
}

int SequenceCache::truncate(int length) {
  INFER_CHECK(length >= 0 && length <= length_ && can_truncate(length));
  const int last = length / kernels::kPageTokens;
  if (length % kernels::kPageTokens != 0 && length != length_ && length != mark_) {
    for (int layer = 0; layer < layers(); ++layer) {
      const PageId id = pages(layer)[static_cast<size_t>(last)];
      if (pool_->level(id) != Level::k16 || pool_->users(id) > 1) length = last * kernels::kPageTokens;
    }
  }
  length_ = length;
  if (length < mark_) {
    pin_mark(false);
    mark_ = length;
    pin_mark(true);
  }
  give_back_pages(pages_for_tokens(length));
  if (levels_) levels_->forget_from(length / kernels::kPageTokens);
  return length_;
}

SequenceCache SequenceCache::fork() const {
  std::vector<int> windows;
  for (const Layer& layer : layers_) windows.push_back(layer.window);
  SequenceCache copy(*pool_, windows, context_);
  copy.length_ = length_;
  if (levels_) copy.levels_ = std::make_unique<SequenceLevels>(*levels_);
  for (; copy.pages_end_ < pages_for_tokens(length_); ++copy.pages_end_) {
    for (size_t layer = 0; layer < layers_.size(); ++layer) {
      const PageId shared = pages(static_cast<int>(layer))[static_cast<size_t>(copy.pages_end_)];
      if (shared == kNoPage) continue;
      pool_->share(shared);
      copy.page(layer, copy.pages_end_) = shared;
      ++copy.pages_held_;
    }
  }
  return copy;
}

void SequenceCache::append_shared(std::span<const PageId> pages) {
  INFER_CHECK(pages.size() == layers_.size() && length_ % kernels::kPageTokens == 0);
  INFER_CHECK(pages_end_ == length_ / kernels::kPageTokens && length_ + kernels::kPageTokens <= context_);
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    page(layer, pages_end_) = pages[layer];
    if (pages[layer] == kNoPage) continue;
    pool_->share(pages[layer]);
    ++pages_held_;
  }
  ++pages_end_;
  length_ += kernels::kPageTokens;
  leave_windows();
}

int SequenceCache::first_page(const Layer& layer, int length) {
  return layer.window == 0 ? 0 : std::max(0, length + 1 - layer.window) / kernels::kPageTokens;
}

bool SequenceCache::can_truncate(int length) const {
  for (int layer = 0; layer < layers(); ++layer) {
    const std::span<const PageId> table = pages(layer);
    const int last = pages_for_tokens(length);
    for (int i = first_page(layers_[static_cast<size_t>(layer)], length); i < last; ++i) {
      if (table[static_cast<size_t>(i)] == kNoPage) return false;
    }
  }
  return true;
}

// The page that the mark is in, if it is inside one, is kept as it is.
void SequenceCache::pin_mark(bool pin) {
  if (mark_ % kernels::kPageTokens == 0) return;
  for (int layer = 0; layer < layers(); ++layer) {
    const PageId id = pages(layer)[static_cast<size_t>(mark_ / kernels::kPageTokens)];
    if (id == kNoPage) continue;
    if (pin) {
      pool_->pin(id);
    } else {
      pool_->unpin(id);
    }
  }
}

void SequenceCache::set_mark() {
  pin_mark(false);
  mark_ = length_;
  pin_mark(true);
  for (Layer& layer : layers_) layer.looked_at = 0;
}

void SequenceCache::set_policy(const LevelPolicy& policy) {
  INFER_CHECK(levels_ || policy.mode == KvMode::kF16);
  if (levels_) levels_->set_policy(policy);
}

void SequenceCache::apply_policy(const kernels::KernelTable& kernels, Instant now) {
  if (!levels_) return;
  const PageTables tables{.ids = tables_,
                          .stride = static_cast<size_t>(pages_for_tokens(context_)),
                          .end = pages_end_,
                          .length = length_,
                          .mark = mark_};
  levels_->apply(tables, kernels, now);
}

void SequenceCache::release_reserved() {
  give_back_pages(pages_for_tokens(length_));
  if (levels_) levels_->discard_step();
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
      PageId& candidate = page(i, at);
      if (candidate == kNoPage || (at >= mark_begin && at < mark_end)) continue;
      pool_->give_back(std::exchange(candidate, kNoPage));
      --pages_held_;
    }
    layer.looked_at = std::max(layer.looked_at, end);
  }
}

void SequenceCache::give_back_pages(int pages_kept) {
  // Last taken first, so that the pool hands them out in the same order again.
  for (; pages_end_ > pages_kept; --pages_end_) {
    for (size_t layer = layers_.size(); layer > 0; --layer) {
      PageId& candidate = page(layer - 1, pages_end_ - 1);
      if (candidate == kNoPage) continue;
      pool_->give_back(std::exchange(candidate, kNoPage));
      --pages_held_;
    }
  }
  for (Layer& layer : layers_) layer.looked_at = std::min(layer.looked_at, pages_kept);
}

std::span<const PageId> SequenceCache::pages(int layer) const {
  INFER_CHECK(layer >= 0 && layer < layers());
  const size_t stride = static_cast<size_t>(pages_for_tokens(context_));
  return std::span(tables_).subspan(static_cast<size_t>(layer) * stride, static_cast<size_t>(pages_end_));
}

std::array<int, kLevelCount> SequenceCache::pages_at_levels(int layer) const {
  std::array<int, kLevelCount> counts{};
  for (const PageId id : pages(layer)) {
    if (id != kNoPage) ++counts[static_cast<size_t>(pool_->level(id))];
  }
  return counts;
}

std::array<int, kLevelCount> SequenceCache::pages_at_levels() const {
  std::array<int, kLevelCount> counts{};
  for (int layer = 0; layer < layers(); ++layer) {
    const std::array<int, kLevelCount> of_layer = pages_at_levels(layer);
    for (size_t level = 0; level < counts.size(); ++level) counts[level] += of_layer[level];
  }
  return counts;
}

uint64_t SequenceCache::kv_bytes() const {
  uint64_t bytes = 0;
  for (int layer = 0; layer < layers(); ++layer) {
    for (const PageId page : pages(layer)) {
      if (page != kNoPage) bytes += pool_->shape().page_bytes(pool_->level(page));
    }
  }
  return bytes;
}

uint64_t SequenceCache::kv_bytes_f16() const {
  return uint64_t{pool_->shape().page_bytes_f16()} * static_cast<uint64_t>(pages_held_);
}

}  // namespace infer::kv
