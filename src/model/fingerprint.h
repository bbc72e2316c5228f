// A hash over pieces; each piece's length counts, so that none can take from its neighbour.
// Thread safety: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/hash.h"

namespace infer::model {

class Fingerprint {
 public:
  void add(std::span<const std::byte> bytes) { hash_ = hash_block(bytes.data(), bytes.size(), hash_); }
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  void add_number(uint64_t number) { add(std::as_bytes(std::span(&number, 1))); }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = kHashSeed;
};

}  // namespace infer::model
