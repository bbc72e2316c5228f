#include "http/syntax.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "base/format.h"

namespace infer::http {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool is_alphanumeric(char c) { return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z'); }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char small = lower(c);
  return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

std::string two_digits(int64_t number) { return format("{:02}", number); }

}  // namespace

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alphanumeric(c) || (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
  });
}

bool is_field_byte(char byte) {
  const auto c = static_cast<unsigned char>(byte);
  return c == '\t' || (c >= 0x20 && c != 0x7F);
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool is_token_list(std::string_view list) {
  while (!list.empty()) {
    const std::string_view part = list.substr(0, list.find(','));
    if (!trim(part).empty() && !is_token(trim(part))) return false;
    list.remove_prefix(std::min(part.size() + 1, list.size()));
  }
  return true;
}

bool list_contains(std::string_view list, std::string_view element) {
  while (!list.empty()) {
    const std::string_view part = list.substr(0, list.find(','));
    if (equals_ignoring_case(trim(part), element)) return true;
    list.remove_prefix(std::min(part.size() + 1, list.size()));
  }
  return false;
}

std::optional<uint64_t> parse_decimal(std::string_view text) {
  if (text.empty() || text.size() > 18) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

std::optional<uint64_t> parse_hex(std::string_view text) {
  if (text.empty() || text.size() > 15) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    const int digit = hex_digit(c);
    if (digit < 0) return std::nullopt;
    value = value * 16 + static_cast<uint64_t>(digit);
  }
  return value;
}

std::optional<std::string> percent_decode(std::string_view text, PlusMeans plus) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus == PlusMeans::kSpace) {
      decoded += ' ';
    } else if (text[i] != '%') {
      decoded += text[i];
    } else {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      const char byte = static_cast<char>(high * 16 + low);
      if (!is_field_byte(byte)) return std::nullopt;
      decoded += byte;
      i += 2;
    }
  }
  return decoded;
}

bool equals_in_constant_time(std::string_view secret, std::string_view guess) {
  // Volatile, so that no compiler finds the early exit that this function exists to avoid.
  volatile unsigned char difference = secret.size() == guess.size() ? 0 : 1;
  for (size_t i = 0; i < guess.size(); ++i) {
    const char expected = secret.empty() ? '\0' : secret[i % secret.size()];
    difference = static_cast<unsigned char>(difference | static_cast<unsigned char>(expected ^ guess[i]));
  }
  return difference == 0 && !secret.empty();
}

// Civil date from days since 1970 by Howard Hinnant's algorithm (public domain): years start in March, so that the leap
// day is the last of its year.
std::string http_date(WallTime time) {
  static constexpr std::array<const char*, 7> kDays{"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
  static constexpr std::array<const char*, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const int64_t seconds = std::max<int64_t>(time.unix_ms, 0) / 1000;
  const int64_t days = seconds / 86400;
  const int64_t of_day = seconds % 86400;
  const int64_t shifted = days + 719468;  // Since 0000-03-01.
  const int64_t era = shifted / 146097;
  const int64_t day_of_era = shifted % 146097;
  const int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const int64_t month = month_from_march < 10 ? month_from_march + 2 : month_from_march - 10;  // January is 0.
  const int64_t year = year_of_era + era * 400 + (month <= 1 ? 1 : 0);
  return format("{}, {} {} {} {}:{}:{} GMT", kDays[static_cast<size_t>(days % 7)], two_digits(day),
                kMonths[static_cast<size_t>(month)], year, two_digits(of_day / 3600), two_digits(of_day / 60 % 60),
                two_digits(of_day % 60));
}

}  // namespace infer::http
