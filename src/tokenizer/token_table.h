// Finds tokens by their bytes: an open-addressing table of ids; the bytes stay with the owner.
//
// Invariants: at most half full, so probes are short; the first id inserted for some bytes is the one found.
// Thread safety: const lookups are shared freely.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "tokenizer/text_hash.h"

namespace infer::tokenizer {

class TokenTable {
 public:
  void reserve(size_t tokens) {
    slots_.assign(std::bit_ceil(tokens * 2 + 2), Slot{});
    mask_ = slots_.size() - 1;
  }

  // bytes_of(id) gives the bytes of an id already inserted. At most as many calls as were reserved for.
  template <class BytesOf>
  bool insert(std::string_view bytes, TokenId id, const BytesOf& bytes_of) {
    Slot& slot = slots_[slot_of(bytes, bytes_of)];
    if (slot.id != kNoToken) return false;
    slot = {static_cast<uint32_t>(hash_text(bytes) >> 32), id};
    return true;
  }

  template <class BytesOf>
  TokenId find(std::string_view bytes, const BytesOf& bytes_of) const {
    return slots_[slot_of(bytes, bytes_of)].id;
  }

 private:
  struct Slot {
    uint32_t tag = 0;  // The upper half of the hash; the lower half chooses the slot.
    TokenId id = kNoToken;
  };

  template <class BytesOf>
  size_t slot_of(std::string_view bytes, const BytesOf& bytes_of) const {
    const uint64_t hash = hash_text(bytes);
    const auto tag = static_cast<uint32_t>(hash >> 32);
    size_t at = static_cast<size_t>(hash) & mask_;
    while (slots_[at].id != kNoToken && (slots_[at].tag != tag || bytes_of(slots_[at].id) != bytes)) {
      at = (at + 1) & mask_;
    }
    return at;
  }

  std::vector<Slot> slots_;
  size_t mask_ = 0;
};

}  // namespace infer::tokenizer
