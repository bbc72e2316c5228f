#include <cmath>
#include <limits>

#include "base/format.h"
#include "gguf/file.h"
#include "gguf/printable.h"

namespace infer::gguf {

namespace {

Error absent(std::string_view key, std::string_view expected) {
  return Error{ErrorCode::kNotFound,
               format("metadata key {} ({}) is missing: the model file is incomplete", quoted(key), expected)};
}

Error mismatch(std::string_view key, std::string_view expected, const Value& value) {
  return Error{ErrorCode::kCorrupt, format("metadata key {} must be {}, but is {} of type {}", quoted(key), expected,
                                           value.to_text(40), value_type_name(value.type()))};
}

Result<uint32_t> to_u32(std::string_view key, const Value& value) {
  const std::optional<int64_t> number = value.type() == ValueType::kBool ? std::nullopt : value.as_int();
  if (!number || *number < 0 || *number > std::numeric_limits<uint32_t>::max()) {
    return mismatch(key, "an integer from 0 to 4294967295", value);
  }
  return static_cast<uint32_t>(*number);
}

Result<float> to_f32(std::string_view key, const Value& value) {
  const std::optional<double> number = value.as_float();
  if (!number || !(std::abs(*number) <= static_cast<double>(std::numeric_limits<float>::max()))) {
    return mismatch(key, "a finite number", value);
  }
  return static_cast<float>(*number);
}

Result<bool> to_bool(std::string_view key, const Value& value) {
  const std::optional<bool> flag = value.as_bool();
  if (!flag) return mismatch(key, "a bool", value);
  return *flag;
}

Result<std::string_view> to_string(std::string_view key, const Value& value) {
  const std::optional<std::string_view> text = value.as_string();
  if (!text) return mismatch(key, "a string", value);
  return *text;
}

}  // namespace

Result<uint32_t> File::get_u32(std::string_view key) const {
  const Value* value = find(key);
  return value != nullptr ? to_u32(key, *value) : absent(key, "an integer");
}

Result<uint32_t> File::get_u32_or(std::string_view key, uint32_t fallback) const {
  const Value* value = find(key);
  return value != nullptr ? to_u32(key, *value) : fallback;
}

Result<float> File::get_f32(std::string_view key) const {
  const Value* value = find(key);
  return value != nullptr ? to_f32(key, *value) : absent(key, "a number");
}

Result<float> File::get_f32_or(std::string_view key, float fallback) const {
  const Value* value = find(key);
  return value != nullptr ? to_f32(key, *value) : fallback;
}

Result<bool> File::get_bool_or(std::string_view key, bool fallback) const {
  const Value* value = find(key);
  return value != nullptr ? to_bool(key, *value) : fallback;
}

Result<std::string_view> File::get_string(std::string_view key) const {
  const Value* value = find(key);
  return value != nullptr ? to_string(key, *value) : absent(key, "a string");
}

Result<std::string_view> File::get_string_or(std::string_view key, std::string_view fallback) const {
  const Value* value = find(key);
  return value != nullptr ? to_string(key, *value) : fallback;
}

}  // namespace infer::gguf
