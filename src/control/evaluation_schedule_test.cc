#include "control/evaluation_schedule.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/format.h"

namespace infer::control {
namespace {

constexpr int64_t kMinute = 60'000, kHour = 60 * kMinute, kDay = 24 * kHour;

// What is due from `begin` on, looked at each minute: "day hour:minute kind", in local time.
std::vector<std::string> due(const EvaluationConfig& config, int64_t begin, int64_t minutes, int utc_offset) {
  EvaluationSchedule schedule;
  std::vector<std::string> found;
  for (int64_t i = 0; i < minutes; ++i) {
    const int64_t now = begin + i * kMinute;
    const auto kind = schedule.take_due(config, {now}, utc_offset);
    const int64_t local = (now + utc_offset * int64_t{1000}) / kMinute;
    if (kind)
      found.push_back(format("{} {:02}:{:02} {}", local / 1440 - begin / kDay, local / 60 % 24, local % 60,
                             evaluation_kind_name(*kind)));
  }
  return found;
}

TEST(EvaluationSchedule, AFullOneEachDayAtSixALightOneEachFourHours) {
  const int64_t midnight = 20'000 * kDay;
  EXPECT_EQ(due({}, midnight + kHour, 1440, 0),
            (std::vector<std::string>{"0 05:00 light", "0 06:00 full", "0 09:00 light", "0 13:00 light",
                                      "0 17:00 light", "0 21:00 light"}));
}

TEST(EvaluationSchedule, SixIsLocalTime) {
  const int64_t midnight = 20'000 * kDay;
  EXPECT_EQ(due({.light_hours = 0}, midnight, 2 * 1440, 9 * 3600),
            (std::vector<std::string>{"1 06:00 full", "2 06:00 full"}));
  EXPECT_EQ(due({.light_hours = 0}, midnight, 2 * 1440, -3 * 3600),
            (std::vector<std::string>{"0 06:00 full", "1 06:00 full"}));
}

TEST(EvaluationSchedule, EitherCanBeSwitchedOff) {
  EXPECT_TRUE(due({.full_hour = -1, .light_hours = 0}, 0, 3 * 1440, 0).empty());
}

TEST(EvaluationSchedule, AClockThatIsSetBackDoesNotDelayThemByMoreThanAPeriod) {
  EvaluationSchedule schedule;
  const int64_t start = 20'000 * kDay;
  (void)schedule.take_due({.full_hour = -1}, {start}, 0);
  (void)schedule.take_due({.full_hour = -1}, {start - 300 * kDay}, 0);
  EXPECT_EQ(schedule.next_light()->unix_ms, start - 300 * kDay + 4 * kHour);
}

}  // namespace
}  // namespace infer::control
