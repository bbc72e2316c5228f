#include "control/loop_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

namespace infer::control {
namespace {

constexpr LoopSchedule::Periods kPeriods{Duration::from_ms(1), Duration::from_ms(10), Duration::from_ms(100)};
constexpr LoopSchedule::Periods kWhileWell{Duration::from_ms(10), Duration::from_ms(10), Duration::from_ms(100)};

Instant at_us(int64_t us) { return Instant::from_ns(us * 1000); }

struct Counts {
  std::array<uint64_t, kLoops> runs{}, missed{};
  uint64_t wakes = 0;
  void add(const LoopSchedule::Run& run) {
    for (size_t loop = 0; loop < kLoops; ++loop) {
      runs[loop] += run.due[loop] ? 1 : 0;
      missed[loop] += run.missed[loop];
    }
  }
};

// Both threads: the engine looks each `step` (0: it does not), the agent's sleeps exactly as long as it may.
class Player {
 public:
  Counts play(int64_t until_us, int64_t step_us, bool rests = false, const LoopSchedule::Periods& periods = kPeriods) {
    Counts counts;
    for (; now_us_ < until_us; now_us_ += 50) {
      const Instant now = at_us(now_us_);
      if (step_us > 0 && now_us_ % step_us == 0) {
        widest_ = std::max(widest_, now - last_step_);
        last_step_ = now;
        if (const auto run = schedule.at_step(now, periods, rests)) counts.add(*run);
      }
      if (now < schedule.wake_at(rests)) continue;
      ++counts.wakes;
      const auto run = schedule.at_time(now, periods, rests, std::max(std::exchange(widest_, {}), now - last_step_));
      if (run) counts.add(*run);
    }
    return counts;
  }

  LoopSchedule schedule{at_us(0)};

 private:
  int64_t now_us_ = 0;
  Instant last_step_ = at_us(-1'000'000'000);
  Duration widest_;
};

TEST(LoopSchedule, WithoutStepsAllLoopsRunOnTheAgentsThreadEachAsOftenAsItShould) {
  Player player;
  const Counts counts = player.play(1'000'000, 0);
  EXPECT_EQ(counts.runs, (std::array<uint64_t, kLoops>{1000, 100, 10}));
  EXPECT_EQ(counts.missed, (std::array<uint64_t, kLoops>{}));
}

TEST(LoopSchedule, WhileStepsComeTheAgentsThreadWakesForTheSlowLoopAlone) {
  Player player;
  (void)player.play(200'000, 250);
  const Counts counts = player.play(1'200'000, 250);
  EXPECT_EQ(counts.runs, (std::array<uint64_t, kLoops>{1000, 100, 10}));
  EXPECT_EQ(counts.missed, (std::array<uint64_t, kLoops>{}));
  EXPECT_EQ(counts.wakes, 10u);
}

TEST(LoopSchedule, StepsThatComeTooSeldomAreNotReliedOn) {
  Player player;
  (void)player.play(200'000, 40'000);
  const Counts counts = player.play(1'200'000, 40'000, false, kWhileWell);
  EXPECT_EQ(counts.runs[1], 100u);
  EXPECT_EQ(counts.missed, (std::array<uint64_t, kLoops>{}));
  EXPECT_GE(counts.wakes, 75u) << "A quarter of them come with a step.";
}

TEST(LoopSchedule, AnEngineThatHangsIsLookedAtByTheNextSlowLoopAndThenByAllOfThem) {
  Player player;
  (void)player.play(500'000, 1'000);
  const Counts first = player.play(600'050, 0);
  EXPECT_GE(first.runs[2], 1u);
  EXPECT_GT(first.missed[1], 0u) << "What was not run is told.";
  const Counts then = player.play(1'600'050, 0);
  EXPECT_EQ(then.runs, (std::array<uint64_t, kLoops>{1000, 100, 10}));
  EXPECT_EQ(then.missed, (std::array<uint64_t, kLoops>{}));
}

TEST(LoopSchedule, AtRestThereIsTheSlowLoopAndNothingIsMissed) {
  Player player;
  (void)player.play(500'000, 1'000);
  const Counts counts = player.play(1'500'000, 0, true);
  EXPECT_EQ(counts.wakes, 10u);
  EXPECT_EQ(counts.missed, (std::array<uint64_t, kLoops>{}));
  // The first step of a new request comes long after what would have been due.
  const auto run = player.schedule.at_step(at_us(1'595'000), kPeriods, true);
  ASSERT_TRUE(run);
  EXPECT_EQ(run->missed, (std::array<uint64_t, kLoops>{}));
}

}  // namespace
}  // namespace infer::control
