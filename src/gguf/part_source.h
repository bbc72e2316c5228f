// Where the parts of a model come from: mapped files in the product, memory in tests.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "gguf/file.h"
#include "os/file_map.h"

namespace infer::gguf {

// The bytes of one part, and the mapping that holds them (none for memory that outlives the File).
struct PartBytes {
  std::optional<os::FileMap> map;
  std::span<const std::byte> bytes;
};

// Its errors name the path.
using OpenPart = std::function<Result<PartBytes>(const std::string& path)>;

// File::open with another source of bytes.
Result<std::unique_ptr<File>> open_model(const std::string& path, const OpenPart& open_part);

}  // namespace infer::gguf
