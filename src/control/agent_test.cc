#include "control/agent.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/format.h"

namespace infer::control {
namespace {

class FakeTarget final : public AgentTarget {
 public:
  Status apply(const Policy& policy) override {
    if (refuses) return Error{ErrorCode::kBusy, "not now"};
    applied.push_back(policy);
    return {};
  }
  telemetry::EngineFacts facts() const override { return known; }

  bool refuses = false;
  std::vector<Policy> applied;
  telemetry::EngineFacts known;
};

class Notes final : public AgentObserver {
 public:
  void on_metrics(const telemetry::Metrics&) override { ++samples; }
  void on_policy(const Policy& in_effect, bool baseline) override {
    policies.push_back(in_effect);
    baselines.push_back(baseline);
  }
  void on_alert(const Alert& alert, WallTime) override {
    if (alert.notifies && alert.event != "critical") {
      notified.emplace_back(alert.event);
    } else {
      alerts.push_back(format("{}{}", alert.is_raised ? "+" : "-", alert.event));
    }
  }
  void on_evaluation(const telemetry::EvaluationRecord& record) override { evaluations.push_back(record.kind); }

  int samples = 0;
  std::vector<std::string> evaluations;
  std::vector<Policy> policies;
  std::vector<bool> baselines;
  std::vector<std::string> alerts, notified;
};

Instant at(double seconds) { return Instant::from_ns(0) + Duration::from_seconds(seconds); }

class AgentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    agent_.add_observer(notes_);
    ASSERT_TRUE(agent_.start());
  }

  FakeTarget target_;
  Notes notes_;
  telemetry::Recorder recorder_;
  NullLog log_;
  Agent agent_{Config{}, target_, recorder_, log_, at(0)};
};

TEST_F(AgentTest, BringsTheConfiguredPolicyToTheTargetAtTheStart) {
  ASSERT_EQ(target_.applied.size(), 1u);
  EXPECT_EQ(target_.applied[0].kv.mode, kv::KvMode::kDynamic);
  Config off;
  off.enabled = false;
  Agent baseline(off, target_, recorder_, log_, at(0));
  ASSERT_TRUE(baseline.start());
  EXPECT_TRUE(baseline.baseline());
  EXPECT_EQ(target_.applied.back().kv.mode, kv::KvMode::kF16);
}

TEST_F(AgentTest, AChangeIsAppliedAtOnceAndSaysWhatNeedsARestart) {
  Config wished = agent_.config();
  wished.policy.kv.recent_window = 128;
  wished.telemetry.push_interval_ms = 500;
  wished.server.port = 1;
  const auto change = agent_.change(wished);
  ASSERT_TRUE(change.has_value());
  ASSERT_EQ(change->applied.size(), 2u);
  EXPECT_EQ(change->applied[0]->key, "kv.recent_window");
  ASSERT_EQ(change->needs_restart.size(), 1u);
  EXPECT_EQ(change->needs_restart[0]->key, "server.port");
  EXPECT_EQ(target_.applied.back().kv.recent_window, 128);
  EXPECT_EQ(agent_.config().telemetry.push_interval_ms, 500);
  EXPECT_EQ(agent_.config().server.port, 7031);
  EXPECT_EQ(notes_.policies.size(), 1u);
}

TEST(Agent, TheLogIsToldOfAnotherLevel) {
  struct Levelled final : Log {
    void write(LogLevel, std::string_view) override {}
    void set_level(LogLevel to) override { levels.push_back(to); }
    std::vector<LogLevel> levels;
  };
  Levelled log;
  FakeTarget target;
  const telemetry::Recorder recorder;
  Agent agent(Config{}, target, recorder, log, at(0));
  Config wished = agent.config();
  wished.log_level = LogLevel::kError;
  const auto change = agent.change(wished);
  ASSERT_TRUE(change.has_value());
  EXPECT_TRUE(change->needs_restart.empty());
  ASSERT_TRUE(agent.change(wished).has_value());  // Nothing new.
  EXPECT_EQ(log.levels, std::vector<LogLevel>{LogLevel::kError});
  EXPECT_EQ(agent.config().log_level, LogLevel::kError);
}

