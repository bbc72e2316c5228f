#include "kv/level_policy.h"

#include <gtest/gtest.h>

namespace infer::kv {
namespace {

TEST(LevelPolicy, NamesOfModesGoBothWays) {
  for (const KvMode mode : {KvMode::kF16, KvMode::kQ8, KvMode::kQ4}) {
    EXPECT_EQ(mode_from_name(mode_name(mode)), mode);
  }
  EXPECT_EQ(mode_from_name("q8_0"), std::nullopt);
}

TEST(LevelPolicy, WindowSinksAndTheUnfinishedPageHave16Bits) {
  const LevelPolicy policy{.mode = KvMode::kQ4, .recent_window = 64, .sink_tokens = 4};
  EXPECT_EQ(wanted_level(policy, 0, 10000), Level::k16);
  EXPECT_EQ(wanted_level(policy, 1, 191), Level::k16);
  EXPECT_EQ(wanted_level(policy, 1, 192), Level::k4);
  EXPECT_EQ(wanted_level(policy, 2, 192), Level::k16);
  LevelPolicy without = policy;
  without.sink_tokens = 0;
  without.recent_window = 0;
  EXPECT_EQ(wanted_level(without, 0, 63), Level::k16) << "not full yet";
  EXPECT_EQ(wanted_level(without, 0, 64), Level::k4);
}

TEST(LevelPolicy, F16LeavesEverythingAlone) {
  EXPECT_EQ(wanted_level({.mode = KvMode::kF16, .recent_window = 0, .sink_tokens = 0}, 0, 100000), Level::k16);
}

}  // namespace
}  // namespace infer::kv
