// Large zeroed memory from the system, 64-byte aligned (page aligned in fact), committed on first touch, with huge
// pages asked for where they help.
// Ownership: move-only. Thread safety: a plain buffer.
#pragma once

#include <cstddef>
#include <span>

#include "base/result.h"

namespace infer::os {

class PageMemory {
 public:
  // kExhausted with the numbers when the system refuses.
  static Result<PageMemory> allocate(size_t bytes);
  // The same for more than may ever be used: on Linux and macOS only address space, whatever the machine has. Windows
  // counts it against its commit limit.
  static Result<PageMemory> reserve(size_t bytes);

  PageMemory() = default;  // Empty.
  PageMemory(PageMemory&& other) noexcept;
  PageMemory& operator=(PageMemory&& other) noexcept;
  ~PageMemory();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  // Gives the whole pages of this part back to the system; they read as zero afterwards.
  void release(std::span<std::byte> part);
  // The size and alignment of what is worth releasing at once: a smaller part of a huge page would break it up.
  size_t release_unit() const;

 private:
  PageMemory(std::byte* data, size_t size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace infer::os
