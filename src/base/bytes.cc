#include "base/bytes.h"

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>

#include "base/format.h"

namespace infer {

namespace {

struct Unit {
  std::string_view name;
  double bytes;
};

constexpr std::array<Unit, 7> kUnits{{{"b", 1.0},
                                      {"kb", 1e3},
                                      {"mb", 1e6},
                                      {"gb", 1e9},
                                      {"kib", 1024.0},
                                      {"mib", 1024.0 * 1024.0},
                                      {"gib", 1024.0 * 1024.0 * 1024.0}}};

Error bad_size(std::string_view text) {
  return Error{
      ErrorCode::kInvalidArgument,
      format("'{}' is not a size: write bytes (1073741824) or a number with B, KB, MB, GB, KiB, MiB or GiB (16GB)",
             text)};
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Length of the leading \d+(\.\d+)?, or 0.
size_t number_length(std::string_view text) {
  size_t i = 0;
  while (i < text.size() && is_digit(text[i])) ++i;
  if (i == 0 || i == text.size() || text[i] != '.') return i;
  size_t end = i + 1;
  while (end < text.size() && is_digit(text[end])) ++end;
  return end > i + 1 ? end : 0;
}

}  // namespace

std::string format_bytes(uint64_t bytes) {
  constexpr std::array<const char*, 5> kNames{"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kNames.size()) {
    value /= 1000.0;
    ++unit;
  }
  if (unit == 0) return format("{} B", bytes);
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return format("{:.{}f} {}", value, decimals, kNames[unit]);
}

Result<uint64_t> parse_bytes(std::string_view text) {
  const size_t length = number_length(text);
  if (length == 0) return bad_size(text);
  const std::string_view number = text.substr(0, length);
  if (length == text.size()) {
    uint64_t bytes = 0;
    const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), bytes);
    if (failure != std::errc() || end != number.data() + number.size()) return bad_size(text);
    return bytes;
  }
  std::string suffix(text.substr(length));
  for (char& c : suffix) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  double value = 0;
  const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (failure != std::errc() || end != number.data() + number.size()) return bad_size(text);
  for (const Unit& unit : kUnits) {
    if (suffix != unit.name) continue;
    const double bytes = value * unit.bytes;
    if (!(bytes < 9.2e18)) return bad_size(text);
    return static_cast<uint64_t>(std::llround(bytes));
  }
  return bad_size(text);
}

}  // namespace infer
