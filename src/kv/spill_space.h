// Which parts of a spill file are taken: slots of a few sizes, in extents that each hold slots of one size.
//
// An extent is what room on the disk is asked for and given back by. Slots are taken lowest first, so that what is
// written together lies together, and whole extents become free. One empty extent is kept for the next that is needed.
// Invariants (check_integrity): a slot is free or taken; an extent with a taken slot has a size and its counts agree.
// Thread safety: one thread (the engine's).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace infer::kv {

using SpillSlot = uint32_t;

class SpillSpace {
 public:
  static constexpr size_t kBlockBytes = 4096;  // Slots start and end at multiples: no other slot shares their blocks.

  // extent_bytes is a multiple of kBlockBytes and holds at least one slot of each size; extents_max > 0.
  SpillSpace(std::span<const size_t> slot_bytes, size_t extent_bytes, uint32_t extents_max);

  size_t extent_bytes() const { return extent_bytes_; }
  uint32_t slots_max() const { return static_cast<uint32_t>(extents_.size()) * extent_slots_max_; }
  uint32_t taken_slots() const { return taken_; }
  uint32_t extents_held() const { return extents_held_; }  // Those that have room on the disk, or are about to.

  // A slot of size number `size`, or nullopt when all are taken. Without may_grow only from extents that were proved.
  std::optional<SpillSlot> take(size_t size, bool may_grow);
  void give_back(SpillSlot slot);
  // Something was written into the slot's extent: its room is there.
  void prove(SpillSlot slot) { extents_[extent_of(slot)].proved = true; }
  bool is_proved(SpillSlot slot) const { return extents_[extent_of(slot)].proved; }

  bool is_taken(SpillSlot slot) const;
  uint32_t extent_of(SpillSlot slot) const { return slot / extent_slots_max_; }
  uint64_t offset(SpillSlot slot) const;
  size_t bytes(SpillSlot slot) const;   // Of its content.
  size_t stride(SpillSlot slot) const;  // With what fills it up.
  size_t stride_of_size(size_t size) const { return strides_[size]; }

  // An extent whose room should go back to the disk; it can be taken again after end_release().
  std::optional<uint32_t> begin_release();
  void end_release(uint32_t extent);

  bool check_integrity() const;

 private:
  enum class State : uint8_t { kFree, kEmpty, kUsed, kReleasing };
  struct Extent {
    State state = State::kFree;
    bool proved = false;  // Room on the disk is there.
    size_t size = 0;
    uint32_t taken = 0;
  };
  // Sets of extents, lowest first.
  class Set {
   public:
    void put(size_t at);
    void remove(size_t at) { words_[at / 64] &= ~(uint64_t{1} << at % 64); }
    bool has(size_t at) const { return at / 64 < words_.size() && (words_[at / 64] >> at % 64 & 1) != 0; }
    std::optional<uint32_t> next(size_t from) const;

   private:
    std::vector<uint64_t> words_;
  };

  uint32_t slots_of_size(size_t size) const { return static_cast<uint32_t>(extent_bytes_ / strides_[size]); }
  std::optional<uint32_t> find_extent(size_t size, bool may_grow);
  std::optional<uint32_t> open_extent(size_t size, bool may_grow);
  SpillSlot take_in(uint32_t extent);

  std::vector<size_t> slot_bytes_, strides_;
  size_t extent_bytes_;
  uint32_t extents_max_;
  uint32_t extent_slots_max_;  // Of the smallest size: slot numbers are extent * this + index.
  std::vector<Extent> extents_;
  std::vector<Set> with_room_;  // Of each size: used extents with a free slot.
  Set free_, empty_;
  std::vector<uint64_t> taken_bits_;  // [extents][words_of_extent_]
  size_t words_of_extent_;
  uint32_t taken_ = 0;
  uint32_t extents_held_ = 0;
  uint32_t empty_extents_ = 0;
};

}  // namespace infer::kv
