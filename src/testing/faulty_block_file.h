// A disk for tests: a file in memory that can be made to fail, to be full, to return other bytes than were written, and
// to stand still.
// Thread safety: any thread; a FaultyDisk outlives the files that it is behind.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "base/format.h"
#include "os/block_file.h"

namespace infer::testing {

// What the test steers and looks at.
class FaultyDisk {
 public:
  enum class Fault { kNone, kError, kDamage };
  static constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

  // Every n-th operation of that kind fails (reads: may return one damaged byte instead). 0: none.
  void fail_every(uint64_t reads, Fault read_fault, uint64_t writes, uint64_t reserves) {
    const std::lock_guard lock(mutex_);
    every_read_ = reads, read_fault_ = read_fault, every_write_ = writes, every_reserve_ = reserves;
  }
  void heal() { fail_every(0, Fault::kNone, 0, 0); }
  // Reserving fails when more than this would be taken.
  void set_capacity(uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    capacity_ = bytes;
  }
  // Changes the bytes on the disk.
  void damage(uint64_t offset) {
    const std::lock_guard lock(mutex_);
    if (offset < content_.size()) content_[offset] ^= std::byte{0x10};
  }
  // From now on operations wait until resume().
  void pause() {
    const std::lock_guard lock(mutex_);
    paused_ = true;
  }
  void resume() {
    const std::lock_guard lock(mutex_);
    paused_ = false;
    resumed_.notify_all();
  }
  // Until an operation waits.
  void wait_until_reached() {
    std::unique_lock lock(mutex_);
    reached_.wait(lock, [this] { return waiting_ > 0; });
  }

  uint64_t reads() const { return locked(reads_); }
  uint64_t writes() const { return locked(writes_); }
  uint64_t reserves() const { return locked(reserves_); }
  uint64_t room() const { return locked(room_); }  // Reserved and not released.
  int files() const { return locked(files_); }     // That exist.

 private:
  friend class FaultyBlockFile;
  static constexpr uint64_t kUnit = 4096;

  template <class T>
  T locked(const T& value) const {
    const std::lock_guard lock(mutex_);
    return value;
  }
  void wait_while_paused(std::unique_lock<std::mutex>& lock) {
    ++waiting_;
    reached_.notify_all();
    resumed_.wait(lock, [this] { return !paused_; });
    --waiting_;
  }
  static bool is_turn(uint64_t count, uint64_t every) { return every != 0 && count % every == 0; }

  mutable std::mutex mutex_;
  std::condition_variable resumed_, reached_;
  bool paused_ = false;
  int waiting_ = 0, files_ = 0;
  uint64_t every_read_ = 0, every_write_ = 0, every_reserve_ = 0, capacity_ = kNever;
  Fault read_fault_ = Fault::kNone;
  uint64_t reads_ = 0, writes_ = 0, reserves_ = 0, room_ = 0;
  std::vector<std::byte> content_;
  std::vector<bool> units_;  // That have room.
};

class FaultyBlockFile final : public os::BlockFile {
 public:
  explicit FaultyBlockFile(FaultyDisk& disk) : disk_(disk) {
    const std::lock_guard lock(disk_.mutex_);
    ++disk_.files_;
  }
  ~FaultyBlockFile() override {
    const std::lock_guard lock(disk_.mutex_);
    --disk_.files_;
  }

  Status reserve(uint64_t offset, uint64_t bytes) override {
    std::unique_lock lock(disk_.mutex_);
    disk_.wait_while_paused(lock);
    if (FaultyDisk::is_turn(++disk_.reserves_, disk_.every_reserve_)) return no_space(bytes);
    for (uint64_t unit = offset / FaultyDisk::kUnit; unit < (offset + bytes) / FaultyDisk::kUnit; ++unit) {
      if (unit < disk_.units_.size() && disk_.units_[unit]) continue;
      if (disk_.room_ + FaultyDisk::kUnit > disk_.capacity_)
        return no_space(bytes);  // Leaves what it got, as disks do.
      if (unit >= disk_.units_.size()) disk_.units_.resize(unit + 1);
      disk_.units_[unit] = true;
      disk_.room_ += FaultyDisk::kUnit;
      disk_.content_.resize(std::max<size_t>(disk_.content_.size(), (unit + 1) * FaultyDisk::kUnit));
    }
    return {};
  }

  bool release(uint64_t offset, uint64_t bytes) override {
    std::unique_lock lock(disk_.mutex_);
    disk_.wait_while_paused(lock);
    const uint64_t end = std::min<uint64_t>((offset + bytes) / FaultyDisk::kUnit, disk_.units_.size());
    for (uint64_t unit = offset / FaultyDisk::kUnit; unit < end; ++unit) {
      if (disk_.units_[unit]) disk_.room_ -= FaultyDisk::kUnit;
      disk_.units_[unit] = false;
      std::fill_n(disk_.content_.begin() + static_cast<ptrdiff_t>(unit * FaultyDisk::kUnit), FaultyDisk::kUnit,
                  std::byte{0});
    }
    return true;
  }

  Status read(uint64_t offset, ReadParts parts) override {
    std::unique_lock lock(disk_.mutex_);
    disk_.wait_while_paused(lock);
    const bool turn = FaultyDisk::is_turn(++disk_.reads_, disk_.every_read_);
    if (turn && disk_.read_fault_ == FaultyDisk::Fault::kError) return failing("reading", offset);
    uint64_t at = offset;
    for (const std::span<std::byte> part : parts) {
      if (at + part.size() > disk_.content_.size()) return failing("reading past the end", at);
      std::memcpy(part.data(), disk_.content_.data() + at, part.size());
      at += part.size();
    }
    if (turn && disk_.read_fault_ == FaultyDisk::Fault::kDamage) parts[parts.size() / 2][0] ^= std::byte{1};
    return {};
  }

  Status write(uint64_t offset, WriteParts parts) override {
    std::unique_lock lock(disk_.mutex_);
    disk_.wait_while_paused(lock);
    const bool turn = FaultyDisk::is_turn(++disk_.writes_, disk_.every_write_);
    uint64_t at = offset;
    for (const std::span<const std::byte> part : parts) {
      if (at + part.size() > disk_.content_.size()) return failing("writing where nothing is reserved", at);
      std::memcpy(disk_.content_.data() + at, part.data(), part.size());
      at += part.size();
      if (turn) return failing("writing", offset);  // Behind some of the bytes.
    }
    return {};
  }

 private:
  static Error failing(const char* doing, uint64_t offset) {
    return Error{ErrorCode::kIo, format("{} at {} failed: the test's disk is broken", doing, offset)};
  }
  static Error no_space(uint64_t bytes) {
    return Error{ErrorCode::kExhausted, format("no room for {} bytes on the test's disk", bytes)};
  }

  FaultyDisk& disk_;
};

}  // namespace infer::testing
