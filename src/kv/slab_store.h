// Slabs of one size from reserved address space: memory is used from a slab's first use on and given back to the
// system once slabs are free.
//
// The free slab with the lowest address is taken first, so that what is in use stays together and whole pages of the
// system become free.
// Invariants (check_integrity): each slab is free or taken; the counts agree.
// Ownership: owns the memory; move-only. Thread safety: one thread (the engine's).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "os/page_memory.h"

namespace infer::kv {

class SlabStore {
 public:
  // slab_bytes a multiple of 64. kExhausted when the system refuses the address space.
  static Result<SlabStore> make(size_t slab_bytes, int slabs);

  size_t slab_bytes() const { return slab_bytes_; }
  int slabs() const { return slabs_; }
  int free_slabs() const { return free_; }

  // A slab with undefined content, 64-byte aligned, or nullptr when all are taken.
  std::byte* take();
  // `slab` came from take() and was not given back since.
  void give_back(const std::byte* slab);

  bool check_integrity() const;

 private:
  SlabStore(size_t slab_bytes, int slabs, os::PageMemory memory);
  bool is_free(size_t slab) const { return (free_bits_[slab / 64] >> slab % 64 & 1) != 0; }
  void release_around(size_t slab);

  size_t slab_bytes_;
  int slabs_;
  int free_;
  os::PageMemory memory_;
  std::vector<uint64_t> free_bits_;  // A set bit is a free slab.
  size_t first_word_ = 0;            // No word before it has a free slab.
};

}  // namespace infer::kv
