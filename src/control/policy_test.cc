#include "control/policy.h"

#include <gtest/gtest.h>

namespace infer::control {
namespace {

TEST(Policy, ItsDefaultsAreThoseOfTheSpecification) {
  const Policy policy;
  EXPECT_EQ(policy.kv.mode, kv::KvMode::kDynamic);
  EXPECT_EQ(policy.kv.recent_window, 64);
  EXPECT_EQ(policy.kv.level_thresholds.l1_int8, 0.7);
  EXPECT_EQ(policy.kv.level_thresholds.l2_int4, 0.5);
  EXPECT_EQ(policy.kv.level_thresholds.l3_evict, 0.3);
  EXPECT_TRUE(policy.io.enable_iobinding);
  EXPECT_EQ(policy.io.dml_pool_bytes, 2147483648u);
  EXPECT_EQ(policy.io.host_pool_bytes, 4294967296u);
  EXPECT_EQ(policy.scheduler.mode, SchedulerMode::kHybrid);
  EXPECT_EQ(policy.scheduler.prefill_device, Device::kDml);
  EXPECT_EQ(policy.scheduler.decode_device, Device::kNpu);
  EXPECT_EQ(policy.quality.max_delta_ppl, 0.5);
  EXPECT_EQ(policy.quality.min_accept_rate, 0.5);
}

TEST(Policy, TellsTheCacheItsModeAndLeavesWhatIsTheCachesOwn) {
  Policy policy;
  policy.kv = {kv::KvMode::kThroughput, 32, {0.6, 0.4, 0.2}};
  kv::LevelPolicy cache;
  cache.mode = kv::KvMode::kQ8;
  cache.sink_tokens = 7;
  cache.weights.age = 0.3;
  cache.memory_limit_bytes = 1000;
  cache.pressure = 0.4;
  cache.byte_share = 0.9;
  cache.may_evict = true;
  const kv::LevelPolicy levels = level_policy(policy, cache);
  EXPECT_EQ(levels.mode, kv::KvMode::kThroughput);
  EXPECT_EQ(levels.recent_window, 32);
  EXPECT_EQ(levels.thresholds.l1_int8, 0.6);
  EXPECT_EQ(levels.thresholds.l2_int4, 0.4);
  EXPECT_EQ(levels.thresholds.l3_evict, 0.2);
  EXPECT_EQ(levels.sink_tokens, 7);
  EXPECT_EQ(levels.weights.age, 0.3);
  EXPECT_EQ(levels.memory_limit_bytes, 1000u);
  EXPECT_EQ(levels.pressure, 0.4);
  EXPECT_EQ(levels.byte_share, 0.9);
  EXPECT_TRUE(levels.may_evict);
}

TEST(Policy, BaselineIsAllSixteenBitsOnOneDevice) {
  Policy policy;
  policy.kv.recent_window = 100;
  const Policy baseline = baseline_of(policy);
  EXPECT_EQ(level_policy(baseline, {}).mode, kv::KvMode::kF16);
  EXPECT_EQ(baseline.scheduler.mode, SchedulerMode::kCpuOnly);
  EXPECT_EQ(baseline.scheduler.prefill_device, Device::kCpu);
  EXPECT_EQ(baseline.scheduler.decode_device, Device::kCpu);
  EXPECT_FALSE(baseline.io.enable_iobinding);
  EXPECT_EQ(baseline.kv.recent_window, 100);
}

}  // namespace
}  // namespace infer::control
