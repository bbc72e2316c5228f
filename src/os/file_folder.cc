#include "os/file_folder.h"

#include <utility>

#include "os/file_sink.h"
#include "os/process_facts.h"
#include "os/text_file.h"

namespace infer::os {

namespace {

class SystemFolder final : public FileFolder {
 public:
  explicit SystemFolder(std::string path) : path_(std::move(path)) {}

  Result<std::vector<FolderEntry>> list() override { return list_folder(path_); }

  Result<std::string> read(const std::string& name, size_t bytes_max) override {
    return read_text_file(path_in(path_, name), bytes_max);
  }

  Status write(const std::string& name, std::span<const std::span<const std::byte>> parts) override {
    INFER_ASSIGN(FileSink sink, FileSink::create_beside_others(path_in(path_, name)));
    for (const std::span<const std::byte> part : parts) INFER_TRY(sink.write(part));
    return sink.publish();
  }

  bool mark_as_used(const std::string& name) override { return os::mark_as_used(path_in(path_, name)); }
  bool remove(const std::string& name) override { return remove_file(path_in(path_, name)); }
  uint64_t free_bytes() override {
    const Result<uint64_t> free = free_disk_bytes(path_);
    return free ? *free : 0;
  }

 private:
  std::string path_;
};

}  // namespace

Result<std::unique_ptr<FileFolder>> open_file_folder(const std::string& path) {
  INFER_TRY(make_private_folder(path));
  return std::unique_ptr<FileFolder>(std::make_unique<SystemFolder>(path));
}

}  // namespace infer::os
