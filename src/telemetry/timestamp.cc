#include "telemetry/timestamp.h"

#include <chrono>

#include "base/format.h"

namespace infer::telemetry {

std::string timestamp(WallTime time) {
  using std::chrono::milliseconds;
  const std::chrono::sys_time<milliseconds> when{milliseconds(time.unix_ms)};
  const auto day = std::chrono::floor<std::chrono::days>(when);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(when - day);
  return format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                clock.minutes().count(), clock.seconds().count(), clock.subseconds().count());
}

std::optional<WallTime> read_timestamp(std::string_view text) {
  constexpr std::string_view kForm = "dddd-dd-ddTdd:dd:dd.dddZ";
  constexpr size_t kSecondsEnd = 19;
  std::string full(text);
  if (text.size() == kSecondsEnd + 1) full.insert(kSecondsEnd, ".000");
  if (full.size() != kForm.size()) return std::nullopt;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  for (size_t i = 0; i < kForm.size(); ++i) {
    if (kForm[i] == 'd' ? !is_digit(full[i]) : full[i] != kForm[i]) return std::nullopt;
  }
  const auto number = [&full](size_t at, size_t digits) {
    int value = 0;
    for (size_t i = at; i < at + digits; ++i) value = value * 10 + (full[i] - '0');
    return value;
  };
  namespace chrono = std::chrono;
  const chrono::year_month_day date{chrono::year(number(0, 4)), chrono::month(static_cast<unsigned>(number(5, 2))),
                                    chrono::day(static_cast<unsigned>(number(8, 2)))};
  if (!date.ok() || number(11, 2) > 23 || number(14, 2) > 59 || number(17, 2) > 60) return std::nullopt;
  const chrono::sys_time<chrono::milliseconds> when = chrono::sys_days(date) + chrono::hours(number(11, 2)) +
                                                      chrono::minutes(number(14, 2)) + chrono::seconds(number(17, 2)) +
                                                      chrono::milliseconds(number(20, 3));
  return WallTime{when.time_since_epoch().count()};
}

}  // namespace infer::telemetry
