#if defined(_WIN32)

#include "os/windows_api.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/bytes.h"
#include "base/format.h"
#include "os/system_reason.h"
#include "os/text_file.h"
#include "os/windows_text.h"

namespace infer::os {

namespace {

class FileHandle {
 public:
  explicit FileHandle(HANDLE handle) : handle_(handle) {}
  ~FileHandle() { close(); }
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;

  HANDLE get() const { return handle_; }
  bool valid() const { return handle_ != INVALID_HANDLE_VALUE; }
  void close() {
    if (valid()) ::CloseHandle(std::exchange(handle_, INVALID_HANDLE_VALUE));
  }

 private:
  HANDLE handle_;
};

Error io_error(const std::string& path, std::string_view doing, DWORD code) {
  if (code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND || code == ERROR_INVALID_NAME) {
    return Error{ErrorCode::kNotFound, format("{}: no such file or folder; check the path", path)};
  }
  const bool full = code == ERROR_DISK_FULL || code == ERROR_HANDLE_DISK_FULL;
  return Error{full ? ErrorCode::kExhausted : ErrorCode::kIo,
               format("{}: cannot {}: {}", path, doing, system_reason(static_cast<int>(code)))};
}

Status refuse_directory(const std::string& path, const std::wstring& wide) {
  const DWORD attributes = ::GetFileAttributesW(wide.c_str());
  if (attributes == INVALID_FILE_ATTRIBUTES || (attributes & FILE_ATTRIBUTE_DIRECTORY) == 0) return {};
  return Error{ErrorCode::kInvalidArgument, format("{}: is a directory; name a file inside it", path)};
}

// Creates a file next to `wide` under a name that nobody uses; `name` is that name.
HANDLE create_beside(const std::wstring& wide, std::wstring* name) {
  constexpr int kTries = 100;
  HANDLE file = INVALID_HANDLE_VALUE;
  for (int i = 0; i < kTries && file == INVALID_HANDLE_VALUE; ++i) {
    *name = wide + L"." + std::to_wstring(::GetCurrentProcessId()) + L"-" + std::to_wstring(i) + L".tmp";
    file = ::CreateFileW(name->c_str(), GENERIC_WRITE, 0, nullptr, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, nullptr);
    if (file == INVALID_HANDLE_VALUE && ::GetLastError() != ERROR_FILE_EXISTS) break;
  }
  return file;
}

Status write_all(const std::string& path, HANDLE file, std::string_view text) {
  constexpr size_t kMost = size_t{1} << 30;  // Sizes are 32 bits wide here.
  while (!text.empty()) {
    DWORD put = 0;
    if (!::WriteFile(file, text.data(), static_cast<DWORD>(std::min(text.size(), kMost)), &put, nullptr)) {
      return io_error(path, "write", ::GetLastError());
    }
    text.remove_prefix(put);
  }
  if (!::FlushFileBuffers(file)) return io_error(path, "write to the disk", ::GetLastError());
  return {};
}

}  // namespace

Result<std::string> read_text_file(const std::string& path, size_t max_bytes) {
  const std::wstring wide = to_utf16(path);
  INFER_TRY(refuse_directory(path, wide));
  const FileHandle file(::CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr,
                                      OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr));
  if (!file.valid()) return io_error(path, "open", ::GetLastError());
  std::string text;
  char chunk[16 * 1024];
  while (true) {
    DWORD got = 0;
    const DWORD want = static_cast<DWORD>(std::min(sizeof(chunk), max_bytes - text.size() + 1));
    // A pipe whose writer is gone ends with an error.
    if (!::ReadFile(file.get(), chunk, want, &got, nullptr) && ::GetLastError() != ERROR_BROKEN_PIPE) {
      return io_error(path, "read", ::GetLastError());
    }
    if (got == 0) return text;
    if (got > max_bytes - text.size()) {
      return Error{ErrorCode::kExhausted,
                   format("{}: larger than the limit of {} ({} bytes)", path, format_bytes(max_bytes), max_bytes)};
    }
    text.append(chunk, got);
  }
}

// Files lie in the user's profile, which others cannot read by default, so owner-only needs nothing more here.
Status write_text_file(const std::string& path, std::string_view text, FileAccess) {
  const std::wstring wide = to_utf16(path);
  INFER_TRY(refuse_directory(path, wide));
  std::wstring temporary;
  FileHandle file(create_beside(wide, &temporary));
  if (!file.valid()) return io_error(path, "create", ::GetLastError());
  Status status = write_all(path, file.get(), text);
  file.close();
  if (status && !::MoveFileExW(temporary.c_str(), wide.c_str(), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)) {
    status = io_error(path, "replace", ::GetLastError());
  }
  if (!status) ::DeleteFileW(temporary.c_str());
  return status;
}

}  // namespace infer::os

#endif
