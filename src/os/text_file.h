// Whole small files: configuration, prompts, templates, state. Bytes are taken as they are.
// Errors name the path and the way out.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace infer::os {

// kNotFound; kInvalidArgument for a directory; kExhausted when there are more than max_bytes (never more than that is
// read); kIo. A pipe is read to its end, so that `<(command)` of a shell works; it may wait for its writer.
Result<std::string> read_text_file(const std::string& path, size_t max_bytes);

enum class FileAccess {
  kDefault,    // A file that exists keeps its permissions; a new one gets those of the process.
  kOwnerOnly,  // Nobody else may read it: secrets.
};

// Replaces the file as a whole: whoever reads it, and whatever happens meanwhile, finds the old text or the new one.
// The folder must exist. The text is on the disk when this returns.
Status write_text_file(const std::string& path, std::string_view text, FileAccess access = FileAccess::kDefault);

}  // namespace infer::os
