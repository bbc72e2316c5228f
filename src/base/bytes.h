// Sizes in bytes as text: for people (1.3 GB) and from people ("16GB", "512MiB", "123").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace infer {

// "812 B", "3.8 MB", "1.32 GB": decimal units, three significant digits.
std::string format_bytes(uint64_t bytes);

// Digits alone are bytes; else ^\d+(\.\d+)?(B|KB|MB|GB|KiB|MiB|GiB)$, case-insensitive, KB = 1000, KiB = 1024.
Result<uint64_t> parse_bytes(std::string_view text);

}  // namespace infer
