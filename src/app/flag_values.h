// What the words behind flags mean: numbers and times.
// Thread safety: pure functions.
#pragma once

#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <type_traits>

#include "base/result.h"
#include "base/time.h"

namespace infer::app {

// The whole text, or nothing.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  if constexpr (std::is_floating_point_v<T>) {
    if (!std::isfinite(value)) return std::nullopt;
  }
  return value;
}

// "30s", "500ms", "2m", "1.5h"; digits alone are seconds.
Result<Duration> parse_duration(std::string_view text);

}  // namespace infer::app
