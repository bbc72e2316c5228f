#include "kv/page_pool.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "kernels/panels.h"
#include "kv/page_digest.h"

namespace infer::kv {

namespace {

// Far above any model; keeps every product below in range.
constexpr int kKvHeadsMax = 1 << 16;

}  // namespace

size_t PageShape::page_bytes(Level level) const {
  const auto heads = static_cast<size_t>(kv_heads);
  switch (level) {
    case Level::k16: return heads * (floats ? kernels::kv_float_page_bytes : kernels::kv_page_bytes)(head_dim);
    case Level::k8: return heads * (kernels::kv_high_bytes(head_dim) + kernels::kv_low_bytes(head_dim));
    case Level::k4: return heads * kernels::kv_high_bytes(head_dim);
    case Level::kEvicted: return (heads * page_digest_bytes(head_dim) + 63) / 64 * 64;
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
  INFER_ASSIGN(SlabStore full, SlabStore::make(shape.page_bytes(Level::k16), pages_max));
  INFER_ASSIGN(SlabStore high, SlabStore::make(heads * kernels::kv_high_bytes(shape.head_dim), pages_max));
  INFER_ASSIGN(SlabStore low, SlabStore::make(heads * kernels::kv_low_bytes(shape.head_dim), pages_max));
  INFER_ASSIGN(SlabStore digests, SlabStore::make(shape.page_bytes(Level::kEvicted), pages_max));
  return std::unique_ptr<PagePool>(
      new PagePool(shape, pages_max, std::move(full), std::move(high), std::move(low), std::move(digests)));
}

PagePool::PagePool(const PageShape& shape, int pages_max, SlabStore full, SlabStore high, SlabStore low,
                   SlabStore digests)
    : shape_(shape),
      full_(std::move(full)),
      high_(std::move(high)),
      low_(std::move(low)),
      digests_(std::move(digests)),
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
  return taken(full_) + taken(high_) + taken(low_) + taken(digests_);
}

PageId PagePool::take(Level level) {
  INFER_CHECK(level != Level::kEvicted);
  if (free_.empty()) return kNoPage;
  const PageId page = free_.back();
  free_.pop_back();
  Page& entry = pages_[static_cast<size_t>(page)];
  if (level == Level::k16) entry.full = full_.take();
  if (level != Level::k16) entry.high = high_.take();
  if (level == Level::k8) entry.low = low_.take();
  entry.users = 1;
  entry.level = level;
  ++at_levels_[static_cast<size_t>(level)];
  return page;
}

size_t PagePool::copy_out(PageId page, std::byte* to) const {
  const Page& entry = at(page);
  INFER_CHECK(entry.level != Level::kEvicted);
  size_t bytes = 0;
  const auto copy = [&](const SlabStore& store, const std::byte* slab) {
    std::memcpy(to + bytes, slab, store.slab_bytes());
    bytes += store.slab_bytes();
  };
  if (entry.level == Level::k16) copy(full_, entry.full);
  if (entry.level != Level::k16) copy(high_, entry.high);
  if (entry.level == Level::k8) copy(low_, entry.low);
  return bytes;
}

size_t PagePool::copy_in(PageId page, const std::byte* from) {
  const Page& entry = at(page);
  INFER_CHECK(entry.level != Level::kEvicted);
  size_t bytes = 0;
  const auto copy = [&](const SlabStore& store, std::byte* slab) {
    std::memcpy(slab, from + bytes, store.slab_bytes());
    bytes += store.slab_bytes();
  };
  if (entry.level == Level::k16) copy(full_, entry.full);
  if (entry.level != Level::k16) copy(high_, entry.high);
  if (entry.level == Level::k8) copy(low_, entry.low);
  return bytes;
}

void PagePool::share(PageId page) { ++at(page).users; }

void PagePool::keep(PageId page) {
  share(page);
  ++at(page).keepers;
}

void PagePool::stop_keeping(PageId page) {
  --at(page).keepers;
  give_back(page);
}

void PagePool::give_back(PageId page) {
  Page& entry = at(page);
  if (--entry.users > 0) return;
  if (entry.ticket) spill_->cancel(*std::exchange(entry.ticket, std::nullopt));
  drop_copy(entry.high_slot);
  drop_copy(entry.low_slot);
  drop(full_, entry.full);
  drop(high_, entry.high);
  drop(low_, entry.low);
  drop(digests_, entry.digest);
  --at_levels_[static_cast<size_t>(entry.level)];
  entry = {};
  free_.push_back(page);
}

void PagePool::set_level(Page& page, Level level) {
  --at_levels_[static_cast<size_t>(page.level)];
  ++at_levels_[static_cast<size_t>(level)];
  page.level = level;
}

void PagePool::drop(SlabStore& store, std::byte*& slab) {
  if (slab != nullptr) store.give_back(slab);
  slab = nullptr;
}

void PagePool::drop_copy(std::optional<SpillSlot>& slot) {
  if (slot) spill_->give_back(*std::exchange(slot, std::nullopt));
}

kernels::AttentionPage PagePool::part(PageId page, int kv_head) const { return part_at(page, kv_head, level(page)); }

kernels::AttentionPage PagePool::part_at(PageId page, int kv_head, Level level) const {
  const Page& entry = at(page);
  const auto head = static_cast<size_t>(kv_head);
  const kernels::PartStride stride = part_stride();
  switch (level) {
    case Level::k16: {
      std::byte* const whole = entry.full + head * whole_part_bytes();
      return shape_.floats ? kernels::AttentionPage{nullptr, nullptr, nullptr, whole}
                           : kernels::AttentionPage{whole, nullptr, nullptr};
    }
    case Level::k8: return {nullptr, entry.high + head * stride.high, entry.low + head * stride.low};
    case Level::k4: return {nullptr, entry.high + head * stride.high, nullptr};
    case Level::kEvicted: return {};
  }
  return {};
}

std::byte* PagePool::writable_part(PageId page, int kv_head) {
  const Page& entry = at(page);
  INFER_CHECK(entry.level == Level::k16);
  return entry.full + static_cast<size_t>(kv_head) * whole_part_bytes();
}

void PagePool::make_planes(PageId page, const kernels::KernelTable& kernels) {
  Page& entry = at(page);
  INFER_CHECK(entry.level == Level::k16);
  if (entry.high != nullptr) return;
  entry.high = high_.take();
  entry.low = low_.take();
  for (int head = 0; head < shape_.kv_heads; ++head) {
    const auto index = static_cast<size_t>(head);
    const auto make = shape_.floats ? kernels.make_planes_of_floats : kernels.make_planes;
    make(entry.full + index * whole_part_bytes(), shape_.head_dim,
         entry.high + index * kernels::kv_high_bytes(shape_.head_dim),
         entry.low + index * kernels::kv_low_bytes(shape_.head_dim));
  }
}

const std::byte* PagePool::digest(PageId page, int kv_head) const {
  return at(page).digest + static_cast<size_t>(kv_head) * page_digest_bytes(shape_.head_dim);
}

void PagePool::drop_planes(PageId page) {
  Page& entry = at(page);
  INFER_CHECK(entry.level == Level::k16);
  drop(high_, entry.high);
  drop(low_, entry.low);
}

// ---- Moves.

Level PagePool::highest(PageId page) const {
  const Page& entry = at(page);
  if (entry.level <= Level::k8 || entry.low_slot) return std::min(entry.level, Level::k8);
  return entry.level == Level::kEvicted && !entry.high_slot ? Level::kEvicted : Level::k4;
}

bool PagePool::disk_is_good() const { return spill_ != nullptr && spill_->health().state == SpillState::kHealthy; }

void PagePool::move(PageId page, Level level, bool may_lose, Instant now) {
  Page& entry = at(page);
  if (entry.ticket || entry.level == level || entry.pins > 0) return;
  if (level < entry.level) {
    if (entry.level == Level::k4 && entry.low_slot) come_back(page, false);
    if (entry.level == Level::kEvicted && entry.high_slot) come_back(page, true);
    return;
  }
  switch (entry.level) {
    case Level::k16:
      INFER_CHECK(entry.high != nullptr);
      drop(full_, entry.full);
      set_level(entry, Level::k8);
      ++counters_.lowered;
      return;
    case Level::k8: return leave(page, false, true, now);
    case Level::k4: return leave(page, true, may_lose, now);
    case Level::kEvicted: return;
  }
}

// A plane shall leave memory: at once where the disk has it already or there is no disk to wait for.
void PagePool::leave(PageId id, bool high, bool may_lose, Instant now) {
  Page& page = at(id);
  if (high ? page.high_slot : page.low_slot) return end_leaving(page, high);
  if (spill_ != nullptr) {
    const size_t bytes = (high ? high_ : low_).slab_bytes();
    page.ticket = spill_->start_write({high ? page.high : page.low, bytes}, tag_of(id, high), now);
    // Too much is under way: the next move will be taken.
    if (page.ticket || disk_is_good()) return;
  }
  if (!may_lose) return;
  ++(high ? counters_.pages_lost : counters_.planes_dropped);
  end_leaving(page, high);
}

void PagePool::end_leaving(Page& page, bool high) {
  if (high) {
    page.digest = digests_.take();
    for (int head = 0; head < shape_.kv_heads; ++head) {
      const auto index = static_cast<size_t>(head);
      make_page_digest({nullptr, page.high + index * kernels::kv_high_bytes(shape_.head_dim), nullptr}, shape_.head_dim,
                       page.digest + index * page_digest_bytes(shape_.head_dim));
    }
  }
  drop(high ? high_ : low_, high ? page.high : page.low);
  set_level(page, high ? Level::kEvicted : Level::k4);
  ++(high ? counters_.evicted : counters_.lowered);
}

void PagePool::come_back(PageId id, bool high) {
  Page& page = at(id);
  page.ticket = spill_->start_read(high ? *page.high_slot : *page.low_slot, tag_of(id, high));
}

void PagePool::poll(Instant now) {
  if (spill_ == nullptr) return;
  for (const SpillCompletion& done : spill_->poll(now)) end_transfer(done);
}

void PagePool::end_transfer(const SpillCompletion& done) {
  Page& page = at(static_cast<PageId>(done.tag / 2));
  const bool high = done.tag % 2 != 0;
  INFER_CHECK(page.ticket == done.ticket);
  page.ticket.reset();
  std::optional<SpillSlot>& slot = high ? page.high_slot : page.low_slot;
  if (done.kind == TransferKind::kWrite) {
    if (!*done.status) return;  // The plane is still there; what becomes of it is for the next move to say.
    slot = done.slot;
    return end_leaving(page, high);
  }
  if (!*done.status) {  // The copy is no good: the page has what is in memory, and no more.
    drop_copy(slot);
    ++(high ? counters_.pages_lost : counters_.planes_dropped);
    return;
  }
  std::byte*& slab = high ? page.high : page.low;
  slab = (high ? high_ : low_).take();
  std::memcpy(slab, done.bytes.data(), done.bytes.size());
  drop(digests_, page.digest);
  set_level(page, high ? Level::k4 : Level::k8);
  ++(high ? counters_.recalled : counters_.raised);
}

bool PagePool::check_integrity() const {
  for (const SlabStore* store : {&full_, &high_, &low_, &digests_}) {
    if (!store->check_integrity()) return false;
  }
  std::vector<uint8_t> listed(pages_.size());
  for (const PageId page : free_) {
    if (page < 0 || page >= pages_max() || listed[static_cast<size_t>(page)]++ != 0) return false;
  }
  int full = 0, high = 0, low = 0, digests = 0;
  std::array<int, kLevelCount> at_levels{};
  for (size_t i = 0; i < pages_.size(); ++i) {
    const Page& page = pages_[i];
    if ((page.users > 0) == (listed[i] != 0) || page.keepers < 0 || page.keepers > page.users) return false;
    const bool taken = page.users > 0;
    const Level level = page.level;
    at_levels[static_cast<size_t>(level)] += taken ? 1 : 0;
    if ((page.full != nullptr) != (taken && level == Level::k16)) return false;
    const bool planes = page.high != nullptr && page.low != nullptr;
    if (level == Level::k16 && planes != (page.high != nullptr || page.low != nullptr)) return false;
    if (level != Level::k16 && (page.high != nullptr) != (level != Level::kEvicted)) return false;
    if (level != Level::k16 && (page.low != nullptr) != (level == Level::k8)) return false;
    if (!taken && (page.high_slot || page.low_slot || page.ticket)) return false;
    if ((page.digest != nullptr) != (taken && level == Level::kEvicted)) return false;
    full += page.full != nullptr, high += page.high != nullptr, low += page.low != nullptr;
    digests += page.digest != nullptr;
  }
  const auto agrees = [](const SlabStore& store, int taken) { return store.slabs() - store.free_slabs() == taken; };
  return at_levels == at_levels_ && agrees(full_, full) && agrees(high_, high) && agrees(low_, low) &&
         agrees(digests_, digests);
}

}  // namespace infer::kv
