#include "jinja/calendar_time.h"

#include <array>
#include <chrono>

#include "base/format.h"

namespace infer::jinja {
namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                      "May",       "June",     "July",     "August",
                                                      "September", "October",  "November", "December"};

struct CalendarTime {
  int64_t year;
  unsigned month, day, weekday, day_of_year;  // From 1, 1, 0 (Sunday), 1.
  int64_t hour, minute, second;
};

CalendarTime calendar_of(WallTime time) {
  using std::chrono::days;
  const std::chrono::sys_time<std::chrono::milliseconds> instant{std::chrono::milliseconds(time.unix_ms)};
  const auto day = std::chrono::floor<days>(instant);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::seconds>(instant - day));
  const auto first = std::chrono::sys_days(date.year() / 1 / 1);
  return {int{date.year()},
          unsigned{date.month()},
          unsigned{date.day()},
          std::chrono::weekday(day).c_encoding(),
          static_cast<unsigned>((day - first).count()) + 1,
          clock.hours().count(),
          clock.minutes().count(),
          clock.seconds().count()};
}

// Empty for a letter that is not known.
std::string field(const CalendarTime& time, char letter, bool padded) {
  const auto two = [padded](int64_t number) { return format(padded ? "{:02}" : "{}", number); };
  switch (letter) {
    case 'a': return std::string(kDays[time.weekday].substr(0, 3));
    case 'A': return std::string(kDays[time.weekday]);
    case 'b': return std::string(kMonths[time.month - 1].substr(0, 3));
    case 'B': return std::string(kMonths[time.month - 1]);
    case 'd': return two(time.day);
    case 'e': return format("{:2}", time.day);
    case 'H': return two(time.hour);
    case 'I': return two((time.hour + 11) % 12 + 1);
    case 'j': return format(padded ? "{:03}" : "{}", time.day_of_year);
    case 'm': return two(time.month);
    case 'M': return two(time.minute);
    case 'p': return time.hour < 12 ? "AM" : "PM";
    case 'S': return two(time.second);
    case 'y': return two(time.year % 100);
    case 'Y': return format("{}", time.year);
    case 'Z': return "UTC";
    case 'z': return "+0000";
    case 'F': return format("{}-{:02}-{:02}", time.year, time.month, time.day);
    case 'T': return format("{:02}:{:02}:{:02}", time.hour, time.minute, time.second);
    case 'D': return format("{:02}/{:02}/{:02}", time.month, time.day, time.year % 100);
    case '%': return "%";
    default: return "";
  }
}

}  // namespace

Result<std::string> format_time(WallTime time, std::string_view pattern) {
  const CalendarTime calendar = calendar_of(time);
  std::string text;
  for (size_t at = 0; at < pattern.size(); ++at) {
    if (pattern[at] != '%') {
      text += pattern[at];
      continue;
    }
    const bool padded = at + 1 >= pattern.size() || pattern[at + 1] != '-';
    at += padded ? 1 : 2;
    const std::string part = at < pattern.size() ? field(calendar, pattern[at], padded) : std::string();
    if (part.empty()) {
      return Error{ErrorCode::kUnsupported,
                   format("the time format has an unknown '%{}'", pattern.substr(std::min(at, pattern.size()), 1))};
    }
    text += part;
  }
  return text;
}

}  // namespace infer::jinja
