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

  PageMemory() = default;  // Empty.
  PageMemory(PageMemory&& other) noexcept;
  PageMemory& operator=(PageMemory&& other) noexcept;
  ~PageMemory();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  // Gives the whole pages of this part back to the system; they read as zero afterwards.
  void release(std::span<std::byte> part);

 private:
  PageMemory(std::byte* data, size_t size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace infer::os
