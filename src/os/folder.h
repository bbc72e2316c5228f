// A folder of files that a program keeps for itself, such as a cache: what lies in it, how large and how old.
// Errors name the path and the system's reason. Thread safety: any thread; other processes may change the folder at any
// time, so that a file of the list may be gone when it is wanted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace infer::os {

struct FolderEntry {
  std::string name;  // Without the folder.
  uint64_t bytes = 0;
  Duration age;  // Since it was last written or marked as used; never negative.
};

// Creates the folder and those above it where they are missing, for this user alone. kIo when that is refused.
Status make_private_folder(const std::string& path);
// The plain files in it, in no order. kNotFound: no such folder.
Result<std::vector<FolderEntry>> list_folder(const std::string& path);
// Its age starts anew. False when it cannot be marked (a read-only disk).
bool mark_as_used(const std::string& path);
// False when it is still there: in use (Windows) or not ours.
bool remove_file(const std::string& path);

// The size of a plain file. kNotFound, kIo.
Result<uint64_t> file_bytes(const std::string& path);
// `to` is replaced when it is there. kNotFound: there is no `from`; kIo when it is refused.
Status rename_file(const std::string& from, const std::string& to);

// "folder/name" in the system's way.
std::string path_in(const std::string& folder, const std::string& name);

// Where this system keeps files that programs can make again: $XDG_CACHE_HOME or ~/.cache, ~/Library/Caches,
// %LOCALAPPDATA%. "" when the environment names none.
std::string user_cache_folder();

}  // namespace infer::os
