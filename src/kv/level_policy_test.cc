#include "kv/level_policy.h"

#include <gtest/gtest.h>

namespace infer::kv {
namespace {

TEST(LevelPolicy, NamesOfModesGoBothWays) {
  for (const KvMode mode : {KvMode::kF16, KvMode::kQ8, KvMode::kQ4, KvMode::kDynamic, KvMode::kLatency,
                            KvMode::kThroughput, KvMode::kQuality}) {
    EXPECT_EQ(mode_from_name(mode_name(mode)), mode);
  }
  EXPECT_EQ(mode_from_name("tiered"), KvMode::kDynamic);
  EXPECT_EQ(mode_from_name("disabled"), KvMode::kF16);
  EXPECT_EQ(mode_from_name("q8_0"), std::nullopt);
}

TEST(LevelPolicy, WindowSinksAndTheUnfinishedPageHave16Bits) {
  const LevelPolicy policy{.mode = KvMode::kQ4, .recent_window = 64, .sink_tokens = 4};
  EXPECT_TRUE(is_pinned(policy, 0, 10000));
  EXPECT_TRUE(is_pinned(policy, 1, 191));
  EXPECT_FALSE(is_pinned(policy, 1, 192));
  EXPECT_TRUE(is_pinned(policy, 2, 192));
  const LevelPolicy without{.mode = KvMode::kQ4, .recent_window = 0, .sink_tokens = 0};
  EXPECT_TRUE(is_pinned(without, 0, 63)) << "not full yet";
  EXPECT_FALSE(is_pinned(without, 0, 64));
}

TEST(LevelPolicy, FixedModesHaveOneLevelEach) {
  EXPECT_EQ(fixed_level(KvMode::kF16), Level::k16);
  EXPECT_EQ(fixed_level(KvMode::kQ8), Level::k8);
  EXPECT_EQ(fixed_level(KvMode::kQ4), Level::k4);
}

TEST(LevelPolicy, OnlyTieredModesThatSaySoLetPagesLeaveMemory) {
  EXPECT_FALSE(may_evict({.mode = KvMode::kDynamic}));
  EXPECT_TRUE(may_evict({.mode = KvMode::kDynamic, .may_evict = true}));
  EXPECT_TRUE(may_evict({.mode = KvMode::kThroughput}));
  EXPECT_FALSE(may_evict({.mode = KvMode::kQ4, .may_evict = true}));
}

TEST(LevelPolicy, PresetsSetModeAndWindow) {
  LevelPolicy policy;
  ASSERT_TRUE(apply_preset("aggressive", policy));
  EXPECT_EQ(policy.mode, KvMode::kThroughput);
  EXPECT_EQ(policy.recent_window, 32);
  ASSERT_TRUE(apply_preset("safe", policy));
  EXPECT_EQ(policy.recent_window, 256);
  EXPECT_FALSE(apply_preset("bold", policy));
}

TEST(LevelPolicy, ForetellsWhatALayerTakes) {
  const PageShape shape{.kv_heads = 2, .head_dim = 64};
  const uint64_t full = shape.page_bytes(Level::k16), bytes = shape.page_bytes(Level::k8),
                 nibbles = shape.page_bytes(Level::k4);
  EXPECT_EQ(layer_bytes_max({.mode = KvMode::kF16}, shape, 100, 512), 100 * full);
  // 9 pages that a step touches, with their planes; 2 of the window, 1 of the sinks.
  EXPECT_EQ(layer_bytes_max({.mode = KvMode::kQ4}, shape, 100, 512), 12 * full + 9 * bytes + 88 * nibbles);
  EXPECT_EQ(layer_bytes_max({.mode = KvMode::kQ8}, shape, 100, 512), 12 * full + 9 * bytes + 88 * bytes);
  EXPECT_EQ(layer_bytes_max({.mode = KvMode::kQ8}, shape, 4, 512), 4 * full + 4 * bytes);
  const uint64_t tiered = layer_bytes_max({.mode = KvMode::kDynamic}, shape, 100, 512);
  EXPECT_GT(tiered, layer_bytes_max({.mode = KvMode::kQ4}, shape, 100, 512));
  EXPECT_LT(tiered, layer_bytes_max({.mode = KvMode::kQ8}, shape, 100, 512));
  EXPECT_EQ(layer_bytes_max({.mode = KvMode::kDynamic, .loss_limit = 0.01}, shape, 100, 512), 100 * full + 9 * bytes);
}

TEST(LevelPolicy, AShareThatIsGivenGoesBeforeTheModes) {
  EXPECT_DOUBLE_EQ(byte_share({.mode = KvMode::kDynamic, .byte_share = 0.4}), 0.4);
  EXPECT_LT(byte_share({.mode = KvMode::kThroughput}), byte_share({.mode = KvMode::kDynamic}));
  EXPECT_LT(byte_share({.mode = KvMode::kDynamic}), byte_share({.mode = KvMode::kQuality}));
}

// Pages of 4 and 8 bits take 28 and 54 % of F16 here.
TEST(LevelPolicy, TheUsualLevelIsThatOfMostPages) {
  const PageShape shape{.kv_heads = 2, .head_dim = 64};
  const auto usual = [&shape](const LevelPolicy& policy) { return usual_level(policy, shape); };
  EXPECT_EQ(usual({.mode = KvMode::kF16}), Level::k16);
  EXPECT_EQ(usual({.mode = KvMode::kQ8}), Level::k8);
  EXPECT_EQ(usual({.mode = KvMode::kQ4}), Level::k4);
  EXPECT_EQ(usual({.mode = KvMode::kQuality}), Level::k8);
  EXPECT_EQ(usual({.mode = KvMode::kDynamic}), Level::k4);
  EXPECT_EQ(usual({.mode = KvMode::kDynamic, .byte_share = 0.42}), Level::k8);
  EXPECT_EQ(usual({.mode = KvMode::kDynamic, .byte_share = 0.05}), Level::k4) << "nothing leaves memory";
  EXPECT_EQ(usual({.mode = KvMode::kThroughput, .byte_share = 0.05}), Level::kEvicted);
}

}  // namespace
}  // namespace infer::kv
