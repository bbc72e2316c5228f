#include <charconv>
#include <cmath>
#include <limits>

#include "base/format.h"
#include "gguf/byte_reader.h"
#include "gguf/file.h"
#include "gguf/printable.h"
#include "gguf/type_names.h"

namespace infer::gguf {

namespace {

// Calls `use` with the number at `from` in its own C++ type; false when `type` is no number (bool counts as none).
template <class Use>
bool with_number(ValueType type, const std::byte* from, Use&& use) {
  switch (type) {
    case ValueType::kUint8: use(load<uint8_t>(from)); return true;
    case ValueType::kInt8: use(load<int8_t>(from)); return true;
    case ValueType::kUint16: use(load<uint16_t>(from)); return true;
    case ValueType::kInt16: use(load<int16_t>(from)); return true;
    case ValueType::kUint32: use(load<uint32_t>(from)); return true;
    case ValueType::kInt32: use(load<int32_t>(from)); return true;
    case ValueType::kUint64: use(load<uint64_t>(from)); return true;
    case ValueType::kInt64: use(load<int64_t>(from)); return true;
    case ValueType::kFloat32: use(load<float>(from)); return true;
    case ValueType::kFloat64: use(load<double>(from)); return true;
    case ValueType::kBool:
    case ValueType::kString:
    case ValueType::kArray: return false;
  }
  return false;
}

std::optional<int64_t> int_at(ValueType type, const std::byte* from) {
  if (type == ValueType::kBool) return load<uint8_t>(from) != 0 ? 1 : 0;
  std::optional<int64_t> result;
  with_number(type, from, [&](auto number) {
    if constexpr (std::is_integral_v<decltype(number)>) {
      if (std::in_range<int64_t>(number)) result = static_cast<int64_t>(number);
    }
  });
  return result;
}

std::optional<double> float_at(ValueType type, const std::byte* from) {
  std::optional<double> result;
  with_number(type, from, [&](auto number) { result = static_cast<double>(number); });
  return result;
}

// Infinities and NaN pass; a finite value that only a double can hold does not.
std::optional<float> narrow(double value) {
  if (std::isfinite(value) && std::abs(value) > static_cast<double>(std::numeric_limits<float>::max())) return {};
  return static_cast<float>(value);
}

std::string number_text(ValueType type, const std::byte* from) {
  std::array<char, 64> text;
  std::to_chars_result end{text.data(), std::errc()};
  with_number(type, from, [&](auto number) { end = std::to_chars(text.data(), text.data() + text.size(), number); });
  return std::string(text.data(), end.ptr);
}

}  // namespace

std::optional<int64_t> Value::as_int() const {
  const size_t size = value_type_bytes(type_);
  if (size == 0 || bytes_.size() != size) return {};
  return int_at(type_, bytes_.data());
}

std::optional<double> Value::as_float() const {
  const size_t size = value_type_bytes(type_);
  if (size == 0 || bytes_.size() != size) return {};
  return float_at(type_, bytes_.data());
}

std::optional<bool> Value::as_bool() const {
  if (type_ != ValueType::kBool || bytes_.size() != 1) return {};
  return bytes_[0] != std::byte{0};
}

std::optional<std::string_view> Value::as_string() const {
  if (type_ != ValueType::kString) return {};
  return as_text(bytes_);
}

std::optional<std::vector<std::string_view>> Value::as_strings() const {
  if (type_ != ValueType::kArray || element_type_ != ValueType::kString) return {};
  if (count_ > bytes_.size() / sizeof(uint64_t)) return {};
  std::vector<std::string_view> strings;
  strings.reserve(static_cast<size_t>(count_));
  ByteReader reader(bytes_);
  for (uint64_t i = 0; i < count_; ++i) {
    uint64_t length = 0;
    std::span<const std::byte> text;
    if (!reader.read_string(&text, &length)) return {};
    strings.push_back(as_text(text));
  }
  return strings;
}

std::optional<std::vector<int64_t>> Value::as_ints() const {
  const size_t size = value_type_bytes(element_type_);
  if (type_ != ValueType::kArray || size == 0 || count_ != bytes_.size() / size) return {};
  std::vector<int64_t> ints;
  ints.reserve(static_cast<size_t>(count_));
  for (size_t i = 0; i < count_; ++i) {
    const std::optional<int64_t> value = int_at(element_type_, bytes_.data() + i * size);
    if (!value) return {};
    ints.push_back(*value);
  }
  return ints;
}

std::optional<std::vector<float>> Value::as_floats() const {
  const size_t size = value_type_bytes(element_type_);
  if (type_ != ValueType::kArray || size == 0 || count_ != bytes_.size() / size) return {};
  if (element_type_ == ValueType::kBool) return {};
  std::vector<float> floats;
  floats.reserve(static_cast<size_t>(count_));
  for (size_t i = 0; i < count_; ++i) {
    const std::optional<double> wide = float_at(element_type_, bytes_.data() + i * size);
    const std::optional<float> value = wide ? narrow(*wide) : std::nullopt;
    if (!value) return {};
    floats.push_back(*value);
  }
  return floats;
}

std::string Value::to_text(size_t max_chars) const {
  if (type_ == ValueType::kArray) {
    return printable(format("[{} x {}]", value_type_name(element_type_), count_), max_chars);
  }
  if (type_ == ValueType::kString) {
    if (max_chars < 2) return std::string(max_chars, '.');
    return format("\"{}\"", printable(as_text(bytes_), max_chars - 2));
  }
  if (bytes_.size() != value_type_bytes(type_)) return printable("?", max_chars);
  if (type_ == ValueType::kBool) return printable(*as_bool() ? "true" : "false", max_chars);
  return printable(number_text(type_, bytes_.data()), max_chars);
}

std::string Tensor::shape_text() const {
  std::string text = "[";
  for (uint32_t i = 0; i < dim_count; ++i) text += format("{}{}", i == 0 ? "" : ", ", dims[i]);
  return text + "]";
}

}  // namespace infer::gguf
