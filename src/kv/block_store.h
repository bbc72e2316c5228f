// Blocks of one size from reserved address space: memory is used from a block's first use on and given back to the
// system once blocks are free.
//
// The free block with the lowest address is taken first, so that what is in use stays together and whole pages of the
// system become free.
// Invariants (check_integrity): each block is free or taken; the counts agree.
// Ownership: owns the memory; move-only. Thread safety: one thread (the engine's).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "os/page_memory.h"

namespace infer::kv {

class BlockStore {
 public:
  // block_bytes a multiple of 64. kExhausted when the system refuses the address space.
  static Result<BlockStore> make(size_t block_bytes, int blocks);

  size_t block_bytes() const { return block_bytes_; }
  int blocks() const { return blocks_; }
  int free_blocks() const { return free_; }

  // A block with undefined content, 64-byte aligned, or nullptr when all are taken.
  std::byte* take();
  // `block` came from take() and was not given back since.
  void give_back(const std::byte* block);

  bool check_integrity() const;

 private:
  BlockStore(size_t block_bytes, int blocks, os::PageMemory memory);
  bool is_free(size_t block) const { return (free_bits_[block / 64] >> block % 64 & 1) != 0; }
  void release_around(size_t block);

  size_t block_bytes_;
  int blocks_;
  int free_;
  os::PageMemory memory_;
  std::vector<uint64_t> free_bits_;  // A set bit is a free block.
  size_t first_word_ = 0;            // No word before it has a free block.
};

}  // namespace infer::kv
