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

}  // namespace infer::telemetry
