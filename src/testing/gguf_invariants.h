// What gguf/file.h promises of every file that it accepts, checked from outside: for hostile bytes in tests and
// fuzzing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/file.h"
#include "gguf/limits.h"

namespace infer::testing {

inline bool lies_inside(std::span<const std::byte> part, std::span<const std::byte> whole) {
  const std::less_equal<> ordered;
  return part.empty() ||
         (ordered(whole.data(), part.data()) && ordered(part.data() + part.size(), whole.data() + whole.size()));
}

// Reads the value in every way there is; says what is wrong with the answers.
inline std::string broken_value(const gguf::Value& value, std::span<const std::byte> bytes) {
  if (!lies_inside(value.bytes(), bytes)) return "a value outside the file";
  if (value.to_text(60).size() > 4 * 60) return "a text longer than asked for";
  const bool is_array = value.type() == gguf::ValueType::kArray;
  const std::optional<std::vector<std::string_view>> texts = value.as_strings();
  if (texts.has_value() != (is_array && value.element_type() == gguf::ValueType::kString)) return "unreadable strings";
  if (texts && texts->size() != value.count()) return "strings of another count";
  for (const std::string_view text : texts.value_or(std::vector<std::string_view>())) {
    if (!lies_inside(std::as_bytes(std::span(text)), bytes)) return "an array element outside the file";
  }
  if (const auto ints = value.as_ints(); ints && ints->size() != value.count()) return "integers of another count";
  if (const auto floats = value.as_floats(); floats && floats->size() != value.count())
    return "floats of another count";
  if (is_array && (value.as_int() || value.as_float() || value.as_bool() || value.as_string()))
    return "an array as one value";
  if (!is_array && value.count() != 1) return "a scalar that is many";
  return "";
}

inline std::string broken_metadata(const gguf::File& file, std::span<const std::byte> bytes) {
  if (file.metadata().size() > gguf::Limits::kMetadataEntries) return "more entries than the limit";
  for (const gguf::MetadataEntry& entry : file.metadata()) {
    if (!lies_inside(std::as_bytes(std::span(entry.key)), bytes)) return "a key outside the file";
    if (file.find(entry.key) != &entry.value) return "a key that finds another entry";
    const std::string broken = broken_value(entry.value, bytes);
    if (!broken.empty()) return broken;
    (void)file.get_u32(entry.key).has_value();
    (void)file.get_f32(entry.key).has_value();
    (void)file.get_bool_or(entry.key, false).has_value();
    (void)file.get_string(entry.key).has_value();
  }
  return "";
}

inline std::string broken_tensor(const gguf::Tensor& tensor, std::span<const std::byte> bytes, uint32_t alignment) {
  const kernels::WeightTypeInfo* info = kernels::weight_type_info(static_cast<uint32_t>(tensor.type));
  if (info == nullptr) return "an unknown type";
  if (!lies_inside(std::as_bytes(std::span(tensor.name)), bytes)) return "a name outside the file";
  if (!lies_inside(tensor.data, bytes) || tensor.data.empty()) return "data outside the file";
  if (static_cast<size_t>(tensor.data.data() - bytes.data()) % alignment != 0) return "data off the alignment";
  if (tensor.dim_count < 1 || tensor.dim_count > 4) return "a wrong number of dimensions";
  unsigned __int128 elements = 1;
  for (size_t i = 0; i < 4; ++i) {
    if (tensor.dims[i] == 0 || (i >= tensor.dim_count && tensor.dims[i] != 1)) return "a wrong dimension";
    elements *= tensor.dims[i];
    if (elements > gguf::Limits::kElements) return "too many elements";
  }
  if (tensor.dims[0] % info->block_elems != 0) return "a broken block";
  if (elements / info->block_elems * info->block_bytes != tensor.data.size())
    return "data of another length than the shape";
  return "";
}

// Empty when every promise holds. `bytes` are what the file was parsed from.
inline std::string broken_invariant(const gguf::File& file, std::span<const std::byte> bytes) {
  std::string broken = broken_metadata(file, bytes);
  if (!broken.empty()) return broken;
  const gguf::Value* stated = file.find("general.alignment");
  const auto alignment = stated != nullptr ? static_cast<uint32_t>(stated->as_int().value_or(0)) : 32u;
  if (alignment < 8 || (alignment & (alignment - 1)) != 0) return "a wrong alignment";
  uint64_t total = 0;
  for (const gguf::Tensor& tensor : file.tensors()) {
    if (file.find_tensor(tensor.name) != &tensor) return "a name that finds another tensor";
    broken = broken_tensor(tensor, bytes, alignment);
    if (!broken.empty()) return broken;
    total += tensor.data.size();
  }
  return total <= bytes.size() && file.file_bytes() == bytes.size() ? "" : "tensors that share data";
}

}  // namespace infer::testing
