#include "control/decide.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "control/quality_estimate.h"

namespace infer::control {
namespace {

Instant at(double seconds) { return Instant::from_ns(0) + Duration::from_seconds(seconds); }

// The loops under a clock, each second; what is seen is the test's to change.
class DecideTest : public ::testing::Test {
 protected:
  void run(double seconds) {
    for (const double end = now_ + seconds; now_ < end;) {
      now_ += 1;
      seen_.state = state_;
      decision_ = decide(seen_, config_, at(now_));
      state_ = decision_.state;
      for (const Notice& notice : decision_.notices) notices_.push_back(notice);
    }
  }
  int steps(EventKind kind) const { return state_.steps(kind); }
  const Policy& policy() const { return decision_.policy; }
  bool baseline() const { return decision_.baseline; }
  // How long the event's steps stay once it is over.
  int seconds_until_over(EventKind kind, int most = 3600) {
    for (int i = 0; i < most; ++i) {
      if (steps(kind) == 0) return i;
      run(1);
    }
    return -1;
  }

  PolicyConfig config_;
  Snapshot seen_;
  std::vector<Notice> notices_;

 private:
  double now_ = 1000;
  ControlState state_;
  Decision decision_;
};

TEST_F(DecideTest, NothingWrongChangesNothing) {
  seen_.memory_available = 0.5;
  seen_.cpu_celsius = 60;
  seen_.capabilities.gpu = DeviceState::kReady;
  seen_.estimate = 0.1;
  run(5000);
  EXPECT_TRUE(notices_.empty());
  EXPECT_FALSE(baseline());
  EXPECT_EQ(policy().kv.mode, config_.wished.kv.mode);
}

TEST_F(DecideTest, ALostGpuMeansTheProcessorUntilItIsBackForFiveMinutes) {
  seen_.capabilities.gpu = DeviceState::kReady;
  run(1);
  EXPECT_EQ(policy().scheduler.prefill_device, Device::kDml);
  seen_.capabilities.gpu = DeviceState::kLost;
  run(1);
  EXPECT_EQ(policy().scheduler.prefill_device, Device::kCpu);
  EXPECT_EQ(policy().kv.recent_window, 128);
  EXPECT_EQ(policy().kv.level_thresholds.l1_int8, 0.8);
  EXPECT_EQ(policy().kv.level_thresholds.l2_int4, 0.6);
  EXPECT_EQ(policy().kv.level_thresholds.l3_evict, 0.4);
  EXPECT_EQ(notices_.front().reason, FallbackReason::kDevice);
  run(100);
  seen_.capabilities.gpu = DeviceState::kReady;
  run(250);
  seen_.capabilities.gpu = DeviceState::kLost;  // For a moment.
  run(1);
  seen_.capabilities.gpu = DeviceState::kReady;
  EXPECT_NEAR(seconds_until_over(EventKind::kGpuMissing), 301, 2);
  EXPECT_EQ(policy().scheduler.prefill_device, Device::kDml);
}

TEST_F(DecideTest, AHotNpuIsSparedUntilItsTemperatureIsNormal) {
  seen_.capabilities.npu = DeviceState::kHot;
  run(1);
  EXPECT_EQ(policy().scheduler.decode_device, Device::kDml);
  EXPECT_EQ(policy().kv.recent_window, 96);
  EXPECT_EQ(policy().kv.level_thresholds.l1_int8, 0.75);
  run(500);
  EXPECT_EQ(steps(EventKind::kNpuMissing), 1);
  seen_.capabilities.npu = DeviceState::kReady;
  EXPECT_NEAR(seconds_until_over(EventKind::kNpuMissing), 61, 2);
}

TEST_F(DecideTest, QualityStepsBackStepByStepEachJudgedBeforeTheNext) {
  seen_.estimate = 0.9;  // 0.5 are allowed.
  run(11);
  EXPECT_EQ(steps(EventKind::kQuality), 0);
  run(1);
  EXPECT_EQ(steps(EventKind::kQuality), 1);
  EXPECT_EQ(policy().kv.level_thresholds.l2_int4, 0.7);
  run(11);
  EXPECT_EQ(steps(EventKind::kQuality), 1);
  run(1);
  EXPECT_EQ(steps(EventKind::kQuality), 2);
  run(5);
  seen_.estimate = 0.2;
  run(590);
  EXPECT_EQ(steps(EventKind::kQuality), 2);
  run(40);
  EXPECT_EQ(steps(EventKind::kQuality), 1);
  run(620);
  EXPECT_EQ(steps(EventKind::kQuality), 0);
  EXPECT_EQ(notices_.size(), 4u);
}

TEST_F(DecideTest, ExactChecksActWithoutAnEstimateAndOnlyBeyondDoubt) {
  seen_.exact =
      QualityMonitor::Measured{.delta_ppl = 0.9, .standard_error = 0.3};  // Two errors below are within the limit.
  run(9);
  EXPECT_EQ(steps(EventKind::kQuality), 0);
  run(3);
  EXPECT_EQ(steps(EventKind::kQuality), 1) << "Twelve checks are as good as twelve estimates.";
  seen_.exact = QualityMonitor::Measured{.delta_ppl = 0.9, .standard_error = 0.1};
  run(1);
  EXPECT_EQ(steps(EventKind::kQuality), 2);
}

TEST_F(DecideTest, ShortageOfMemoryGoesThroughWindowBatchAndSpill) {
  seen_.memory_available = 0.04;
  run(1);
  EXPECT_EQ(policy().kv.recent_window, 32);
  EXPECT_EQ(policy().kv.level_thresholds.l1_int8, 0.6);
  EXPECT_GT(policy().memory_pressure, 0.6);
  run(2);
  EXPECT_EQ(policy().running_share, 0.5);
  run(2);
  EXPECT_EQ(policy().kv.mode, kv::KvMode::kThroughput);
  EXPECT_GT(policy().memory_pressure, 0.8);
  seen_.memory_available = 0.19;  // 81 % are used.
  run(1000);
  EXPECT_EQ(steps(EventKind::kMemory), 3);
  seen_.memory_available = 0.25;
  EXPECT_NEAR(seconds_until_over(EventKind::kMemory), 3 * 60, 5);
}

TEST_F(DecideTest, StallsAndTheOwnBudgetAreShortageOfMemoryToo) {
  seen_.memory_available = 0.6;
  seen_.memory_stalls = 0.3;
  run(1);
  EXPECT_EQ(steps(EventKind::kMemory), 1);
  seen_.memory_stalls = 0;
  EXPECT_GT(seconds_until_over(EventKind::kMemory), 0);
  seen_.budget_used = 0.99;
  run(61);
  EXPECT_GE(steps(EventKind::kMemory), 1);
}

TEST_F(DecideTest, AnEmergencyOfMemoryIsTheFastLoops) {
  seen_.memory_available = 0.04;
  seen_.due = {true, false, false};
  run(1);
  EXPECT_EQ(steps(EventKind::kMemory), 0);
  seen_.memory_available = 0.01;
  run(1);
  EXPECT_EQ(steps(EventKind::kMemory), 1);
}

TEST_F(DecideTest, AnEngineThatDoesNotAnswerMeansBaselineAtOnce) {
  seen_.engine = engine::EngineCondition::kSilent;
  seen_.due = {true, false, false};
  run(1);
  EXPECT_TRUE(baseline());
  EXPECT_EQ(policy().kv.mode, kv::KvMode::kF16);
  EXPECT_EQ(notices_.front().reason, FallbackReason::kTimeout);
  seen_.engine = engine::EngineCondition::kReady;
  EXPECT_NEAR(seconds_until_over(EventKind::kNoAnswer), 60, 2);
  EXPECT_FALSE(baseline());
}

TEST_F(DecideTest, KernelsThatDoNotWorkAreNotUsed) {
  seen_.capabilities.int4_works = false;
  run(1);
  EXPECT_EQ(policy().kv.mode, kv::KvMode::kQ8);
  seen_.capabilities.int8_works = false;
  run(1);
  EXPECT_EQ(policy().kv.mode, kv::KvMode::kF16);
  EXPECT_FALSE(baseline());
  config_.wished.kv.mode = kv::KvMode::kF16;
  seen_.capabilities.int8_works = true;
  run(200);
  EXPECT_EQ(policy().kv.mode, kv::KvMode::kF16) << "Nothing is lowered that nobody wished to lower.";
}

TEST_F(DecideTest, HalfOfTheUsualSpeedRelaxesThePolicy) {
  config_.wished.kv.mode = kv::KvMode::kQuality;
  seen_.speed = SpeedReading{40, 1, 1};
  run(120);
  seen_.speed = SpeedReading{30, 1, 1};  // Slower, but not by half.
  run(120);
  EXPECT_EQ(steps(EventKind::kSlow), 0);
  seen_.speed = SpeedReading{10, 1, 1};
  run(60);
  EXPECT_EQ(policy().kv.mode, kv::KvMode::kLatency);
  seen_.speed = SpeedReading{100, 8, 1};  // Another number of answers has a speed of its own.
  run(5);
  seen_.speed = SpeedReading{40, 1, 1};
  EXPECT_GT(seconds_until_over(EventKind::kSlow), 100);
  EXPECT_EQ(policy().kv.mode, kv::KvMode::kQuality);
}

TEST_F(DecideTest, AHotProcessorGetsLessToDo) {
  seen_.cpu_celsius = 92;
  run(10);
  EXPECT_TRUE(notices_.empty());
  seen_.frequency_share = 0.4;
  run(1);
  EXPECT_FALSE(policy().speculate);
  run(11);
  EXPECT_EQ(policy().running_share, 0.5);
  seen_.cpu_celsius = 70;
  EXPECT_NEAR(seconds_until_over(EventKind::kCpuHot), 120, 5);
}

TEST_F(DecideTest, ATargetThatRefusesForHalfASecondMeansBaseline) {
  seen_.refused_for = Duration::from_ms(400);
  run(1);
  EXPECT_FALSE(baseline());
  seen_.refused_for = Duration::from_ms(600);
  run(1);
  EXPECT_TRUE(baseline());
}

TEST_F(DecideTest, EachEventCanBeForcedAndAllAreGivenBack) {
  for (const EventRow& row : event_table()) {
    auto& forced = seen_.forced[static_cast<size_t>(row.kind)];
    forced = Sign::kShows;
    run(15);
    EXPECT_GE(steps(row.kind), 1) << row.name;
    EXPECT_FALSE(step_name(row.kind, 1).empty());
    forced = Sign::kClear;
    EXPECT_GT(seconds_until_over(row.kind, 4000), 0) << row.name;
  }
}

TEST_F(DecideTest, FiveFallbacksWithinFiveMinutesAreCriticalAndBaselineStaysUntilThingsAreQuiet) {
  seen_.capabilities.gpu = seen_.capabilities.npu = DeviceState::kLost;
  seen_.cpu_celsius = 97;
  run(12);
  EXPECT_FALSE(baseline());  // Four.
  seen_.capabilities.int4_works = false;
  run(1);
  EXPECT_TRUE(baseline());
  EXPECT_EQ(notices_.back().what, Notice::What::kCritical);
  EXPECT_EQ(notices_.back().count, 5);
  run(299);
  EXPECT_TRUE(baseline());
  run(20);
  EXPECT_FALSE(baseline()) << "Five minutes without another.";
  EXPECT_EQ(steps(EventKind::kGpuMissing), 1) << "Which is not over.";
}

TEST_F(DecideTest, ATrialThatFailsIsRepeatedLaterAndLater) {
  // Enough memory only with the first step.
  std::vector<double> taken;
  for (int i = 0; i < 20'000; ++i) {
    seen_.memory_available = steps(EventKind::kMemory) > 0 ? 0.3 : 0.04;
    const size_t before = notices_.size();
    run(1);
    if (notices_.size() > before && notices_.back().what == Notice::What::kStepTaken) taken.push_back(i);
  }
  ASSERT_GT(taken.size(), 5u);
  for (size_t i = 2; i < 5; ++i) EXPECT_GT(taken[i + 1] - taken[i], taken[i] - taken[i - 1]);
  EXPECT_GT(taken.back() - taken[taken.size() - 2], 1800);
}

TEST(BackOff, GrowsToItsLimitWithTenToThirtyPercentOfJitter) {
  Rng rng(1);
  for (int i = 0; i < 200; ++i) {
    const double first = back_off_delay(FallbackReason::kDevice, 0, rng).seconds();
    EXPECT_GE(first, 5 * 1.1);
    EXPECT_LE(first, 5 * 1.3);
    const double third = back_off_delay(FallbackReason::kMemory, 2, rng).seconds();
    EXPECT_GE(third, 1.8 * 1.8 * 1.1);
    EXPECT_LE(third, 1.8 * 1.8 * 1.3);
    EXPECT_LE(back_off_delay(FallbackReason::kTimeout, 1000, rng).seconds(), 180 * 1.3);
  }
}

TEST(FallbackLog, CountsTheLastFiveMinutes) {
  FallbackLog log;
  for (int i = 0; i < 100; ++i) log.add(i % 2 == 0 ? FallbackReason::kDevice : FallbackReason::kMemory, at(i * 60));
  EXPECT_EQ(log.count(at(99 * 60)), 5);
  EXPECT_EQ(log.count(FallbackReason::kDevice, at(99 * 60)), 2);
  EXPECT_EQ(log.count(at(10'000)), 0);
}

TEST(QualityEstimate, IsOfTheLastHundredTokensAndComesEachFourOfThem) {
  QualityEstimate estimate;
  int estimates = 0;
  for (uint64_t tokens = 0; tokens <= 200; ++tokens) {
    const auto found = estimate.observe(2.0 * static_cast<double>(tokens), tokens, tokens, 0.1);
    if (!found) continue;
    ++estimates;
    EXPECT_GE(tokens, 100u);
    EXPECT_EQ(found->weight, 1);
    EXPECT_NEAR(found->delta_ppl, std::exp(2.0) * (1 - std::exp(-0.1)), 1e-12);
  }
  EXPECT_EQ(estimates, 26);  // At 100, 104 ... 200.
  // Twelve of them, what a judge needs, come within 144 tokens.
  EXPECT_FALSE(estimate.observe(600, 300, 300, std::nullopt));
  EXPECT_EQ(estimate.observe(680, 340, 340, 0.1)->weight, 10);
}

// Of one token in `every`: a judge has his twelve estimates after as many tokens, unless too few were measured.
TEST(QualityEstimate, ComesAsSoonWhereFewerTokensAreMeasured) {
  for (const uint64_t every : {1, 2, 4, 8}) {
    QualityEstimate estimate;
    uint64_t first = 0;
    for (uint64_t tokens = 0; tokens <= 240 && first == 0; ++tokens) {
      const uint64_t measured = tokens / every;
      const auto found = estimate.observe(2.0 * static_cast<double>(measured), measured, tokens, 0.1);
      if (!found) continue;
      first = tokens;
      EXPECT_NEAR(found->delta_ppl, std::exp(2.0) * (1 - std::exp(-0.1)), 1e-12);
    }
    EXPECT_EQ(first, every <= 4 ? 100u : 0u)
        << "One in " << every << "; the last hundred have too few of one in eight.";
  }
}

}  // namespace
}  // namespace infer::control
