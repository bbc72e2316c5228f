#if defined(_WIN32)

#include "os/windows_api.h"
//
#include <winioctl.h>

#include <algorithm>

#include "base/format.h"
#include "os/block_file.h"
#include "os/folder.h"
#include "os/system_reason.h"
#include "os/windows_text.h"

namespace infer::os {

namespace {

constexpr size_t kBytesAtOnce = size_t{1} << 30;  // Sizes of one call are 32 bits wide.

ErrorCode code_of(DWORD reason) {
  switch (reason) {
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
    case ERROR_NOT_ENOUGH_QUOTA:
    case ERROR_FILE_TOO_LARGE: return ErrorCode::kExhausted;
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_NAME: return ErrorCode::kNotFound;
    default: return ErrorCode::kIo;
  }
}

const char* remedy_of(DWORD reason) {
  switch (code_of(reason)) {
    case ErrorCode::kExhausted: return "; free some space or choose another folder";
    case ErrorCode::kNotFound: return "; create the folder first";
    default: return reason == ERROR_ACCESS_DENIED ? "; choose a folder that you may write to" : "";
  }
}

OVERLAPPED place(uint64_t offset) {
  OVERLAPPED at{};
  at.Offset = static_cast<DWORD>(offset);
  at.OffsetHigh = static_cast<DWORD>(offset >> 32);
  return at;
}

class WindowsBlockFile final : public BlockFile {
 public:
  WindowsBlockFile(std::string folder, HANDLE file) : folder_(std::move(folder)), file_(file) {
    DWORD unused = 0;  // Without holes the room of a released part stays with the file.
    sparse_ = ::DeviceIoControl(file_, FSCTL_SET_SPARSE, nullptr, 0, nullptr, 0, &unused, nullptr) != 0;
  }
  ~WindowsBlockFile() override { ::CloseHandle(file_); }

  Status reserve(uint64_t offset, uint64_t bytes) override;
  bool release(uint64_t offset, uint64_t bytes) override;
  Status read(uint64_t offset, ReadParts parts) override;
  Status write(uint64_t offset, WriteParts parts) override;

 private:
  Error failure(const char* doing, uint64_t bytes, uint64_t offset, DWORD reason) const;

  std::string folder_;
  HANDLE file_;
  bool sparse_ = false;
};

Error WindowsBlockFile::failure(const char* doing, uint64_t bytes, uint64_t offset, DWORD reason) const {
  const ErrorCode code = code_of(reason);
  return Error{code == ErrorCode::kNotFound ? ErrorCode::kIo : code,
               format("{}: {} {} bytes at {} of a file that ends with the process failed: {}{}", folder_, doing, bytes,
                      offset, system_reason(static_cast<int>(reason)), remedy_of(reason))};
}

Status WindowsBlockFile::reserve(uint64_t offset, uint64_t bytes) {
  LARGE_INTEGER size{};
  if (!::GetFileSizeEx(file_, &size)) return failure("reserving", bytes, offset, ::GetLastError());
  if (static_cast<uint64_t>(size.QuadPart) >= offset + bytes) return {};
  FILE_END_OF_FILE_INFO end{};
  end.EndOfFile.QuadPart = static_cast<LONGLONG>(offset + bytes);
  if (!::SetFileInformationByHandle(file_, FileEndOfFileInfo, &end, sizeof end)) {
    return failure("reserving", bytes, offset, ::GetLastError());
  }
  return {};
}

bool WindowsBlockFile::release(uint64_t offset, uint64_t bytes) {
  if (!sparse_) return false;
  FILE_ZERO_DATA_INFORMATION hole{};
  hole.FileOffset.QuadPart = static_cast<LONGLONG>(offset);
  hole.BeyondFinalZero.QuadPart = static_cast<LONGLONG>(offset + bytes);
  DWORD unused = 0;
  return ::DeviceIoControl(file_, FSCTL_SET_ZERO_DATA, &hole, sizeof hole, nullptr, 0, &unused, nullptr) != 0;
}

Status WindowsBlockFile::read(uint64_t offset, ReadParts parts) {
  for (std::span<std::byte> part : parts) {
    while (!part.empty()) {
      const auto want = static_cast<DWORD>(std::min(part.size(), kBytesAtOnce));
      OVERLAPPED at = place(offset);
      DWORD got = 0;
      if (!::ReadFile(file_, part.data(), want, &got, &at)) return failure("reading", want, offset, ::GetLastError());
      if (got == 0) return failure("reading", want, offset, ERROR_HANDLE_EOF);
      part = part.subspan(got);
      offset += got;
    }
  }
  return {};
}

Status WindowsBlockFile::write(uint64_t offset, WriteParts parts) {
  for (std::span<const std::byte> part : parts) {
    while (!part.empty()) {
      const auto want = static_cast<DWORD>(std::min(part.size(), kBytesAtOnce));
      OVERLAPPED at = place(offset);
      DWORD put = 0;
      if (!::WriteFile(file_, part.data(), want, &put, &at)) return failure("writing", want, offset, ::GetLastError());
      if (put == 0) return failure("writing", want, offset, ERROR_HANDLE_DISK_FULL);
      part = part.subspan(put);
      offset += put;
    }
  }
  return {};
}

}  // namespace

// Windows removes the file when its last handle is closed, which it does itself for a process that was killed.
Result<std::unique_ptr<BlockFile>> create_block_file(const std::string& folder) {
  constexpr int kTries = 100;
  HANDLE file = INVALID_HANDLE_VALUE;
  DWORD reason = ERROR_SUCCESS;
  for (int i = 0; i < kTries && file == INVALID_HANDLE_VALUE; ++i) {
    const std::string name = format("inferos-spill.{}-{}.tmp", uint64_t{::GetCurrentProcessId()}, i);
    file = ::CreateFileW(to_utf16(path_in(folder, name)).c_str(), GENERIC_READ | GENERIC_WRITE | DELETE, 0, nullptr,
                         CREATE_NEW, FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, nullptr);
    reason = ::GetLastError();
    if (file == INVALID_HANDLE_VALUE && reason != ERROR_FILE_EXISTS && reason != ERROR_SHARING_VIOLATION) break;
  }
  if (file == INVALID_HANDLE_VALUE) {
    return Error{code_of(reason), format("{}: cannot create a file in it: {}{}", folder,
                                         system_reason(static_cast<int>(reason)), remedy_of(reason))};
  }
  return std::unique_ptr<BlockFile>(std::make_unique<WindowsBlockFile>(folder, file));
}

bool folder_is_in_memory(const std::string&) { return false; }

}  // namespace infer::os

#endif
