#if !defined(_WIN32)

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#endif

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "base/format.h"
#include "os/block_file.h"
#include "os/folder.h"
#include "os/system_reason.h"

namespace infer::os {

namespace {

constexpr size_t kPartsAtOnce = 64;  // Of one call to the system, which takes 16 everywhere and 1024 on Linux.

ErrorCode code_of(int reason) {
  if (reason == ENOSPC || reason == EDQUOT || reason == EFBIG) return ErrorCode::kExhausted;
  return reason == ENOENT || reason == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo;
}

const char* remedy_of(int reason) {
  switch (reason) {
    case ENOSPC:
    case EDQUOT: return "; free some space or choose another folder";
    case EFBIG: return "; choose a file system that takes files of this size";
    case ENOENT:
    case ENOTDIR: return "; create the folder first";
    case EACCES:
    case EPERM:
    case EROFS: return "; choose a folder that you may write to";
    case EIO: return "; the disk or its connection may be failing";
    default: return "";
  }
}

class PosixBlockFile final : public BlockFile {
 public:
  PosixBlockFile(std::string folder, int file) : folder_(std::move(folder)), file_(file) {}
  ~PosixBlockFile() override { ::close(file_); }

  Status reserve(uint64_t offset, uint64_t bytes) override;
  bool release(uint64_t offset, uint64_t bytes) override;
  Status read(uint64_t offset, ReadParts parts) override { return transfer("reading", offset, parts, read_some); }
  Status write(uint64_t offset, WriteParts parts) override { return transfer("writing", offset, parts, write_some); }

 private:
  static ssize_t read_some(int file, const iovec* parts, int count, off_t offset);
  static ssize_t write_some(int file, const iovec* parts, int count, off_t offset);
  template <class Parts, class Some>
  Status transfer(const char* doing, uint64_t offset, Parts parts, Some some);
  Error failure(const char* doing, uint64_t bytes, uint64_t offset, int reason) const;

