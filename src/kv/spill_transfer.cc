#include "kv/spill_transfer.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "base/hash.h"

namespace infer::kv {

SpillDisk::SpillDisk(os::BlockFile& file, std::span<Transfer> transfers, size_t extent_bytes, uint32_t extents_max,
                     size_t batch_max)
    : file_(file), transfers_(transfers), extent_bytes_(extent_bytes), reserved_(extents_max) {
  batch_.reserve(batch_max);
  read_parts_.reserve(batch_max);
  write_parts_.reserve(batch_max);
}

void SpillDisk::run(std::span<const uint32_t> numbers) {
  batch_.clear();
  for (const uint32_t number : numbers) {
    Transfer& transfer = transfers_[number];
    if (can_begin(transfer)) batch_.push_back(&transfer);
  }
  std::sort(batch_.begin(), batch_.end(), [](const Transfer* a, const Transfer* b) {
    return std::pair(a->kind, a->offset) < std::pair(b->kind, b->offset);
  });
  for (size_t begin = 0, end = 0; begin < batch_.size(); begin = end) {
    for (end = begin + 1; end < batch_.size(); ++end) {
      const Transfer &last = *batch_[end - 1], &next = *batch_[end];
      if (next.kind != last.kind || next.offset != last.offset + last.buffer.size()) break;
    }
    run_neighbours(std::span(batch_).subspan(begin, end - begin));
  }
}

// Whether there is something to move, and room for it.
bool SpillDisk::can_begin(Transfer& transfer) {
  transfer.status = {};
  transfer.calls = 0;
  transfer.skipped = transfer.kind != TransferKind::kRelease && transfer.cancelled.load(std::memory_order_relaxed);
  if (transfer.skipped) return false;
  if (transfer.kind == TransferKind::kRelease) {
    release(transfer);
    return false;
  }
  if (transfer.kind == TransferKind::kRead) return true;
  transfer.status = reserve(transfer);
  if (!transfer.status) return false;
  std::fill(transfer.buffer.begin() + static_cast<ptrdiff_t>(transfer.bytes), transfer.buffer.end(), std::byte{0});
  transfer.checksum = hash_block(transfer.buffer.data(), transfer.bytes);
  return true;
}

Status SpillDisk::reserve(const Transfer& transfer) {
  const uint64_t extent = transfer.offset / extent_bytes_;
  if (reserved_[extent]) return {};
  Status status = file_.reserve(extent * extent_bytes_, extent_bytes_);
  if (status) {
    reserved_[extent] = true;
  } else {
    (void)file_.release(extent * extent_bytes_, extent_bytes_);  // Of what was there before space ran out.
  }
  return status;
}

void SpillDisk::release(Transfer& transfer) {
  (void)file_.release(transfer.offset, extent_bytes_);
  reserved_[transfer.offset / extent_bytes_] = false;
}

void SpillDisk::run_neighbours(std::span<Transfer* const> run) {
  Status status = move(run);
  run.front()->calls = 1;
  if (!status && run.size() > 1) {
    for (Transfer* const& transfer : run) {
      transfer->status = move({&transfer, 1});
      ++transfer->calls;
    }
  } else {
    run.front()->status = std::move(status);
  }
  for (Transfer* transfer : run) check_content(*transfer);
}

Status SpillDisk::move(std::span<Transfer* const> run) {
  if (run.front()->kind == TransferKind::kRead) {
    read_parts_.clear();
    for (const Transfer* transfer : run) read_parts_.push_back(transfer->buffer);
    return file_.read(run.front()->offset, read_parts_);
  }
  write_parts_.clear();
  for (const Transfer* transfer : run) write_parts_.push_back(transfer->buffer);
  return file_.write(run.front()->offset, write_parts_);
}

void SpillDisk::check_content(Transfer& transfer) {
  if (transfer.kind != TransferKind::kRead || !transfer.status) return;
  const uint64_t found = hash_block(transfer.buffer.data(), transfer.bytes);
  if (found == transfer.checksum) return;
  transfer.status = Error{ErrorCode::kCorrupt,
                          format("{} bytes at {} of the spill file are not those that were written (checksum {:016x}, "
                                 "not {:016x}): the disk may be failing",
                                 transfer.bytes, transfer.offset, found, transfer.checksum)};
}

}  // namespace infer::kv
