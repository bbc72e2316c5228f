#include "os/append_file.h"

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/format.h"

namespace infer::os {

namespace {

namespace fs = std::filesystem;

fs::path path_of(const std::string& text) {
  return fs::path(std::u8string(reinterpret_cast<const char8_t*>(text.data()), text.size()));
}

Error failure(const std::string& path, const char* what) {
  const int reason = errno;
  return Error{ErrorCode::kIo, format("{}: cannot {}: {}", path, what, std::generic_category().message(reason))};
}

// The length of the file up to the end of its last whole line.
Result<uintmax_t> whole_lines(const std::string& path, uintmax_t size) {
  std::ifstream file(path_of(path), std::ios::binary);
  for (uintmax_t end = size; end > 0;) {
    char chunk[4096];
    const uintmax_t begin = end > sizeof chunk ? end - sizeof chunk : 0;
    const auto count = static_cast<std::streamsize>(end - begin);
    if (!file.seekg(static_cast<std::streamoff>(begin)).read(chunk, count)) return failure(path, "read");
    const size_t at = std::string_view(chunk, static_cast<size_t>(count)).rfind('\n');
    if (at != std::string_view::npos) return begin + at + 1;
    end = begin;
  }
  return uintmax_t{0};
}

}  // namespace

Result<AppendFile> AppendFile::open(const std::string& path) {
  const fs::path native = path_of(path);
  std::error_code error;
  if (fs::is_directory(native, error)) {
    return Error{ErrorCode::kInvalidArgument, format("{}: is a directory; name a file inside it", path)};
  }
  const uintmax_t size = fs::exists(native, error) ? fs::file_size(native, error) : 0;
  if (!error && size > 0) {
    INFER_ASSIGN(const uintmax_t whole, whole_lines(path, size));
    if (whole < size) fs::resize_file(native, whole, error);
  }
  if (error) return Error{ErrorCode::kIo, format("{}: {}", path, error.message())};
  errno = 0;
  std::ofstream file(native, std::ios::binary | std::ios::app);
  if (file) return AppendFile(path, std::move(file));
  if (errno == ENOENT || errno == ENOTDIR) {
    return Error{ErrorCode::kNotFound, format("{}: its folder does not exist; create it first", path)};
  }
  return failure(path, "open");
}

Status AppendFile::append_line(std::string_view text) {
  std::string line(text);
  line += '\n';
  errno = 0;
  if (file_.write(line.data(), static_cast<std::streamsize>(line.size())) && file_.flush()) return {};
  return failure(path_, "write");
}

}  // namespace infer::os
