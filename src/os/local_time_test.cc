#include "os/local_time.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <string>

namespace infer::os {
namespace {

#if !defined(_WIN32)
TEST(LocalTime, FollowsTheTimeZoneAndItsSummerTime) {
  const char* const before = std::getenv("TZ");
  const std::string kept = before != nullptr ? before : "";
  const auto in_zone = [](const char* zone, int64_t unix_seconds) {
    setenv("TZ", zone, 1);
    tzset();
    return utc_offset_seconds({unix_seconds * 1000});
  };
  EXPECT_EQ(in_zone("UTC0", 1'700'000'000), 0);
  EXPECT_EQ(in_zone("JST-9", 1'700'000'000), 9 * 3600);
  EXPECT_EQ(in_zone("CET-1CEST,M3.5.0,M10.5.0/3", 1'700'000'000), 3600);      // November
  EXPECT_EQ(in_zone("CET-1CEST,M3.5.0,M10.5.0/3", 1'690'000'000), 2 * 3600);  // July
  if (before != nullptr) {
    setenv("TZ", kept.c_str(), 1);
  } else {
    unsetenv("TZ");
  }
  tzset();
}
#endif

}  // namespace
}  // namespace infer::os
