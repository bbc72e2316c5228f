// A whole file mapped read-only.
// Ownership: move-only, unmaps on destruction. Thread safety: const after open.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/call_context.h"
#include "base/result.h"

namespace infer::os {

class FileMap {
 public:
  // Errors: kNotFound, kInvalidArgument (a directory, or empty), kIo with the system's reason. All name the path.
  static Result<FileMap> open(const std::string& path);

  FileMap(FileMap&& other) noexcept;
  FileMap& operator=(FileMap&& other) noexcept;
  ~FileMap();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // When the file was last written, as it was opened: nanoseconds of the system's own calendar, for comparing only.
  int64_t modified_ns() const { return modified_ns_; }
  // Advises that this part (a subspan of bytes()) will be read from front to back soon: read ahead.
  void will_need(std::span<const std::byte> part) const;
  // Maps this part's pages now, in one call instead of one fault for every few of them; reads what is not in memory.
  // Advice: where the system cannot, pages come on first touch.
  void make_resident(std::span<const std::byte> part) const;
  // Moves what lies in this part from the file's small pages into huge pages of memory, at the same addresses, piece by
  // piece and while others read it: large weights are then read with few misses of the TLB (measured: 1.2 times as fast
  // on one machine). Takes that much memory which the system cannot take back, beside the file's in its cache. Nothing
  // happens where the system has no such move. kCancelled; kExhausted or kIo, and what is not moved stays as it was.
  // Afterwards the part must not be given to drop_resident.
  Status settle_in_memory(std::span<const std::byte> part, CancelToken cancel) const;
  // Lets the pages that lie wholly inside this part leave resident memory; they come back from the file when read.
  void drop_resident(std::span<const std::byte> part) const;

 private:
  FileMap(const std::byte* data, size_t size, int64_t modified_ns)
      : data_(data), size_(size), modified_ns_(modified_ns) {}
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  int64_t modified_ns_ = 0;
};

}  // namespace infer::os
