#include "app/flag_values.h"

#include <algorithm>

#include "base/format.h"

namespace infer::app {

Result<Duration> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    double seconds;
  };
  constexpr Unit kUnits[] = {{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"", 1}};
  constexpr double kSecondsMax = 1e9;
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::optional<double> number = parse_number<double>(text.substr(0, digits));
  for (const Unit& unit : kUnits) {
    if (!number || text.substr(digits) != unit.name) continue;
    const double seconds = *number * unit.seconds;
    if (seconds > 0 && seconds <= kSecondsMax) return Duration::from_seconds(seconds);
  }
  return Error{ErrorCode::kInvalidArgument, format("must be a time above 0 like 30s, 500ms, 2m or 1h, not '{}'", text)};
}

}  // namespace infer::app
