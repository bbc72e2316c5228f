#include "control/quality_monitor.h"

#include <gtest/gtest.h>

#include "testing/property.h"

namespace infer::control {
namespace {

constexpr double kMax = 0.5;

// Estimates once a second.
class Watched {
 public:
  std::optional<QualityChange> observe(double delta) {
    now_ = now_ + Duration::from_seconds(1);
    return monitor_.observe(delta, kMax, now_);
  }
  std::optional<QualityChange> check(double delta, double error, int64_t positions) {
    return monitor_.observe_exact({delta, error, positions}, kMax, now_);
  }
  std::optional<bool> verified() const { return monitor_.verified(now_); }
  // Until something changes; how many estimates that took, or -1.
  int count_until_change(double delta, int most) {
    for (int i = 1; i <= most; ++i) {
      if (observe(delta)) return i;
    }
    return -1;
  }
  int steps() const { return monitor_.steps(); }
  Instant now() const { return now_; }

 private:
  QualityMonitor monitor_;
  Instant now_;
};

TEST(QualityMonitor, StepsAfterThreeMeansOfTenAboveTheLimitAndJudgesEachStepAnew) {
  Watched watched;
  for (int step = 1; step <= kProtectSteps; ++step) {
    EXPECT_EQ(watched.count_until_change(0.7, 100), 12) << step;
    EXPECT_EQ(watched.steps(), step);
  }
  EXPECT_EQ(watched.count_until_change(0.6, 1000), -1) << "There is nothing behind the last step.";
}

TEST(QualityMonitor, OneOutlierDoesNothing) {
  Watched watched;
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(watched.observe(i % 12 == 0 ? 4.0 : 0.1)) << "mean below the limit";
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(watched.observe(0.1));
  EXPECT_FALSE(watched.observe(1e9));
  EXPECT_FALSE(watched.observe(-1e9));
}

TEST(QualityMonitor, GivesAStepBackWhenItWasQuietForTheHoldTime) {
  Watched watched;
  ASSERT_EQ(watched.count_until_change(0.6, 100), 12);
  EXPECT_EQ(watched.count_until_change(0.45, 10000), -1) << "Below the limit, but not clearly.";
  const int taken = watched.count_until_change(0.1, 10000);
  EXPECT_GE(taken, 600);
  EXPECT_LE(taken, 611);
  EXPECT_EQ(watched.steps(), 0);
}

TEST(QualityMonitor, StepsAreEnoughWhenTheMeasuredCostIsBelowTheLimitWithItsError) {
  Watched watched;
  EXPECT_EQ(watched.verified(), std::nullopt);
  ASSERT_EQ(watched.count_until_change(0.7, 100), 12);
  // One answer, whose error says nothing yet; then as many as say that it was chance.
  EXPECT_FALSE(watched.check(0.6, 0.3, 64));
  EXPECT_EQ(watched.verified(), false);
  EXPECT_FALSE(watched.check(0.3, 0.15, 256));
  EXPECT_EQ(watched.verified(), false);
  EXPECT_FALSE(watched.check(0.3, 0.09, 384));
  EXPECT_EQ(watched.verified(), true);
  // The next step begins with nothing known.
  ASSERT_TRUE(watched.check(0.9, 0.1, 416));
  EXPECT_EQ(watched.steps(), 2);
  EXPECT_EQ(watched.verified(), std::nullopt);
}

TEST(QualityMonitor, InDoubtAboutItsStepsItTakesTheNextOneAfterManyPositions) {
  Watched watched;
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(watched.check(0.55, 0.05, 2048)) << "No step has been taken.";
  ASSERT_EQ(watched.count_until_change(0.7, 100), 12);
  EXPECT_FALSE(watched.check(0.55, 0.05, QualityMonitor::kMany - 1));
  EXPECT_FALSE(watched.check(0.45, 0.05, QualityMonitor::kMany)) << "Below the limit, though not for certain.";
  ASSERT_TRUE(watched.check(0.55, 0.05, QualityMonitor::kMany));
  EXPECT_EQ(watched.steps(), 2);
}

TEST(QualityMonitor, NoStepIsGivenBackWhileChecksDoNotSayThatTheyAreEnough) {
  Watched watched;
  ASSERT_EQ(watched.count_until_change(0.6, 100), 12);
  for (int i = 0; i < 2000; ++i) {
    ASSERT_FALSE(watched.observe(0.1));
    ASSERT_FALSE(watched.check(0.45, 0.05, 1024));
  }
  // Nobody checks any more: estimates have to do after a while.
  const int taken = watched.count_until_change(0.1, 10000);
  EXPECT_GE(taken, 590);
  EXPECT_LE(taken, 611);
  EXPECT_EQ(watched.steps(), 0);
}

// A policy that needs `needed` steps, for ever: each time they are given back they are needed again.
int changes_in(double hours, int needed) {
  Watched watched;
  int changes = 0;
  while (watched.now().ns() < static_cast<int64_t>(hours * 3600e9)) {
    changes += watched.observe(watched.steps() >= needed ? 0.05 : 0.9).has_value() ? 1 : 0;
  }
  return changes;
}

TEST(QualityMonitor, DoesNotFlapWhereAPolicyIsTooMuchForAModel) {
  for (int needed = 1; needed <= kProtectSteps; ++needed) {
    // 10, 20, 40, 80, then 160 minutes: two changes each.
    EXPECT_LE(changes_in(24, needed), needed + 2 * (4 + 8)) << needed;
  }
}

TEST(QualityMonitor, AlwaysComesBackUnderTheLimitAndToThePolicyWhenTroubleEnds) {
  testing::for_each_case(200, [](Rng& rng) {
    Watched watched;
    const int needed = 1 + rng.below(kProtectSteps);
    const auto delta = [&](bool trouble) {
      const double noise = 0.04 * rng.uniform();
      return (trouble && watched.steps() < needed ? 0.55 + 3 * rng.uniform() : 0.2 * rng.uniform()) + noise;
    };
    for (int i = 0; i < 13 * kProtectSteps; ++i) watched.observe(delta(true));
    ASSERT_GE(watched.steps(), needed);
    for (int i = 0; i < 60 * 60 * 12; ++i) watched.observe(delta(false));
    ASSERT_EQ(watched.steps(), 0);
  });
}

TEST(Protect, EachStepIsSaferAndNeverUndoesWhatThePolicyAsksFor) {
  Policy policy;
  policy.kv.mode = kv::KvMode::kThroughput;
  policy.kv.recent_window = 32;
  EXPECT_EQ(protect(policy, 0).kv.mode, kv::KvMode::kThroughput);
  EXPECT_EQ(protect(policy, 1).kv.mode, kv::KvMode::kDynamic);
  EXPECT_DOUBLE_EQ(protect(policy, 1).kv.level_thresholds.l2_int4, 0.7);
  EXPECT_DOUBLE_EQ(protect(policy, 1).kv.level_thresholds.l3_evict, 0.5);
  EXPECT_EQ(protect(policy, 2).kv.mode, kv::KvMode::kQuality);
  EXPECT_DOUBLE_EQ(protect(policy, 2).kv.level_thresholds.l1_int8, 0.9);
  EXPECT_EQ(protect(policy, 2).kv.recent_window, 32);
  EXPECT_EQ(protect(policy, 3).kv.recent_window, 128);
  EXPECT_EQ(protect(policy, 4).scheduler.mode, SchedulerMode::kCpuOnly);
  EXPECT_EQ(protect(policy, 5).kv.mode, kv::KvMode::kF16);
  policy.kv.recent_window = 512;
  EXPECT_EQ(protect(policy, 5).kv.recent_window, 512);
  policy.kv.mode = kv::KvMode::kQ4;
  EXPECT_EQ(protect(policy, 2).kv.mode, kv::KvMode::kQ8);
  testing::for_each_case(100, [](Rng& rng) {
    Policy any;
    any.kv.level_thresholds.l1_int8 = rng.uniform();
    any.kv.level_thresholds.l2_int4 = any.kv.level_thresholds.l1_int8 * rng.uniform();
    any.kv.level_thresholds.l3_evict = any.kv.level_thresholds.l2_int4 * rng.uniform();
    for (int steps = 0; steps <= kProtectSteps; ++steps) {
      const kv::LevelThresholds& safer = protect(any, steps).kv.level_thresholds;
      ASSERT_GE(safer.l1_int8, safer.l2_int4);
      ASSERT_GE(safer.l2_int4, safer.l3_evict);
      ASSERT_LE(safer.l1_int8, 1.0);
    }
  });
}

}  // namespace
}  // namespace infer::control
