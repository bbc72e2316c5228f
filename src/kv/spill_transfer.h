// What the spill store hands to the disk thread, and what that does with it.
//
// A batch is sorted by place in the file; slots that follow each other are read or written in one call. When a call
// fails for several, each is tried alone, so that one bad place costs one slot.
// Thread safety: a Transfer belongs to one thread at a time, but for `cancelled`; a SpillDisk to the disk thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "os/block_file.h"

namespace infer::kv {

enum class TransferKind : uint8_t { kWrite, kRead, kRelease };

struct Transfer {
  TransferKind kind = TransferKind::kWrite;
  uint64_t offset = 0;
  size_t bytes = 0;             // Of content, at the beginning of `buffer`.
  std::span<std::byte> buffer;  // All of the slot.
  uint64_t checksum = 0;        // Of the content: written by a write, compared by a read.
  std::atomic<bool> cancelled = false;

  Status status;         // How it ended; kCorrupt: the checksum differs.
  bool skipped = false;  // It was cancelled before it began.
  uint32_t calls = 0;    // To the file, on behalf of this transfer and those that follow it in one call.
};

class SpillDisk {
 public:
  SpillDisk(os::BlockFile& file, std::span<Transfer> transfers, size_t extent_bytes, uint32_t extents_max,
            size_t batch_max);

  // Executes the transfers with these numbers.
  void run(std::span<const uint32_t> numbers);

 private:
  bool can_begin(Transfer& transfer);
  Status reserve(const Transfer& transfer);
  void release(Transfer& transfer);
  void run_neighbours(std::span<Transfer* const> run);
  Status move(std::span<Transfer* const> run);
  static void check_content(Transfer& transfer);

  os::BlockFile& file_;
  std::span<Transfer> transfers_;
  size_t extent_bytes_;
  std::vector<bool> reserved_;  // Extents that have room.
  std::vector<Transfer*> batch_;
  std::vector<std::span<std::byte>> read_parts_;
  std::vector<std::span<const std::byte>> write_parts_;
};

}  // namespace infer::kv
