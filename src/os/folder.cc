#include "os/folder.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <system_error>

#include "base/format.h"
#include "os/environment.h"

namespace infer::os {

namespace fs = std::filesystem;

namespace {

// Paths are UTF-8 everywhere; on Windows the plain constructor would take them for the system's code page.
fs::path as_path(const std::string& text) { return fs::path(std::u8string(text.begin(), text.end())); }
std::string as_text(const fs::path& path) {
  const std::u8string text = path.u8string();
  return std::string(text.begin(), text.end());
}

std::string variable(const char* name) { return environment_variable(name).value_or(""); }

std::optional<FolderEntry> describe(const fs::directory_entry& file, fs::file_time_type now) {
  std::error_code error;
  if (!file.is_regular_file(error) || error) return std::nullopt;
  const uintmax_t bytes = file.file_size(error);
  if (error) return std::nullopt;  // It went away meanwhile.
  const fs::file_time_type written = file.last_write_time(error);
  if (error) return std::nullopt;
  const auto age = std::chrono::duration_cast<std::chrono::nanoseconds>(now - written);
  return FolderEntry{as_text(file.path().filename()), static_cast<uint64_t>(bytes),
                     Duration::from_ns(std::max<int64_t>(age.count(), 0))};  // The clock may have been set back.
}

}  // namespace

Status make_private_folder(const std::string& path) {
  std::error_code error;
  const bool created = fs::create_directories(as_path(path), error);
  if (error) return Error{ErrorCode::kIo, format("{}: cannot create the folder: {}", path, error.message())};
  // A folder that was there keeps the permissions that somebody gave it.
  if (created) fs::permissions(as_path(path), fs::perms::owner_all, error);
  return {};
}

Result<std::vector<FolderEntry>> list_folder(const std::string& path) {
  std::error_code error;
  fs::directory_iterator files(as_path(path), error);
  std::vector<FolderEntry> entries;
  const fs::file_time_type now = fs::file_time_type::clock::now();
  for (; !error && files != fs::directory_iterator(); files.increment(error)) {
    if (std::optional<FolderEntry> entry = describe(*files, now)) entries.push_back(*std::move(entry));
  }
  if (!error) return entries;
  const bool missing = error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory;
  return Error{missing ? ErrorCode::kNotFound : ErrorCode::kIo,
               format("{}: cannot list the folder: {}", path, error.message())};
}

bool mark_as_used(const std::string& path) {
  std::error_code error;
  fs::last_write_time(as_path(path), fs::file_time_type::clock::now(), error);
  return !error;
}

bool remove_file(const std::string& path) {
  std::error_code error;
  fs::remove(as_path(path), error);
  return !error;
}

Result<uint64_t> file_bytes(const std::string& path) {
  std::error_code error;
  const uintmax_t bytes = fs::file_size(as_path(path), error);
  if (!error) return uint64_t{bytes};
  const bool is_missing = error == std::errc::no_such_file_or_directory;
  return Error{is_missing ? ErrorCode::kNotFound : ErrorCode::kIo, format("{}: {}", path, error.message())};
}

Status rename_file(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::rename(as_path(from), as_path(to), error);
  if (!error) return {};
  const bool is_missing = error == std::errc::no_such_file_or_directory;
  return Error{is_missing ? ErrorCode::kNotFound : ErrorCode::kIo,
               format("{}: cannot be renamed to {}: {}", from, to, error.message())};
}

std::string path_in(const std::string& folder, const std::string& name) {
  return as_text(as_path(folder) / as_path(name));
}

std::string user_cache_folder() {
#if defined(_WIN32)
  return variable("LOCALAPPDATA");
#elif defined(__APPLE__)
  const std::string home = variable("HOME");
  return home.empty() ? "" : path_in(home, "Library/Caches");
#else
  std::string named = variable("XDG_CACHE_HOME");
  if (as_path(named).is_absolute()) return named;  // Others are to be ignored, says its specification.
  const std::string home = variable("HOME");
  return home.empty() ? "" : path_in(home, ".cache");
#endif
}

}  // namespace infer::os
