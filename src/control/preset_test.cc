#include "control/preset.h"

#include <gtest/gtest.h>

#include <vector>

#include "control/settings.h"

namespace infer::control {
namespace {

// The values are those of the specification.
TEST(Preset, BySizeWindowsAndThresholdsFallAsModelsGrow) {
  struct Case {
    uint64_t parameters;
    int window;
    double l1, l2, l3;
    SchedulerMode scheduler;
  };
  for (const Case& each : {Case{3'000'000'000, 128, 0.8, 0.6, 0.4, SchedulerMode::kCpuOnly},
                           Case{7'000'000'000, 64, 0.7, 0.5, 0.3, SchedulerMode::kHybrid},
                           Case{8'000'000'000, 64, 0.7, 0.5, 0.3, SchedulerMode::kHybrid},
                           Case{13'000'000'000, 32, 0.6, 0.4, 0.2, SchedulerMode::kHybrid},
                           Case{20'000'000'000, 32, 0.6, 0.4, 0.2, SchedulerMode::kHybrid}}) {
    Policy policy;
    policy.preset = Preset::kAuto;
    apply_preset(each.parameters, policy);
    EXPECT_EQ(policy.kv.recent_window, each.window);
    EXPECT_EQ(policy.kv.level_thresholds.l1_int8, each.l1);
    EXPECT_EQ(policy.kv.level_thresholds.l2_int4, each.l2);
    EXPECT_EQ(policy.kv.level_thresholds.l3_evict, each.l3);
    EXPECT_EQ(policy.scheduler.mode, each.scheduler);
    EXPECT_EQ(policy.quality.max_delta_ppl, 0.5);
  }
}

Config document(const std::vector<DocumentEntry>& entries, Config config = {}) {
  const Status applied = apply_document(entries, SettingScope::kConfig, config);
  EXPECT_TRUE(applied.has_value()) << applied.error().message;
  return config;
}

TEST(Preset, ByUseADocumentSetsWhatItNamesAndItsOwnSettingsWin) {
  Config config = document({{"preset", "chat"}});
  EXPECT_EQ(config.policy.kv.mode, kv::KvMode::kLatency);
  EXPECT_EQ(config.policy.kv.recent_window, 128);
  EXPECT_EQ(config.policy.quality.max_delta_ppl, 0.3);
  config = document({{"kv.recent_window", int64_t{48}}, {"preset", "batch"}}, config);
  EXPECT_EQ(config.policy.kv.mode, kv::KvMode::kThroughput);
  EXPECT_EQ(config.policy.kv.recent_window, 48);
  EXPECT_EQ(config.policy.quality.max_delta_ppl, 0.5);
  config = document({{"preset", "quality"}}, config);
  EXPECT_EQ(config.policy.kv.mode, kv::KvMode::kQuality);
  EXPECT_EQ(config.policy.kv.recent_window, 256);
  EXPECT_EQ(config.policy.quality.max_delta_ppl, 0.1);
}

TEST(Preset, AutomaticGoesByTheModelAndWaitsUntilItIsKnown) {
  Config config = document({{"preset", "auto"}});
  EXPECT_EQ(config.policy.kv.recent_window, 64);
  config.model_parameters = 13'000'000'000;
  config = document({{"preset", "auto"}}, config);
  EXPECT_EQ(config.policy.kv.recent_window, 32);
  EXPECT_EQ(preset_reason(Preset::kAuto, 13'000'000'000),
            "large: for models above 10 billion parameters; this one has 13.0 billion");
}

}  // namespace
}  // namespace infer::control
