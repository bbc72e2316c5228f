#include "kv/spill_space.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace infer::kv {

void SpillSpace::Set::put(size_t at) {
  if (at / 64 >= words_.size()) words_.resize(at / 64 + 1);
  words_[at / 64] |= uint64_t{1} << at % 64;
}

std::optional<uint32_t> SpillSpace::Set::next(size_t from) const {
  for (size_t word = from / 64; word < words_.size(); ++word) {
    uint64_t bits = words_[word];
    if (word == from / 64) bits &= ~uint64_t{0} << from % 64;
    if (bits != 0) return static_cast<uint32_t>(word * 64 + static_cast<size_t>(std::countr_zero(bits)));
  }
  return std::nullopt;
}

SpillSpace::SpillSpace(std::span<const size_t> slot_bytes, size_t extent_bytes, uint32_t extents_max)
    : slot_bytes_(slot_bytes.begin(), slot_bytes.end()), extent_bytes_(extent_bytes), extents_max_(extents_max) {
  INFER_CHECK(!slot_bytes_.empty() && extent_bytes % kBlockBytes == 0 && extents_max > 0);
  for (const size_t bytes : slot_bytes_) {
    INFER_CHECK(bytes > 0 && bytes <= extent_bytes);
    strides_.push_back((bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes);
  }
  with_room_.resize(slot_bytes_.size());
  extent_slots_max_ = static_cast<uint32_t>(extent_bytes / *std::min_element(strides_.begin(), strides_.end()));
  INFER_CHECK(uint64_t{extents_max} * extent_slots_max_ <= UINT32_MAX);
  words_of_extent_ = (extent_slots_max_ + 63) / 64;
}

std::optional<SpillSlot> SpillSpace::take(size_t size, bool may_grow) {
  std::optional<uint32_t> extent = find_extent(size, may_grow);
  if (!extent) extent = open_extent(size, may_grow);
  if (!extent) return std::nullopt;
  return take_in(*extent);
}

std::optional<uint32_t> SpillSpace::find_extent(size_t size, bool may_grow) {
  std::optional<uint32_t> extent = with_room_[size].next(0);
  while (extent && !may_grow && !extents_[*extent].proved) extent = with_room_[size].next(*extent + 1);
  return extent;
}

// Gives an extent without a size this one. One that is on the disk already comes first.
std::optional<uint32_t> SpillSpace::open_extent(size_t size, bool may_grow) {
  std::optional<uint32_t> extent = empty_.next(0);
  if (extent) {
    empty_.remove(*extent);
    --empty_extents_;
  } else if (may_grow) {
    extent = free_.next(0);
    if (extent) {
      free_.remove(*extent);
    } else if (extents_.size() < extents_max_) {
      extent = static_cast<uint32_t>(extents_.size());
      extents_.emplace_back();
      taken_bits_.resize(taken_bits_.size() + words_of_extent_);
    }
    if (extent) ++extents_held_;
  }
  if (!extent) return std::nullopt;
  extents_[*extent].state = State::kUsed;
  extents_[*extent].size = size;
  with_room_[size].put(*extent);
  return extent;
}

SpillSlot SpillSpace::take_in(uint32_t extent) {
  Extent& entry = extents_[extent];
  const size_t first = extent * words_of_extent_;
  size_t word = first;
  while (taken_bits_[word] == ~uint64_t{0}) ++word;
  const int bit = std::countr_one(taken_bits_[word]);
  taken_bits_[word] |= uint64_t{1} << bit;
  const auto index = static_cast<uint32_t>((word - first) * 64) + static_cast<uint32_t>(bit);
  if (++entry.taken == slots_of_size(entry.size)) with_room_[entry.size].remove(extent);
  ++taken_;
  return extent * extent_slots_max_ + index;
}

void SpillSpace::give_back(SpillSlot slot) {
  INFER_CHECK(is_taken(slot));
  const uint32_t extent = extent_of(slot), index = slot % extent_slots_max_;
  Extent& entry = extents_[extent];
  taken_bits_[extent * words_of_extent_ + index / 64] &= ~(uint64_t{1} << index % 64);
  with_room_[entry.size].put(extent);
  --taken_;
  if (--entry.taken > 0) return;
  with_room_[entry.size].remove(extent);
  entry.state = entry.proved ? State::kEmpty : State::kFree;
  if (entry.proved) {
    empty_.put(extent);
    ++empty_extents_;
  } else {
    free_.put(extent);
    --extents_held_;
  }
}

bool SpillSpace::is_taken(SpillSlot slot) const {
  if (extent_of(slot) >= extents_.size()) return false;
  const uint32_t index = slot % extent_slots_max_;
  return (taken_bits_[extent_of(slot) * words_of_extent_ + index / 64] >> index % 64 & 1) != 0;
}

uint64_t SpillSpace::offset(SpillSlot slot) const {
  return uint64_t{extent_of(slot)} * extent_bytes_ + uint64_t{slot % extent_slots_max_} * stride(slot);
}

size_t SpillSpace::bytes(SpillSlot slot) const { return slot_bytes_[extents_[extent_of(slot)].size]; }
size_t SpillSpace::stride(SpillSlot slot) const { return strides_[extents_[extent_of(slot)].size]; }

std::optional<uint32_t> SpillSpace::begin_release() {
  if (empty_extents_ < 2) return std::nullopt;
  std::optional<uint32_t> last;  // Of the empty ones: what is in use stays together at the front.
  for (auto extent = empty_.next(0); extent; extent = empty_.next(*extent + 1)) last = extent;
  empty_.remove(*last);
  --empty_extents_;
  extents_[*last].state = State::kReleasing;
  return last;
}

void SpillSpace::end_release(uint32_t extent) {
  INFER_CHECK(extents_[extent].state == State::kReleasing);
  extents_[extent] = {};
  free_.put(extent);
  --extents_held_;
}

bool SpillSpace::check_integrity() const {
  uint32_t taken = 0, held = 0, empty = 0;
  for (uint32_t at = 0; at < extents_.size(); ++at) {
    const Extent& extent = extents_[at];
    uint32_t bits = 0;
    for (size_t word = 0; word < words_of_extent_; ++word) {
      bits += static_cast<uint32_t>(std::popcount(taken_bits_[at * words_of_extent_ + word]));
    }
    const bool used = extent.state == State::kUsed;
    if (bits != extent.taken || used != (bits > 0) || bits > slots_of_size(extent.size)) return false;
    if (used && with_room_[extent.size].has(at) != (bits < slots_of_size(extent.size))) return false;
    if (free_.has(at) != (extent.state == State::kFree) || empty_.has(at) != (extent.state == State::kEmpty)) {
      return false;
    }
    taken += bits;
    held += extent.state != State::kFree ? 1 : 0;
    empty += extent.state == State::kEmpty ? 1 : 0;
  }
  return taken == taken_ && held == extents_held_ && empty == empty_extents_;
}

}  // namespace infer::kv
