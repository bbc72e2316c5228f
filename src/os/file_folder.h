// A folder of whole files behind a seam, so that tests can make it fail: what lies in it is read, written and removed
// as a whole, by name.
//
// Other processes may use the same folder at any time: a file of the list may be gone when it is wanted, and who writes
// a file under a name that is there replaces it in one step.
// Errors name the path. Thread safety: calls may run at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "os/folder.h"

namespace infer::os {

class FileFolder {
 public:
  FileFolder() = default;
  virtual ~FileFolder() = default;
  FileFolder(const FileFolder&) = delete;
  FileFolder& operator=(const FileFolder&) = delete;

  virtual Result<std::vector<FolderEntry>> list() = 0;
  // kNotFound; kExhausted when there are more than bytes_max; kIo.
  virtual Result<std::string> read(const std::string& name, size_t bytes_max) = 0;
  // The parts one after the other. After an error, or when the process is killed meanwhile, nobody sees any of it under
  // this name. After a power cut it may be there and damaged. kExhausted: no space, quota or file size limit; kIo.
  virtual Status write(const std::string& name, std::span<const std::span<const std::byte>> parts) = 0;
  // Its age starts anew. False when there is no such file, or it cannot be marked.
  virtual bool mark_as_used(const std::string& name) = 0;
  // False when it is still there.
  virtual bool remove(const std::string& name) = 0;
  // What the disk has left; 0 when that is not known.
  virtual uint64_t free_bytes() = 0;
};

// Makes the folder where it is missing. kIo when that is refused.
Result<std::unique_ptr<FileFolder>> open_file_folder(const std::string& path);

}  // namespace infer::os
