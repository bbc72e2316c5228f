#include "os/local_time.h"

#include <ctime>

namespace infer::os {

int utc_offset_seconds(WallTime time) {
  const auto seconds = static_cast<std::time_t>(time.unix_ms / 1000);
  std::tm local{};
#if defined(_WIN32)
  if (localtime_s(&local, &seconds) != 0) return 0;
  return static_cast<int>(_mkgmtime(&local) - seconds);
#else
  if (localtime_r(&seconds, &local) == nullptr) return 0;
  return static_cast<int>(local.tm_gmtoff);
#endif
}

}  // namespace infer::os
