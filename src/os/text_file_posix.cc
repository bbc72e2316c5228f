#if !defined(_WIN32)

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <utility>

#include "base/bytes.h"
#include "base/format.h"
#include "os/system_reason.h"
#include "os/text_file.h"

namespace infer::os {

namespace {

// An open descriptor that is closed with the object.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  // Close reports what the file system could not write.
  bool close_now() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

int open_retrying(const std::string& path, int flags, mode_t mode) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

Error io_error(const std::string& path, std::string_view doing, int code) {
  return Error{code == ENOSPC || code == EDQUOT ? ErrorCode::kExhausted : ErrorCode::kIo,
               format("{}: cannot {}: {}", path, doing, system_reason(code))};
}

Result<std::string> read_to_end(const std::string& path, int fd, size_t max_bytes) {
  std::string text;
  char chunk[16 * 1024];
  while (true) {
    const ssize_t got = ::read(fd, chunk, std::min(sizeof(chunk), max_bytes - text.size() + 1));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error(path, "read", errno);
    if (got == 0) return text;
    if (static_cast<size_t>(got) > max_bytes - text.size()) {
      return Error{ErrorCode::kExhausted,
                   format("{}: larger than the limit of {} ({} bytes)", path, format_bytes(max_bytes), max_bytes)};
    }
    text.append(chunk, static_cast<size_t>(got));
  }
}

Status write_all(const std::string& path, int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return io_error(path, "write", errno);
    text.remove_prefix(static_cast<size_t>(put));
  }
  return {};
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Creates a file next to `path` under a name that nobody uses; `name` is that name.
int create_beside(const std::string& path, mode_t mode, std::string* name) {
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    *name = format("{}.{}-{}.tmp", path, static_cast<int64_t>(::getpid()), i);
    const int fd = open_retrying(*name, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}

Status fill_and_rename(const std::string& path, const std::string& temporary, Descriptor& file, std::string_view text) {
  INFER_TRY(write_all(path, file.get(), text));
  if (::fsync(file.get()) != 0) return io_error(path, "write to the disk", errno);
  if (!file.close_now()) return io_error(path, "write", errno);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return io_error(path, "replace", errno);
  // The new name lives in the folder; without this a power cut could bring the old text back. Not all file systems
  // can do it, and the file itself is whole either way.
  const Descriptor folder(open_retrying(folder_of(path), O_RDONLY | O_DIRECTORY, 0));
  if (folder.valid()) (void)::fsync(folder.get());
  return {};
}

}  // namespace

Result<std::string> read_text_file(const std::string& path, size_t max_bytes) {
  const Descriptor file(open_retrying(path, O_RDONLY, 0));
  if (!file.valid()) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return Error{ErrorCode::kNotFound, format("{}: no such file; check the path", path)};
    }
    return io_error(path, "open", errno);
  }
  struct stat facts{};
  if (::fstat(file.get(), &facts) != 0) return io_error(path, "read", errno);
  if (S_ISDIR(facts.st_mode)) {
    return Error{ErrorCode::kInvalidArgument, format("{}: is a directory; name a file inside it", path)};
  }
  return read_to_end(path, file.get(), max_bytes);
}

Status write_text_file(const std::string& path, std::string_view text, FileAccess access) {
  struct stat old{};
  const bool exists = ::stat(path.c_str(), &old) == 0;
  if (exists && S_ISDIR(old.st_mode)) {
    return Error{ErrorCode::kInvalidArgument, format("{}: is a directory; name a file inside it", path)};
  }
  std::string temporary;
  Descriptor file(create_beside(path, access == FileAccess::kOwnerOnly ? 0600 : 0666, &temporary));
  if (!file.valid()) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return Error{ErrorCode::kNotFound, format("{}: its folder does not exist; create it first", path)};
    }
    return io_error(path, "create", errno);
  }
  if (access == FileAccess::kDefault && exists) (void)::fchmod(file.get(), old.st_mode & 0777);
  Status status = fill_and_rename(path, temporary, file, text);
  if (!status) ::unlink(temporary.c_str());
  return status;
}

}  // namespace infer::os

#endif
