// File names of split models: "<prefix>-00001-of-00003.gguf", parts counted from 1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace infer::gguf {

struct SplitName {
  std::string prefix;  // With its folders.
  uint32_t part;       // 1 .. parts
  uint32_t parts;

  std::string path_of(uint32_t wanted_part) const;
};

// Nothing when the path does not have this form.
std::optional<SplitName> parse_split_name(std::string_view path);

}  // namespace infer::gguf