TEST_F(AgentTest, WhatChangesNothingIsNotBroughtToTheTarget) {
  ASSERT_TRUE(agent_.change(agent_.config()).has_value());
  EXPECT_EQ(target_.applied.size(), 1u);
  EXPECT_EQ(agent_.policy_changes(), 0u);
}

TEST_F(AgentTest, BaselineIsAllOffAndTheWishedPolicyComesBackAfterIt) {
  ASSERT_TRUE(agent_.set_baseline(true));
  EXPECT_EQ(target_.applied.back().kv.mode, kv::KvMode::kF16);
  Config wished = agent_.config();
  wished.policy.kv.mode = kv::KvMode::kQuality;  // Noted, and in effect once baseline mode ends.
  ASSERT_TRUE(agent_.change(wished).has_value());
  EXPECT_EQ(target_.applied.back().kv.mode, kv::KvMode::kF16);
  ASSERT_TRUE(agent_.set_baseline(false));
  EXPECT_EQ(target_.applied.back().kv.mode, kv::KvMode::kQuality);
  EXPECT_EQ(notes_.baselines, (std::vector<bool>{true, true, false}));
}

TEST_F(AgentTest, ATargetThatRefusesLeavesEverythingAsItWas) {
  target_.refuses = true;
  Config wished = agent_.config();
  wished.policy.kv.recent_window = 128;
  EXPECT_EQ(agent_.change(wished).error().message, "not now");
  EXPECT_FALSE(agent_.set_baseline(true));
  EXPECT_EQ(agent_.config().policy.kv.recent_window, 64);
  EXPECT_FALSE(agent_.baseline());
  EXPECT_TRUE(notes_.policies.empty());
}

TEST_F(AgentTest, SamplesComeInTheirInterval) {
  for (int i = 0; i <= 40; ++i) agent_.tick({}, at(i * 0.1), {});
  EXPECT_EQ(notes_.samples, 5);  // At 0, 1, 2, 3 and 4 seconds.
}

TEST_F(AgentTest, AnEngineThatHangsMeansBaselineAtOnceAndForAWhileAfterwards) {
  agent_.tick({}, at(1), {});
  EXPECT_TRUE(notes_.alerts.empty());
  target_.known.snapshot.health.condition = engine::EngineCondition::kSilent;
  agent_.tick({}, at(2), {}, {true, false, false});
  EXPECT_TRUE(agent_.baseline());
  EXPECT_FALSE(agent_.is_settled());
  EXPECT_EQ(target_.applied.back().kv.mode, kv::KvMode::kF16);
  target_.known.snapshot.health.condition = engine::EngineCondition::kHung;
  agent_.tick({}, at(3), {});
  target_.known.snapshot.health.condition = engine::EngineCondition::kReady;
  for (int i = 4; i < 62; ++i) agent_.tick({}, at(i), {});
  EXPECT_EQ(notes_.alerts, std::vector<std::string>{"+engine_stalled"});
  for (int i = 62; i < 70; ++i) agent_.tick({}, at(i), {});
  EXPECT_EQ(notes_.alerts, (std::vector<std::string>{"+engine_stalled", "-engine_stalled"}));
  EXPECT_FALSE(agent_.baseline());
  EXPECT_EQ(target_.applied.back().kv.mode, kv::KvMode::kDynamic);
  EXPECT_EQ(agent_.alerts(), 1u);
}

