// Where written bytes go, front to back: memory, a file, a counter. The writer never goes back, so pipes would do.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "os/file_sink.h"

namespace infer::gguf {

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  // Takes all bytes or fails; after a failure what was taken is undefined.
  virtual Status write(std::span<const std::byte> bytes) = 0;
};

class MemorySink final : public ByteSink {
 public:
  Status write(std::span<const std::byte> bytes) override {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return {};
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// Into an os::FileSink, which the caller commits when the writer has finished.
class FileByteSink final : public ByteSink {
 public:
  explicit FileByteSink(os::FileSink* file) : file_(file) {}
  Status write(std::span<const std::byte> bytes) override { return file_->write(bytes); }

 private:
  os::FileSink* file_;
};

}  // namespace infer::gguf
