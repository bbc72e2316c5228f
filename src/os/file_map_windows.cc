#if defined(_WIN32)

#include "os/windows_api.h"

#include <cstdint>
#include <utility>

#include "base/format.h"
#include "os/file_map.h"
#include "os/system_reason.h"
#include "os/windows_text.h"

namespace infer::os {

namespace {

size_t page_size() {
  SYSTEM_INFO info{};
  ::GetSystemInfo(&info);
  return info.dwPageSize;
}

Error open_error(const std::string& path) {
  const DWORD code = ::GetLastError();
  if (code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND || code == ERROR_INVALID_NAME) {
    return Error{ErrorCode::kNotFound, format("{}: no such file; check the path", path)};
  }
  return Error{ErrorCode::kIo, format("{}: cannot open: {}", path, system_reason(static_cast<int>(code)))};
}

// In units of 100 ns, which is fine for comparing.
int64_t modified_ns_of(HANDLE file) {
  FILETIME written{};
  if (!::GetFileTime(file, nullptr, nullptr, &written)) return 0;
  return static_cast<int64_t>(static_cast<uint64_t>(written.dwHighDateTime) << 32 | written.dwLowDateTime);
}

Result<std::span<const std::byte>> map_open_file(const std::string& path, HANDLE file) {
  LARGE_INTEGER size{};
  if (::GetFileType(file) != FILE_TYPE_DISK || !::GetFileSizeEx(file, &size)) {
    return Error{ErrorCode::kInvalidArgument,
                 format("{}: is a pipe or device; only a regular file can be mapped", path)};
  }
  if (size.QuadPart == 0) {
    return Error{ErrorCode::kInvalidArgument, format("{}: the file is empty (0 bytes)", path)};
  }
  const HANDLE mapping = ::CreateFileMappingW(file, nullptr, PAGE_READONLY, 0, 0, nullptr);
  const void* address = mapping ? ::MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0) : nullptr;
  const int code = static_cast<int>(::GetLastError());
  if (mapping) ::CloseHandle(mapping);  // The view keeps it.
  if (!address) {
    return Error{ErrorCode::kIo, format("{}: cannot map its {} bytes: {}", path, size.QuadPart, system_reason(code))};
  }
  return std::span(static_cast<const std::byte*>(address), static_cast<size_t>(size.QuadPart));
}

}  // namespace

Result<FileMap> FileMap::open(const std::string& path) {
  const std::wstring wide = to_utf16(path);
  const DWORD attributes = ::GetFileAttributesW(wide.c_str());
  if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
    return Error{ErrorCode::kInvalidArgument, format("{}: is a directory; name a file inside it", path)};
  }
  const HANDLE file = ::CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr,
                                    OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file == INVALID_HANDLE_VALUE) return open_error(path);
  Result<std::span<const std::byte>> bytes = map_open_file(path, file);
  const int64_t modified_ns = modified_ns_of(file);
  ::CloseHandle(file);
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
  if (data_) ::UnmapViewOfFile(data_);
}

void FileMap::will_need(std::span<const std::byte> part) const {
  if (part.empty()) return;
  WIN32_MEMORY_RANGE_ENTRY range{const_cast<std::byte*>(part.data()), part.size()};
  (void)::PrefetchVirtualMemory(::GetCurrentProcess(), 1, &range, 0);  // Advice only.
}

void FileMap::make_resident(std::span<const std::byte> part) const { will_need(part); }

Status FileMap::settle_in_memory(std::span<const std::byte>, CancelToken) const { return {}; }

void FileMap::drop_resident(std::span<const std::byte> part) const {
  const uintptr_t mask = page_size() - 1;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(part.data()) + mask) & ~mask;
  uintptr_t end = reinterpret_cast<uintptr_t>(part.data()) + part.size();
  if (data_ && end == reinterpret_cast<uintptr_t>(data_) + size_) end = (end + mask) & ~mask;
  end &= ~mask;
  // Unlocking pages that are not locked takes them out of the working set; it then reports that they were not locked.
  if (end > begin) (void)::VirtualUnlock(reinterpret_cast<void*>(begin), end - begin);
}

}  // namespace infer::os

#endif