TEST_F(AgentTest, ShortageOfMemoryTakesStepsAndGivesThemBackOnceThereIsPlenty) {
  telemetry::MachineFacts machine;
  machine.memory.total_bytes = 100'000;
  double now = 0;
  const auto run = [&](uint64_t available, int seconds) {
    machine.memory.available_bytes = available;
    for (int i = 0; i < seconds; ++i) agent_.tick(machine, at(now += 1), {});
  };
  run(50'000, 10);
  run(6'000, 100);
  EXPECT_TRUE(notes_.alerts.empty());
  run(4'000, 1);
  EXPECT_EQ(notes_.alerts, std::vector<std::string>{"+memory_pressure"});
  EXPECT_EQ(target_.applied.back().kv.recent_window, 32);
  EXPECT_EQ(target_.applied.back().running_share, 1);
  run(4'000, 10);
  EXPECT_EQ(target_.applied.back().running_share, 0.5);
  EXPECT_EQ(target_.applied.back().kv.mode, kv::KvMode::kThroughput);
  const size_t alerts = notes_.alerts.size();
  run(10'000, 1000);
  EXPECT_EQ(notes_.alerts.size(), alerts) << "More than a twentieth, but not a fifth.";
  run(50'000, 600);
  EXPECT_EQ(notes_.alerts.back(), "-memory_pressure");
  EXPECT_EQ(target_.applied.back().kv.recent_window, 64);
  EXPECT_EQ(target_.applied.back().kv.mode, kv::KvMode::kDynamic);
}

TEST_F(AgentTest, ATargetThatRefusesIsBroughtToBaselineWithinASecondOfTakingOrdersAgain) {
  EXPECT_TRUE(agent_.is_settled());
  target_.refuses = true;
  agent_.force(EventKind::kGpuMissing, Sign::kShows);
  for (int i = 0; i < 20; ++i) agent_.tick({}, at(i * 0.1), {});
  EXPECT_FALSE(agent_.is_settled()) << "It has orders left to bring.";
  EXPECT_EQ(agent_.state().steps(EventKind::kGpuMissing), 0) << "Nothing has changed.";
  EXPECT_EQ(notes_.alerts.size(), 0u);
  target_.refuses = false;
  agent_.tick({}, at(2), {}, {true, false, false});
  EXPECT_TRUE(agent_.baseline());
  EXPECT_EQ(target_.applied.back().kv.mode, kv::KvMode::kF16);
}

TEST_F(AgentTest, ManyFallbacksForOneReasonAreWorthANotificationAndFiveAreCritical) {
  double now = 0;
  const auto run = [&](int seconds) {
    for (int i = 0; i < seconds; ++i) agent_.tick({}, at(now += 1), {});
  };
  agent_.force(EventKind::kGpuMissing, Sign::kShows);
  run(1);
  EXPECT_TRUE(notes_.notified.empty());
  agent_.force(EventKind::kNpuMissing, Sign::kShows);
  run(1);
  EXPECT_EQ(notes_.notified, std::vector<std::string>{"npu_missing"});  // Two of devices.
  agent_.force(EventKind::kMemory, Sign::kShows);
  run(4);
  EXPECT_FALSE(agent_.baseline());
  run(1);
  EXPECT_TRUE(agent_.baseline());
  EXPECT_EQ(notes_.alerts.back(), "+critical");
  EXPECT_EQ(target_.applied.back().kv.mode, kv::KvMode::kF16);
  for (const EventRow& row : event_table()) agent_.force(row.kind, Sign::kClear);
  run(1200);
  EXPECT_FALSE(agent_.baseline());
  EXPECT_TRUE(agent_.state().is_calm());
  EXPECT_EQ(target_.applied.back().kv.mode, kv::KvMode::kDynamic);
}

TEST_F(AgentTest, AForecastComesFromMeasuredStepsAndIsUnknownBefore) {
  agent_.set_run_context({.seq_len = 1024, .batch = 4, .target_ftl_ms = 1000, .quality_budget = 0.2});
  EXPECT_FALSE(agent_.forecast().first_token_ms.has_value());
  EXPECT_FALSE(agent_.forecast().meets_target.has_value());
  target_.known.snapshot.cost = {.fixed = 0.01, .per_token = 0.0001};
  target_.known.tokens_per_step = 512;
  const RunForecast forecast = agent_.forecast();
  EXPECT_NEAR(*forecast.first_token_ms, 2 * 10 + 102.4, 1e-6);
  EXPECT_NEAR(*forecast.last_first_token_ms, 4 * 122.4, 1e-6);
  EXPECT_EQ(forecast.meets_target, true);
  EXPECT_EQ(agent_.policy_in_effect().quality.max_delta_ppl, 0.2);
}

// Engines whose lowered pages cost so much until they have 16 bits.
TEST_F(AgentTest, StepsBackFromAPolicyThatCostsTooMuchAndReturnsToItLater) {
  double now = 0;
  const auto run = [&](double divergence, int samples) {
    for (int i = 0; i < samples; ++i) {
      now += 1;
      auto& counters = target_.known.snapshot.counters;
      counters.nll += 8 * 2.5;  // A perplexity of 12.18.
      counters.nll_tokens += 8;
      counters.judged_tokens += 8;
      target_.known.snapshot.kv.planned_divergence = divergence;
      agent_.tick({}, at(now), {});
    }
  };
  run(0.02, 200);  // 12.18 * (1 - exp(-0.02)) = 0.24, 0.5 are allowed.
  EXPECT_EQ(agent_.quality().steps(), 0);
  run(0.06, 10);  // 0.71
  EXPECT_EQ(agent_.quality().steps(), 1);
  EXPECT_EQ(notes_.alerts, std::vector<std::string>{"+quality_degradation"});
  EXPECT_DOUBLE_EQ(target_.applied.back().kv.level_thresholds.l2_int4, 0.7);
  run(0.06, 12 * 4 + 5);
  EXPECT_EQ(agent_.quality().steps(), kProtectSteps);
  EXPECT_EQ(target_.applied.back().kv.mode, kv::KvMode::kF16);
  EXPECT_EQ(agent_.config().policy.kv.mode, kv::KvMode::kDynamic) << "What was wished for stays.";
  run(0.001, 4000);
  EXPECT_EQ(agent_.quality().steps(), 0);
  EXPECT_EQ(target_.applied.back().kv.mode, kv::KvMode::kDynamic);
  EXPECT_EQ(notes_.alerts.back(), "-quality_degradation");
}

// On the thread that computes: what takes no time is done, what takes some is left to the agent's own thread.
TEST_F(AgentTest, AGlanceRemembersAndLeavesWhatItDecidesToBeSettled) {
  constexpr DueLoops kAtStep{true, true, false};
  auto& seen = target_.known.snapshot;
  seen.kv.planned_divergence = 0.06;  // 0.71, 0.5 are allowed.
  const size_t applied = target_.applied.size();
  double now = 0;
  const auto glance = [&] {
    now += 0.01;
    seen.counters.nll += 8 * 2.5;
    seen.counters.nll_tokens += 8;
    seen.counters.judged_tokens += 8;
    return agent_.glance({}, at(now), kAtStep);
  };
  int glances = 1;
  for (; glance(); ++glances) ASSERT_LT(glances, 100);
  EXPECT_EQ(glances, 19) << "144 tokens, in eights from the first on.";
  EXPECT_EQ(agent_.quality().steps(), 0);
  EXPECT_EQ(target_.applied.size(), applied);
  EXPECT_FALSE(glance()) << "until it is settled";
  agent_.settle(at(now), {});
  EXPECT_EQ(agent_.quality().steps(), 1);
  EXPECT_EQ(notes_.alerts, std::vector<std::string>{"+quality_degradation"});
  EXPECT_EQ(target_.applied.size(), applied + 1);
  agent_.settle(at(now), {});
  EXPECT_EQ(target_.applied.size(), applied + 1);
  EXPECT_TRUE(glance());
}

TEST_F(AgentTest, APolicyThatSomebodyChoosesIsJudgedAnew) {
  double now = 0;
  for (int i = 0; i < 25; ++i) {
    now += 1;
    target_.known.snapshot.counters.nll += 20;
    target_.known.snapshot.counters.nll_tokens += 8;
    target_.known.snapshot.counters.judged_tokens += 8;
    target_.known.snapshot.kv.planned_divergence = 0.5;
    agent_.tick({}, at(now), {});
  }
  ASSERT_EQ(agent_.quality().steps(), 1);
  Config wished = agent_.config();
  wished.policy.kv.recent_window = 100;
  ASSERT_TRUE(agent_.change(wished).has_value());
  EXPECT_EQ(agent_.quality().steps(), 0);
  EXPECT_DOUBLE_EQ(target_.applied.back().kv.level_thresholds.l2_int4, 0.5);
  EXPECT_EQ(target_.applied.back().kv.recent_window, 100);
  agent_.tick({}, at(now + 1), {});
  EXPECT_EQ(notes_.alerts, (std::vector<std::string>{"+quality_degradation", "-quality_degradation"}));
}

}  // namespace
}  // namespace infer::control
