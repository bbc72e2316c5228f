#include "kv/slab_store.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/format.h"

namespace infer::kv {

Result<SlabStore> SlabStore::make(size_t slab_bytes, int slabs) {
  INFER_CHECK(slab_bytes > 0 && slab_bytes % 64 == 0);
  if (slabs < 1 || static_cast<size_t>(slabs) > std::numeric_limits<size_t>::max() / 2 / slab_bytes) {
    return Error{ErrorCode::kInvalidArgument,
                 format("{} KV pages of {} bytes: ask for a shorter context", slabs, slab_bytes)};
  }
  Result<os::PageMemory> memory = os::PageMemory::reserve(static_cast<size_t>(slabs) * slab_bytes);
  if (!memory) return std::move(memory).error().with_context(format("reserving {} KV pages", slabs));
  return SlabStore(slab_bytes, slabs, *std::move(memory));
}

SlabStore::SlabStore(size_t slab_bytes, int slabs, os::PageMemory memory)
    : slab_bytes_(slab_bytes), slabs_(slabs), free_(slabs), memory_(std::move(memory)) {
  const auto count = static_cast<size_t>(slabs);
  free_bits_.assign((count + 63) / 64, ~uint64_t{0});
  if (count % 64 != 0) free_bits_.back() = (uint64_t{1} << count % 64) - 1;
}

std::byte* SlabStore::take() {
  while (first_word_ < free_bits_.size() && free_bits_[first_word_] == 0) ++first_word_;
  if (first_word_ == free_bits_.size()) return nullptr;
  uint64_t& word = free_bits_[first_word_];
  const size_t slab = first_word_ * 64 + static_cast<size_t>(std::countr_zero(word));
  word &= word - 1;
  --free_;
  return memory_.data() + slab * slab_bytes_;
}

void SlabStore::give_back(const std::byte* slab) {
  const auto offset = static_cast<size_t>(slab - memory_.data());
  const size_t index = offset / slab_bytes_;
  INFER_CHECK(offset % slab_bytes_ == 0 && index < static_cast<size_t>(slabs_) && !is_free(index));
  free_bits_[index / 64] |= uint64_t{1} << index % 64;
  first_word_ = std::min(first_word_, index / 64);
  ++free_;
  release_around(index);
}

// Units of the system that a slab shares with others are released with the last of them.
void SlabStore::release_around(size_t slab) {
  const size_t unit = memory_.release_unit();
  const size_t last_unit = ((slab + 1) * slab_bytes_ - 1) / unit;
  for (size_t at = slab * slab_bytes_ / unit; at <= last_unit; ++at) {
    const size_t begin = at * unit, end = std::min(begin + unit, memory_.size());
    bool free = true;
    for (size_t other = begin / slab_bytes_; free && other * slab_bytes_ < end; ++other) free = is_free(other);
    if (free) memory_.release({memory_.data() + begin, end - begin});
  }
}

bool SlabStore::check_integrity() const {
  int free = 0;
  for (const uint64_t word : free_bits_) free += std::popcount(word);
  for (size_t i = 0; i < first_word_; ++i) {
    if (free_bits_[i] != 0) return false;
  }
  return free == free_;
}

}  // namespace infer::kv