  std::string folder_;
  int file_;
};

Error PosixBlockFile::failure(const char* doing, uint64_t bytes, uint64_t offset, int reason) const {
  const ErrorCode code = code_of(reason);
  return Error{code == ErrorCode::kNotFound ? ErrorCode::kIo : code,
               format("{}: {} {} bytes at {} of a file without a name failed: {}{}", folder_, doing, bytes, offset,
                      system_reason(reason), remedy_of(reason))};
}

// macOS has calls for several parts only since version 11; there is nothing to gain from them but fewer calls.
ssize_t PosixBlockFile::read_some(int file, const iovec* parts, int count, off_t offset) {
#if defined(__APPLE__)
  (void)count;
  return ::pread(file, parts->iov_base, parts->iov_len, offset);
#else
  return ::preadv(file, parts, count, offset);
#endif
}

ssize_t PosixBlockFile::write_some(int file, const iovec* parts, int count, off_t offset) {
#if defined(__APPLE__)
  (void)count;
  return ::pwrite(file, parts->iov_base, parts->iov_len, offset);
#else
  return ::pwritev(file, parts, count, offset);
#endif
}

// The system may take less than it is given: then the rest is asked for again.
template <class Parts, class Some>
Status PosixBlockFile::transfer(const char* doing, uint64_t offset, Parts parts, Some some) {
  size_t part = 0, done = 0;  // Of the first part that is not complete.
  std::array<iovec, kPartsAtOnce> vectors;
  while (part < parts.size()) {
    const size_t count = std::min(parts.size() - part, kPartsAtOnce);
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; ++i) {
      const auto rest = parts[part + i].subspan(i == 0 ? done : 0);
      vectors[i] = {const_cast<std::byte*>(rest.data()), rest.size()};
      bytes += rest.size();
    }
    if (bytes == 0) {
      part += count, done = 0;
      continue;
    }
    if (offset > static_cast<uint64_t>(std::numeric_limits<off_t>::max()) - bytes) {
      return failure(doing, bytes, offset, EFBIG);
    }
    const ssize_t moved = some(file_, vectors.data(), static_cast<int>(count), static_cast<off_t>(offset));
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return failure(doing, bytes, offset, errno);
    if (moved == 0) {
      return Error{ErrorCode::kIo, format("{}: {} {} bytes at {} of a file without a name: it ends before them",
                                          folder_, doing, bytes, offset)};
    }
    offset += static_cast<uint64_t>(moved);
    for (done += static_cast<size_t>(moved); part < parts.size() && done >= parts[part].size(); ++part) {
      done -= parts[part].size();
    }
  }
  return {};
}

Status PosixBlockFile::reserve(uint64_t offset, uint64_t bytes) {
  if (offset > static_cast<uint64_t>(std::numeric_limits<off_t>::max()) - bytes) {
    return failure("reserving", bytes, offset, EFBIG);
  }
  const auto end = static_cast<off_t>(offset + bytes);
#if defined(__linux__)
  int result = 0;
  do {
    result = ::fallocate(file_, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return {};
  if (errno != EOPNOTSUPP && errno != ENOSYS) return failure("reserving", bytes, offset, errno);
#endif
  struct stat facts{};
  if (::fstat(file_, &facts) != 0) return failure("reserving", bytes, offset, errno);
  if (facts.st_size >= end) return {};
#if defined(__APPLE__)
  fstore_t more{F_ALLOCATEALL, F_PEOFPOSMODE, 0, end - facts.st_size, 0};
  if (::fcntl(file_, F_PREALLOCATE, &more) != 0 && errno != ENOTSUP && errno != EINVAL) {
    return failure("reserving", bytes, offset, errno);
  }
#endif
  if (::ftruncate(file_, end) != 0) return failure("reserving", bytes, offset, errno);
  return {};
}

bool PosixBlockFile::release(uint64_t offset, uint64_t bytes) {
#if defined(__linux__)
  return ::fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(bytes)) == 0;
#elif defined(__APPLE__)
  fpunchhole_t hole{0, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes)};
  return ::fcntl(file_, F_PUNCHHOLE, &hole) == 0;
#else
  (void)offset, (void)bytes;
  return false;
#endif
}

int open_retrying(const std::string& path, int flags) {
  int file = -1;
  do {
    file = ::open(path.c_str(), flags | O_RDWR | O_CLOEXEC, 0600);
  } while (file < 0 && errno == EINTR);
  return file;
}

// For file systems on which every file has a name at first: it is taken away at once. Who is killed in between leaves
// the name of an empty file, which the next to come takes away. That this may be a name that somebody else is about to
// take away does no harm: all that share it only want to be rid of it.
int create_and_unlink(const std::string& folder) {
  constexpr int kTries = 100;
  const std::string path = path_in(folder, "inferos-spill.tmp");
  int file = -1;
  for (int i = 0; i < kTries; ++i) {
    file = open_retrying(path, O_CREAT | O_EXCL | O_NOFOLLOW);
    const int reason = errno;
    if (file >= 0 || reason == EEXIST) (void)::unlink(path.c_str());
    errno = reason;
    if (file >= 0 || reason != EEXIST) break;
  }
  return file;
}

}  // namespace

Result<std::unique_ptr<BlockFile>> create_block_file(const std::string& folder) {
  int file = -1;
#if defined(O_TMPFILE)
  file = open_retrying(folder, O_TMPFILE | O_EXCL);  // O_EXCL: nobody can give it a name later.
  // What kernels and file systems say that cannot do it; a folder that is missing is told apart below.
  if (file < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOENT)) {
    file = create_and_unlink(folder);
  }
#else
  file = create_and_unlink(folder);
#endif
  if (file < 0) {
    const int reason = errno;
    return Error{code_of(reason),
                 format("{}: cannot create a file in it: {}{}", folder, system_reason(reason), remedy_of(reason))};
  }
  return std::unique_ptr<BlockFile>(std::make_unique<PosixBlockFile>(folder, file));
}

bool folder_is_in_memory(const std::string& folder) {
#if defined(__linux__)
  constexpr long kRamfs = 0x858458F6;
  struct statfs facts{};
  if (::statfs(folder.c_str(), &facts) != 0) return false;
  return facts.f_type == TMPFS_MAGIC || facts.f_type == kRamfs;
#else
  (void)folder;
  return false;
#endif
}

}  // namespace infer::os

#endif
