#if !defined(_WIN32)

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/format.h"
#include "os/file_map.h"
#include "os/system_reason.h"

namespace infer::os {

namespace {

size_t page_size() { return static_cast<size_t>(::sysconf(_SC_PAGESIZE)); }

Error open_error(const std::string& path, int code) {
  if (code == ENOENT || code == ENOTDIR) {
    return Error{ErrorCode::kNotFound, format("{}: no such file; check the path", path)};
  }
  return Error{ErrorCode::kIo, format("{}: cannot open: {}", path, system_reason(code))};
}

// Refuses what cannot be mapped before mmap does so with a reason that nobody understands.
Status check_mappable(const std::string& path, const struct stat& facts) {
  if (S_ISDIR(facts.st_mode)) {
    return Error{ErrorCode::kInvalidArgument, format("{}: is a directory; name a file inside it", path)};
  }
  if (!S_ISREG(facts.st_mode)) {
    return Error{ErrorCode::kInvalidArgument,
                 format("{}: is a pipe, socket or device; only a regular file can be mapped", path)};
  }
  if (facts.st_size == 0) {
    return Error{ErrorCode::kInvalidArgument, format("{}: the file is empty (0 bytes)", path)};
  }
  if (static_cast<uint64_t>(facts.st_size) > static_cast<uint64_t>(PTRDIFF_MAX)) {
    return Error{ErrorCode::kInvalidArgument, format("{}: {} bytes do not fit this machine's address space", path,
                                                     static_cast<uint64_t>(facts.st_size))};
  }
  return {};
}

int64_t modified_ns_of(const struct stat& facts) {
#if defined(__APPLE__)
  const timespec& time = facts.st_mtimespec;
#else
  const timespec& time = facts.st_mtim;
#endif
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

Result<std::span<const std::byte>> map_open_file(const std::string& path, int fd, int64_t* modified_ns) {
  struct stat facts{};
  if (::fstat(fd, &facts) != 0) {
    return Error{ErrorCode::kIo, format("{}: cannot read its size: {}", path, last_system_reason())};
  }
  INFER_TRY(check_mappable(path, facts));
  *modified_ns = modified_ns_of(facts);
  const size_t size = static_cast<size_t>(facts.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (address == MAP_FAILED) {
    const ErrorCode code = errno == ENOMEM ? ErrorCode::kExhausted : ErrorCode::kIo;
    return Error{code, format("{}: cannot map its {} bytes: {}", path, size, last_system_reason())};
  }
  return std::span<const std::byte>(static_cast<const std::byte*>(address), size);
}

}  // namespace

Result<FileMap> FileMap::open(const std::string& path) {
  // O_NONBLOCK: opening a pipe that nobody writes to must fail below, not wait here. It changes nothing for files.
  int fd = -1;
  do {
    fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return open_error(path, errno);
  int64_t modified_ns = 0;
  Result<std::span<const std::byte>> bytes = map_open_file(path, fd, &modified_ns);
  ::close(fd);  // The mapping keeps the file.
  if (!bytes) return std::move(bytes).error();
  return FileMap(bytes->data(), bytes->size(), modified_ns);
}

FileMap::FileMap(FileMap&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      modified_ns_(other.modified_ns_) {}

FileMap& FileMap::operator=(FileMap&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(modified_ns_, other.modified_ns_);
  return *this;
}

FileMap::~FileMap() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

void FileMap::will_need(std::span<const std::byte> part) const {
  if (part.empty()) return;
  const uintptr_t mask = page_size() - 1;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(part.data()) & ~mask;
  const uintptr_t end = reinterpret_cast<uintptr_t>(part.data()) + part.size();
  // Advice only: when the system does not take it, the pages are read on first touch.
  (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED);
}

void FileMap::make_resident(std::span<const std::byte> part) const {
#if defined(MADV_POPULATE_READ)
  if (part.empty()) return;
  const uintptr_t mask = page_size() - 1;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(part.data()) & ~mask;
  const uintptr_t end = reinterpret_cast<uintptr_t>(part.data()) + part.size();
  // Linux before 5.14 does not know it.
  if (::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_READ) == 0) return;
#endif
  will_need(part);
}

#if defined(__linux__) && defined(MADV_HUGEPAGE) && defined(MREMAP_FIXED)

namespace {

constexpr size_t kHugePage = size_t{2} << 20;
// Moved at once: each is a mapping of its own, of which a process may have some ten thousand.
constexpr size_t kSettledAtOnce = 8 * kHugePage;

// Replaces [begin, begin + bytes), a whole number of huge pages, by memory with the same contents. Who reads there
// meanwhile waits, for the system does it under its lock of the address space.
Status settle(const std::byte* begin, size_t bytes) {
  const auto refused = [&](const char* what) {
    const ErrorCode code = errno == ENOMEM ? ErrorCode::kExhausted : ErrorCode::kIo;
    return Error{
        code, format("cannot move {} bytes of mapped weights into memory: {}: {}", bytes, what, last_system_reason())};
  };
  void* const got = ::mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (got == MAP_FAILED) return refused("mmap");
  auto* const start = static_cast<std::byte*>(got);
  std::byte* const copy = start + (kHugePage - reinterpret_cast<uintptr_t>(start) % kHugePage) % kHugePage;
  (void)::madvise(copy, bytes, MADV_HUGEPAGE);
  std::memcpy(copy, begin, bytes);
  const bool moved = ::mprotect(copy, bytes, PROT_READ) == 0 &&
                     ::mremap(copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, begin) != MAP_FAILED;
  const Status status = moved ? Status() : Status(refused("mremap"));
  if (moved) {
    if (copy > start) ::munmap(start, static_cast<size_t>(copy - start));
    ::munmap(copy + bytes, static_cast<size_t>(start + kHugePage - copy));
  } else {
    ::munmap(start, bytes + kHugePage);
  }
  return status;
}

}  // namespace

Status FileMap::settle_in_memory(std::span<const std::byte> part, CancelToken cancel) const {
  const auto address = [](const std::byte* p) { return reinterpret_cast<uintptr_t>(p); };
  // Whole huge pages of addresses inside the part; the file's own pages begin anywhere relative to them.
  const std::byte* at = part.data() + (kHugePage - address(part.data()) % kHugePage) % kHugePage;
  const std::byte* const end = part.data() + part.size() - address(part.data() + part.size()) % kHugePage;
  while (at < end) {
    if (cancel.cancelled()) return Error{ErrorCode::kCancelled, "moving mapped weights into memory was stopped"};
    const size_t bytes = std::min(kSettledAtOnce, static_cast<size_t>(end - at));
    INFER_TRY(settle(at, bytes));
    at += bytes;
  }
  return {};
}

#else

Status FileMap::settle_in_memory(std::span<const std::byte>, CancelToken) const { return {}; }

#endif

void FileMap::drop_resident(std::span<const std::byte> part) const {
  const uintptr_t mask = page_size() - 1;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(part.data()) + mask) & ~mask;
  uintptr_t end = reinterpret_cast<uintptr_t>(part.data()) + part.size();
  // The page with the file's last byte is wholly ours even where the file ends in the middle of it.
  if (data_ && end == reinterpret_cast<uintptr_t>(data_) + size_) end = (end + mask) & ~mask;
  end &= ~mask;
  if (end > begin) (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace infer::os

#endif
