#include "os/system_clock.h"

#include <chrono>

namespace infer::os {

Instant SystemClock::now() const {
  using std::chrono::duration_cast;
  const auto since_start = std::chrono::steady_clock::now().time_since_epoch();
  return Instant::from_ns(duration_cast<std::chrono::nanoseconds>(since_start).count());
}

WallTime SystemClock::wall_time() const {
  using std::chrono::duration_cast;
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return WallTime{duration_cast<std::chrono::milliseconds>(since_1970).count()};
}

}  // namespace infer::os
