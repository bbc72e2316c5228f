// A folder for tests: files in memory that survive whoever uses them, and a disk that can be made to fail, to be full
// and to damage what lies on it.
// Thread safety: any thread; a FolderDisk outlives the folders that it is behind.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/format.h"
#include "os/file_folder.h"

namespace infer::testing {

class FolderDisk {
 public:
  // From now on reads or writes give errors; a write leaves nothing behind.
  void fail(bool reads, bool writes) {
    const std::lock_guard lock(mutex_);
    fail_reads_ = reads, fail_writes_ = writes;
  }
  // No room for more than this in all files; 0: no limit.
  void set_capacity(uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    capacity_ = bytes;
  }
  // What the test does with the files themselves.
  std::map<std::string, std::string> files() const {
    const std::lock_guard lock(mutex_);
    std::map<std::string, std::string> all;
    for (const auto& [name, file] : files_) all[name] = file.bytes;
    return all;
  }
  void put(const std::string& name, std::string bytes, Duration age = {}) {
    const std::lock_guard lock(mutex_);
    files_[name] = {std::move(bytes), age};
  }
  void remove(const std::string& name) {
    const std::lock_guard lock(mutex_);
    files_.erase(name);
  }
  // Of all files.
  void grow_older(Duration by) {
    const std::lock_guard lock(mutex_);
    for (auto& [name, file] : files_) file.age = file.age + by;
  }
  uint64_t writes() const {
    const std::lock_guard lock(mutex_);
    return writes_;
  }

 private:
  friend class FaultyFolder;
  struct File {
    std::string bytes;
    Duration age;
  };
  uint64_t taken() const {
    uint64_t bytes = 0;
    for (const auto& [name, file] : files_) bytes += file.bytes.size();
    return bytes;
  }

  mutable std::mutex mutex_;
  std::map<std::string, File> files_;
  bool fail_reads_ = false, fail_writes_ = false;
  uint64_t capacity_ = 0, writes_ = 0;
};

class FaultyFolder final : public os::FileFolder {
 public:
  explicit FaultyFolder(FolderDisk& disk) : disk_(disk) {}

  Result<std::vector<os::FolderEntry>> list() override {
    const std::lock_guard lock(disk_.mutex_);
    std::vector<os::FolderEntry> entries;
    for (const auto& [name, file] : disk_.files_) entries.push_back({name, file.bytes.size(), file.age});
    return entries;
  }
  Result<std::string> read(const std::string& name, size_t bytes_max) override {
    const std::lock_guard lock(disk_.mutex_);
    if (disk_.fail_reads_) return Error{ErrorCode::kIo, format("{}: the test's disk is broken", name)};
    const auto found = disk_.files_.find(name);
    if (found == disk_.files_.end()) return Error{ErrorCode::kNotFound, name};
    if (found->second.bytes.size() > bytes_max) return Error{ErrorCode::kExhausted, format("{}: too large", name)};
    return found->second.bytes;
  }
  Status write(const std::string& name, std::span<const std::span<const std::byte>> parts) override {
    const std::lock_guard lock(disk_.mutex_);
    ++disk_.writes_;
    if (disk_.fail_writes_) return Error{ErrorCode::kIo, format("{}: the test's disk is broken", name)};
    std::string bytes;
    for (const std::span<const std::byte> part : parts) {
      bytes.append(reinterpret_cast<const char*>(part.data()), part.size());
    }
    if (disk_.capacity_ > 0 && disk_.taken() + bytes.size() > disk_.capacity_) {
      return Error{ErrorCode::kExhausted, format("{}: the test's disk is full", name)};
    }
    disk_.files_[name] = {std::move(bytes), {}};
    return {};
  }
  bool mark_as_used(const std::string& name) override {
    const std::lock_guard lock(disk_.mutex_);
    const auto found = disk_.files_.find(name);
    if (found == disk_.files_.end()) return false;
    found->second.age = {};
    return true;
  }
  bool remove(const std::string& name) override {
    const std::lock_guard lock(disk_.mutex_);
    return disk_.files_.erase(name) > 0;
  }
  uint64_t free_bytes() override { return 0; }

 private:
  FolderDisk& disk_;
};

}  // namespace infer::testing
