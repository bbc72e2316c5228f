// A new file, written front to back and published in one step: until commit() nobody sees it under its name, and what
// was there before stays. Bytes go to a file beside it whose name ends in ".partial".
// Ownership: move-only; destroyed without commit(), it removes what it wrote. Thread safety: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace infer::os {

class FileSink {
 public:
  // Errors name the path. kNotFound: no such folder; kExhausted: no space, quota or file size limit; kIo: the rest,
  // with the system's reason.
  static Result<FileSink> create(const std::string& path);
  // The same for files that several processes may write at once: each writes to a name of its own,
  // "<path>.<process>-<n>.partial", and the last to finish stays.
  static Result<FileSink> create_beside_others(const std::string& path);

  FileSink(FileSink&& other) noexcept;
  FileSink& operator=(FileSink&& other) noexcept;
  ~FileSink();

  // Takes all bytes or fails. After a failure every further call fails as well.
  Status write(std::span<const std::byte> bytes);
  // Makes the bytes durable, then gives the file its name, in place of a file that had it. Nothing can be written
  // after.
  Status commit();
  // Gives the file its name without waiting for the disk: for what can be made again and is checked when it is read,
  // since after a power cut it may be there and damaged.
  Status publish();

  uint64_t bytes_written() const { return bytes_written_; }

 private:
  FileSink(std::string path, std::string partial, int file);
  Status give_name();
  Status flush();
  Status write_through(std::span<const std::byte> bytes);
  Error failure(const char* what);
  void discard();

  std::string path_;
  std::string partial_;  // Where the bytes go until then.
  int file_ = -1;        // -1 when moved from, committed or failed.
  bool failed_ = false;
  uint64_t bytes_written_ = 0;
  std::vector<std::byte> buffer_;  // Small writes are gathered here.
};

}  // namespace infer::os
