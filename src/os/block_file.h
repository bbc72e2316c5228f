// A file for blocks at offsets that belongs to this process alone and is gone with it: no other process sees it, and
// whatever ends the process, a kill and a power cut included, leaves nothing behind that anybody must clean up.
//
// An interface, so that tests can put a disk in its place that fails (testing::FaultyBlockFile).
// What was written is there for this process, not for the next one: nothing waits for the disk, so that an error of the
// disk may show only when the bytes are read, as an error or as other bytes. Who needs to know keeps a checksum.
// Errors name the folder, the place and the system's reason. kExhausted: no space, quota or file size limit; kIo: the
// rest. Ownership: the file is freed on destruction. Thread safety: calls that do not overlap in the file may run at
// once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace infer::os {

class BlockFile {
 public:
  BlockFile() = default;
  virtual ~BlockFile() = default;
  BlockFile(const BlockFile&) = delete;
  BlockFile& operator=(const BlockFile&) = delete;

  // Makes room for this part, so that writes into it do not run out of space. Where the file system cannot promise
  // that, the file only grows. After an error part of the room may be there.
  virtual Status reserve(uint64_t offset, uint64_t bytes) = 0;
  // What this part held is not needed any more: its room goes back to the file system. Advice; false where that is not
  // possible.
  virtual bool release(uint64_t offset, uint64_t bytes) = 0;

  // From or to one place in the file, the parts one after the other; all of it, or an error. After a failed write any
  // of these bytes may be written. Reading what was never written gives zeros inside reserved room and kIo past it.
  using ReadParts = std::span<const std::span<std::byte>>;
  using WriteParts = std::span<const std::span<const std::byte>>;
  virtual Status read(uint64_t offset, ReadParts parts) = 0;
  virtual Status write(uint64_t offset, WriteParts parts) = 0;
};

// A new, empty file in this folder, readable by this user alone. kNotFound: no such folder.
Result<std::unique_ptr<BlockFile>> create_block_file(const std::string& folder);

// Whether files in this folder take memory instead of disk (tmpfs). False when that is not known.
bool folder_is_in_memory(const std::string& folder);

}  // namespace infer::os
