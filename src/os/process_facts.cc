// What the standard library answers alike everywhere.
#include "os/process_facts.h"

#include <filesystem>
#include <system_error>

#include "base/format.h"

namespace infer::os {

Result<uint64_t> free_disk_bytes(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path place = fs::absolute(fs::path(std::u8string(path.begin(), path.end())), error);
  // A file that is yet to be written lies on the disk of the nearest folder that exists.
  while (!error && !fs::exists(place, error) && place.has_relative_path()) {
    error.clear();
    place = place.parent_path();
  }
  const fs::space_info space = error ? fs::space_info{} : fs::space(place, error);
  if (error) {
    return Error{ErrorCode::kIo, format("{}: cannot tell how much disk space is free: {}", path, error.message())};
  }
  return static_cast<uint64_t>(space.available);
}

}  // namespace infer::os
