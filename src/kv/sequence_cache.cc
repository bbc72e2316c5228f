#include "kv/sequence_cache.h"

#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "kernels/kernel_table.h"

namespace infer::kv {

SequenceCache::SequenceCache(PagePool& pool, int layers, int context)
    : pool_(&pool), layers_(layers), context_(context) {
  INFER_CHECK(layers > 0 && context > 0);
  tables_.resize(static_cast<size_t>(layers) * static_cast<size_t>(pages_for_tokens(context)));
}

SequenceCache::SequenceCache(SequenceCache&& other) noexcept
    : pool_(other.pool_),
      layers_(other.layers_),
      context_(other.context_),
      length_(std::exchange(other.length_, 0)),
      pages_held_(std::exchange(other.pages_held_, 0)),
      tables_(std::move(other.tables_)) {}

SequenceCache& SequenceCache::operator=(SequenceCache&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(layers_, other.layers_);
  std::swap(context_, other.context_);
  std::swap(length_, other.length_);
  std::swap(pages_held_, other.pages_held_);
  std::swap(tables_, other.tables_);
  return *this;
}

SequenceCache::~SequenceCache() { give_back_pages(0); }

int SequenceCache::reserved() const {
  const int64_t tokens = int64_t{pages_held_} * kernels::kPageTokens;
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
  if (pages_needed <= pages_held_) return {};
  const int64_t missing = int64_t{pages_needed - pages_held_} * layers_;
  if (missing > pool_->free_pages()) {
    return Error{
        ErrorCode::kExhausted,
        format("the KV cache needs {} more pages for {} tokens, but {} of {} are free: end another sequence or "
               "give the cache more memory",
               missing, length_ + tokens, pool_->free_pages(), pool_->pages_max())};
  }
  const size_t stride = static_cast<size_t>(pages_for_tokens(context_));
  for (; pages_held_ < pages_needed; ++pages_held_) {
    for (int layer = 0; layer < layers_; ++layer) {
      tables_[static_cast<size_t>(layer) * stride + static_cast<size_t>(pages_held_)] = pool_->take();
    }
  }
  return {};
}

void SequenceCache::commit(int tokens) {
  INFER_CHECK(tokens >= 0 && tokens <= reserved() - length_);
  length_ += tokens;
}

void SequenceCache::truncate(int length) {
  INFER_CHECK(length >= 0 && length <= length_);
  length_ = length;
  give_back_pages(pages_for_tokens(length));
}

void SequenceCache::give_back_pages(int pages_kept) {
  const size_t stride = static_cast<size_t>(pages_for_tokens(context_));
  // Last taken first, so that the pool hands them out in the same order again.
  for (; pages_held_ > pages_kept; --pages_held_) {
    for (int layer = layers_ - 1; layer >= 0; --layer) {
      pool_->give_back(tables_[static_cast<size_t>(layer) * stride + static_cast<size_t>(pages_held_ - 1)]);
    }
  }
}

std::span<std::byte* const> SequenceCache::pages(int layer) const {
  INFER_CHECK(layer >= 0 && layer < layers_);
  const size_t stride = static_cast<size_t>(pages_for_tokens(context_));
  return std::span(tables_).subspan(static_cast<size_t>(layer) * stride, static_cast<size_t>(pages_held_));
}

uint64_t SequenceCache::kv_bytes() const {
  return uint64_t{pool_->shape().page_bytes()} * static_cast<uint64_t>(layers_) * static_cast<uint64_t>(pages_held_);
}

uint64_t SequenceCache::kv_bytes_f16() const {
  return uint64_t{pool_->shape().page_bytes_f16()} * static_cast<uint64_t>(layers_) *
         static_cast<uint64_t>(pages_held_);
}

}  // namespace infer::kv
