#include "kv/page_pool.h"

#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "kernels/panels.h"

namespace infer::kv {

namespace {

// Far above any model; keeps every product below in range.
constexpr int kKvHeadsMax = 1 << 16;

}  // namespace

size_t PageShape::page_bytes(Level level) const {
  const auto heads = static_cast<size_t>(kv_heads);
  switch (level) {
    case Level::k16: return heads * kernels::kv_page_bytes(head_dim);
    case Level::k8: return heads * (kernels::kv_high_bytes(head_dim) + kernels::kv_low_bytes(head_dim));
    case Level::k4: return heads * kernels::kv_high_bytes(head_dim);
  }
  return 0;
}

size_t PageShape::page_bytes_f16() const {
  return 2 * size_t{kernels::kPageTokens} * static_cast<size_t>(kv_heads) * static_cast<size_t>(head_dim) * 2;
}

int pages_for_tokens(int tokens) {
  INFER_CHECK(tokens >= 0);
  return tokens / kernels::kPageTokens + (tokens % kernels::kPageTokens != 0 ? 1 : 0);
}

uint64_t cache_bytes(const PageShape& shape, int layers, int tokens) {
  return uint64_t{shape.page_bytes(Level::k16)} * static_cast<uint64_t>(layers) *
         static_cast<uint64_t>(pages_for_tokens(tokens));
}

Result<std::unique_ptr<PagePool>> PagePool::make(const PageShape& shape, int pages_max) {
  if (shape.kv_heads < 1 || shape.kv_heads > kKvHeadsMax || shape.head_dim < 16 ||
      shape.head_dim > kernels::kHeadDimMax || shape.head_dim % 16 != 0) {
    return Error{
        ErrorCode::kInvalidArgument,
        format("{} KV heads of dimension {}: the dimension must be a multiple of 16 up to {}, the heads 1 to {}",
               shape.kv_heads, shape.head_dim, kernels::kHeadDimMax, kKvHeadsMax)};
  }
  const auto heads = static_cast<size_t>(shape.kv_heads);
  INFER_ASSIGN(SlabStore full, SlabStore::make(heads * kernels::kv_page_bytes(shape.head_dim), pages_max));
  INFER_ASSIGN(SlabStore high, SlabStore::make(heads * kernels::kv_high_bytes(shape.head_dim), pages_max));
  INFER_ASSIGN(SlabStore low, SlabStore::make(heads * kernels::kv_low_bytes(shape.head_dim), pages_max));
  return std::unique_ptr<PagePool>(new PagePool(shape, pages_max, std::move(full), std::move(high), std::move(low)));
}

PagePool::PagePool(const PageShape& shape, int pages_max, SlabStore full, SlabStore high, SlabStore low)
    : shape_(shape),
      full_(std::move(full)),
      high_(std::move(high)),
      low_(std::move(low)),
      pages_(static_cast<size_t>(pages_max)) {
  free_.reserve(pages_.size());
  for (PageId page = pages_max - 1; page >= 0; --page) free_.push_back(page);
}

PagePool::Page& PagePool::at(PageId page) {
  INFER_CHECK(page >= 0 && page < pages_max() && pages_[static_cast<size_t>(page)].users > 0);
  return pages_[static_cast<size_t>(page)];
}

const PagePool::Page& PagePool::at(PageId page) const { return const_cast<PagePool*>(this)->at(page); }

uint64_t PagePool::bytes() const {
  const auto taken = [](const SlabStore& store) {
    return uint64_t{store.slab_bytes()} * static_cast<uint64_t>(store.slabs() - store.free_slabs());
  };
  return taken(full_) + taken(high_) + taken(low_);
}

PageId PagePool::take() {
  if (free_.empty()) return kNoPage;
  const PageId page = free_.back();
  free_.pop_back();
  pages_[static_cast<size_t>(page)] = {.full = full_.take(), .users = 1};
  return page;
}

void PagePool::share(PageId page) { ++at(page).users; }

void PagePool::give_back(PageId page) {
  Page& entry = at(page);
  if (--entry.users > 0) return;
  drop(full_, entry.full);
  drop(high_, entry.high);
  drop(low_, entry.low);
  free_.push_back(page);
}

void PagePool::drop(SlabStore& store, std::byte*& slab) {
  if (slab != nullptr) store.give_back(slab);
  slab = nullptr;
}

kernels::AttentionPage PagePool::part(PageId page, int kv_head) const {
  const Page& entry = at(page);
  const auto head = static_cast<size_t>(kv_head);
  const auto within = [head](const std::byte* slab, size_t bytes) {
    return slab != nullptr ? slab + head * bytes : nullptr;
  };
  if (entry.level == Level::k16) return {within(entry.full, kernels::kv_page_bytes(shape_.head_dim)), nullptr, nullptr};
  return {nullptr, within(entry.high, kernels::kv_high_bytes(shape_.head_dim)),
          within(entry.low, kernels::kv_low_bytes(shape_.head_dim))};
}

std::byte* PagePool::writable_part(PageId page, int kv_head) {
  const Page& entry = at(page);
  INFER_CHECK(entry.level == Level::k16);
  return entry.full + static_cast<size_t>(kv_head) * kernels::kv_page_bytes(shape_.head_dim);
}

void PagePool::lower(PageId page, Level level, const kernels::KernelTable& kernels) {
  Page& entry = at(page);
  INFER_CHECK(level > entry.level);
  if (entry.level == Level::k16) {
    entry.high = high_.take();
    entry.low = low_.take();
    for (int head = 0; head < shape_.kv_heads; ++head) {
      const auto index = static_cast<size_t>(head);
      kernels.make_planes(entry.full + index * kernels::kv_page_bytes(shape_.head_dim), shape_.head_dim,
                          entry.high + index * kernels::kv_high_bytes(shape_.head_dim),
                          entry.low + index * kernels::kv_low_bytes(shape_.head_dim));
    }
    drop(full_, entry.full);
  }
  if (level == Level::k4) drop(low_, entry.low);
  entry.level = level;
}

bool PagePool::check_integrity() const {
  if (!full_.check_integrity() || !high_.check_integrity() || !low_.check_integrity()) return false;
  std::vector<uint8_t> listed(pages_.size());
  for (const PageId page : free_) {
    if (page < 0 || page >= pages_max() || listed[static_cast<size_t>(page)]++ != 0) return false;
  }
  int full = 0, high = 0, low = 0;
  for (size_t i = 0; i < pages_.size(); ++i) {
    const Page& page = pages_[i];
    if ((page.users > 0) == (listed[i] != 0)) return false;
    const bool taken = page.users > 0, lowered = taken && page.level != Level::k16;
    if ((page.full != nullptr) != (taken && !lowered) || (page.high != nullptr) != lowered) return false;
    if ((page.low != nullptr) != (taken && page.level == Level::k8)) return false;
    full += page.full != nullptr, high += page.high != nullptr, low += page.low != nullptr;
  }
  const auto agrees = [](const SlabStore& store, int taken) { return store.slabs() - store.free_slabs() == taken; };
  return agrees(full_, full) && agrees(high_, high) && agrees(low_, low);
}

}  // namespace infer::kv
