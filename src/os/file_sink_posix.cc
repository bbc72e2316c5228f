#if !defined(_WIN32)

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/format.h"
#include "os/file_sink.h"
#include "os/system_reason.h"

namespace infer::os {

namespace {

constexpr size_t kBufferBytes = 256 * 1024;

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
    default: return "";
  }
}

// A rename is durable once its folder is. Some file systems cannot sync a folder; the file itself is safe by then.
void sync_folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle < 0) return;
  (void)::fsync(handle);
  ::close(handle);
}

Error creation_error(const std::string& partial) {
  const int reason = errno;
  return Error{code_of(reason),
               format("{}: cannot create it: {}{}", partial, system_reason(reason), remedy_of(reason))};
}

}  // namespace

Result<FileSink> FileSink::create(const std::string& path) {
  const std::string partial = path + ".partial";
  const int file = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) return creation_error(partial);
  return FileSink(path, partial, file);
}

Result<FileSink> FileSink::create_beside_others(const std::string& path) {
  constexpr int kTries = 100;
  std::string partial;
  for (int i = 0; i < kTries; ++i) {
    partial = format("{}.{}-{}.partial", path, static_cast<int64_t>(::getpid()), i);
    const int file = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0) return FileSink(path, partial, file);
    if (errno != EEXIST) break;
  }
  return creation_error(partial);
}

FileSink::FileSink(std::string path, std::string partial, int file)
    : path_(std::move(path)), partial_(std::move(partial)), file_(file) {
  buffer_.reserve(kBufferBytes);
}

FileSink::FileSink(FileSink&& other) noexcept
    : path_(std::move(other.path_)),
      partial_(std::move(other.partial_)),
      file_(std::exchange(other.file_, -1)),
      failed_(other.failed_),
      bytes_written_(other.bytes_written_),
      buffer_(std::move(other.buffer_)) {}

FileSink& FileSink::operator=(FileSink&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(partial_, other.partial_);
  std::swap(file_, other.file_);
  std::swap(failed_, other.failed_);
  std::swap(bytes_written_, other.bytes_written_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

FileSink::~FileSink() { discard(); }

void FileSink::discard() {
  if (file_ < 0) return;
  ::close(std::exchange(file_, -1));
  ::unlink(partial_.c_str());
}

// Reads errno, then gives the file up.
Error FileSink::failure(const char* what) {
  const int reason = errno;
  failed_ = true;
  discard();
  return Error{code_of(reason), format("{}: {} failed after {} bytes: {}{}", path_, what, bytes_written_,
                                       system_reason(reason), remedy_of(reason))};
}

Status FileSink::write_through(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failure("writing");
    bytes_written_ += static_cast<uint64_t>(count);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return {};
}

Status FileSink::flush() {
  INFER_TRY(write_through(buffer_));
  buffer_.clear();
  return {};
}

Status FileSink::write(std::span<const std::byte> bytes) {
  if (file_ < 0) {
    return Error{ErrorCode::kIo, format("{}: nothing more can be written: {}", path_,
                                        failed_ ? "an earlier write failed" : "it is already complete")};
  }
  if (buffer_.size() + bytes.size() > kBufferBytes) INFER_TRY(flush());
  if (bytes.size() >= kBufferBytes) return write_through(bytes);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return {};
}

Status FileSink::commit() {
  INFER_TRY(write({}));
  INFER_TRY(flush());
  if (::fsync(file_) != 0) return failure("making it durable");
  INFER_TRY(give_name());
  sync_folder_of(path_);
  return {};
}

Status FileSink::publish() {
  INFER_TRY(write({}));
  INFER_TRY(flush());
  return give_name();
}

Status FileSink::give_name() {
  const bool closed = ::close(std::exchange(file_, -1)) == 0;
  if (closed && ::rename(partial_.c_str(), path_.c_str()) == 0) return {};
  const Error error = failure(closed ? "giving it its name" : "closing");
  ::unlink(partial_.c_str());
  return error;
}

}  // namespace infer::os

#endif
