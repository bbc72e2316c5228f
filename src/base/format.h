// format("tensor {}: {} bytes", name, size): text for messages and output, in {fmt}'s language, without its headers in
// ours (they cost a second of compile time in each file). Arguments are numbers, bools, chars and strings.
// A wrong format string is a programmer error.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

namespace infer {

using FormatArg = std::variant<int64_t, uint64_t, double, bool, char, std::string_view>;

std::string format_args(std::string_view pattern, std::initializer_list<FormatArg> args);

template <class T>
FormatArg to_format_arg(const T& value) {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, char>) {
    return value;
  } else if constexpr (std::is_enum_v<T>) {
    return to_format_arg(static_cast<std::underlying_type_t<T>>(value));
  } else if constexpr (std::is_floating_point_v<T>) {
    return static_cast<double>(value);
  } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    return static_cast<int64_t>(value);
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<uint64_t>(value);
  } else {
    return std::string_view(value);
  }
}

template <class... Args>
std::string format(std::string_view pattern, const Args&... args) {
  return format_args(pattern, {to_format_arg(args)...});
}

}  // namespace infer
