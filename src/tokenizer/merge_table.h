// The merges of a BPE vocabulary by the ids of the two tokens: open addressing, at most two thirds full.
// Thread safety: const lookups are shared freely.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "tokenizer/symbol_merger.h"
#include "tokenizer/text_hash.h"

namespace infer::tokenizer {

class MergeTable {
 public:
  void reserve(size_t merges) {
    slots_.assign(std::bit_ceil(merges + merges / 2 + 2), Slot{});
    mask_ = slots_.size() - 1;
  }

  // The first merge inserted for a pair stays. At most as many calls as were reserved for.
  void insert(TokenId left, TokenId right, Merge merge) {
    Slot& slot = slots_[slot_of(key_of(left, right))];
    if (slot.key == kFree) slot = {key_of(left, right), merge};
  }

  Merge find(TokenId left, TokenId right) const { return slots_[slot_of(key_of(left, right))].merge; }

  // Asks the memory for what find() will read: the table of a large vocabulary does not fit into the near caches.
  void prefetch(TokenId left, TokenId right) const {
    __builtin_prefetch(&slots_[static_cast<size_t>(hash_mix(0, key_of(left, right))) & mask_]);
  }

 private:
  static constexpr uint64_t kFree = UINT64_MAX;  // The pair (kNoToken, kNoToken), which nobody inserts.

  struct Slot {
    uint64_t key = kFree;
    Merge merge{0, kNoToken};
  };

  static uint64_t key_of(TokenId left, TokenId right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const {
    size_t at = static_cast<size_t>(hash_mix(0, key)) & mask_;
    while (slots_[at].key != kFree && slots_[at].key != key) at = (at + 1) & mask_;
    return at;
  }

  std::vector<Slot> slots_;
  size_t mask_ = 0;
};

}  // namespace infer::tokenizer
