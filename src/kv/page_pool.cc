#include "kv/page_pool.h"

#include <limits>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "kernels/kernel_table.h"
#include "kernels/panels.h"

namespace infer::kv {

namespace {

// Far above any model; keeps every product below in range.
constexpr int kKvHeadsMax = 1 << 16;

}  // namespace

size_t PageShape::head_bytes() const { return kernels::kv_page_bytes(head_dim); }

size_t PageShape::page_bytes() const { return static_cast<size_t>(kv_heads) * head_bytes(); }

size_t PageShape::page_bytes_f16() const {
  return 2 * size_t{kernels::kPageTokens} * static_cast<size_t>(kv_heads) * static_cast<size_t>(head_dim) * 2;
}

int pages_for_tokens(int tokens) {
  INFER_CHECK(tokens >= 0);
  return tokens / kernels::kPageTokens + (tokens % kernels::kPageTokens != 0 ? 1 : 0);
}

uint64_t cache_bytes(const PageShape& shape, int layers, int tokens) {
  return uint64_t{shape.page_bytes()} * static_cast<uint64_t>(layers) * static_cast<uint64_t>(pages_for_tokens(tokens));
}

Result<std::unique_ptr<PagePool>> PagePool::make(const PageShape& shape, int pages_max) {
  if (shape.kv_heads < 1 || shape.kv_heads > kKvHeadsMax || shape.head_dim < 16 ||
      shape.head_dim > kernels::kHeadDimMax || shape.head_dim % 16 != 0) {
    return Error{
        ErrorCode::kInvalidArgument,
        format("{} KV heads of dimension {}: the dimension must be a multiple of 16 up to {}, the heads 1 to {}",
               shape.kv_heads, shape.head_dim, kernels::kHeadDimMax, kKvHeadsMax)};
  }
  if (pages_max < 1 || static_cast<size_t>(pages_max) > std::numeric_limits<size_t>::max() / 2 / shape.page_bytes()) {
    return Error{ErrorCode::kInvalidArgument,
                 format("{} KV pages of {} bytes: ask for a shorter context", pages_max, shape.page_bytes())};
  }
  Result<os::PageMemory> memory = os::PageMemory::allocate(static_cast<size_t>(pages_max) * shape.page_bytes());
  if (!memory) return std::move(memory).error().with_context(format("reserving {} KV pages", pages_max));
  return std::unique_ptr<PagePool>(new PagePool(shape, pages_max, *std::move(memory)));
}

PagePool::PagePool(const PageShape& shape, int pages_max, os::PageMemory memory)
    : shape_(shape), memory_(std::move(memory)), taken_(static_cast<size_t>(pages_max)) {
  free_.reserve(taken_.size());
  for (int page = pages_max - 1; page >= 0; --page) free_.push_back(page);
}

size_t PagePool::index_of(const std::byte* page) const {
  const auto offset = static_cast<size_t>(page - memory_.data());
  INFER_CHECK(offset % shape_.page_bytes() == 0 && offset / shape_.page_bytes() < taken_.size());
  return offset / shape_.page_bytes();
}

std::byte* PagePool::take() {
  if (free_.empty()) return nullptr;
  const auto index = static_cast<size_t>(free_.back());
  free_.pop_back();
  taken_[index] = 1;
  return memory_.data() + index * shape_.page_bytes();
}

void PagePool::give_back(std::byte* page) {
  const size_t index = index_of(page);
  INFER_CHECK(taken_[index] == 1);
  taken_[index] = 0;
  free_.push_back(static_cast<int>(index));
}

bool PagePool::check_integrity() const {
  std::vector<uint8_t> seen(taken_);
  for (const int page : free_) {
    const auto index = static_cast<size_t>(page);
    if (index >= seen.size() || seen[index] != 0) return false;  // Free and taken, or free twice.
    seen[index] = 1;
  }
  for (const uint8_t mark : seen) {
    if (mark != 1) return false;  // Neither free nor taken.
  }
  return true;
}

}  // namespace infer::kv
