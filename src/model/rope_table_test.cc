#include "model/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace infer::model {
namespace {

TEST(RopeTable, PositionZeroDoesNotRotate) {
  const RopeTable table = *RopeTable::make({.dims = 8}, {});
  ASSERT_EQ(table.pairs(), 4);
  float cosine[4], sine[4];
  table.fill(0, cosine, sine);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(cosine[i], 1.0f);
    EXPECT_EQ(sine[i], 0.0f);
  }
}

TEST(RopeTable, LaterPairsTurnSlowerByPowersOfTheBase) {
  const RopeTable table = *RopeTable::make({.dims = 4, .freq_base = 100.0f}, {});
  float cosine[2], sine[2];
  table.fill(3, cosine, sine);
  EXPECT_FLOAT_EQ(cosine[0], std::cos(3.0f));
  EXPECT_FLOAT_EQ(sine[0], std::sin(3.0f));
  EXPECT_FLOAT_EQ(cosine[1], std::cos(0.3f));
  EXPECT_FLOAT_EQ(sine[1], std::sin(0.3f));
}

TEST(RopeTable, ScalingDividesPositionsAndFactorsDivideFrequencies) {
  const float factors[] = {1.0f, 8.0f};
  const RopeTable table = *RopeTable::make({.dims = 4, .freq_base = 100.0f, .position_scale = 0.25f}, factors);
  float cosine[2], sine[2];
  table.fill(8, cosine, sine);
  EXPECT_FLOAT_EQ(sine[0], std::sin(2.0f));
  EXPECT_FLOAT_EQ(sine[1], std::sin(0.025f));
}

TEST(RopeTable, KnowsTheAngleAtFarPositions) {
  const RopeTable table = *RopeTable::make({.dims = 2}, {});
  float cosine = 0, sine = 0;
  table.fill(16'000'001, &cosine, &sine);
  EXPECT_NEAR(cosine, std::cos(16'000'001.0), 1e-7);
}

TEST(RopeTable, YarnScalesOnlyThePairsThatTurnSeldom) {
  // Pair i turns 64 / (2 pi 100^(i/4)) times within 64 positions: 10.2, 3.2, 1.02, 0.32.
  RopeConfig config{.dims = 8, .freq_base = 100.0f, .position_scale = 0.25f, .magnitude = 1.5f};
  config.yarn = {.original_context = 64, .turns_fast = 32.0f, .turns_slow = 3.3f};
  const RopeTable table = *RopeTable::make(config, {});
  float cosine[4], sine[4];
  table.fill(1, cosine, sine);
  // The ramp goes from pair 0 (none turns 32 times) to 1 (3.3 turns fall between 0 and 1).
  const double frequencies[] = {1.0, 0.25 * std::pow(100.0, -0.25), 0.25 * 0.1, 0.25 * std::pow(100.0, -0.75)};
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(sine[i], 1.5 * std::sin(frequencies[i]), 1e-6) << i;
    EXPECT_NEAR(cosine[i], 1.5 * std::cos(frequencies[i]), 1e-6) << i;
  }
}

TEST(RopeTable, RefusesFactorsThatCannotDivide) {
  for (const float bad :
       {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const float factors[] = {1.0f, bad};
    const auto table = RopeTable::make({.dims = 4}, factors);
    ASSERT_FALSE(table.has_value());
    EXPECT_EQ(table.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(table.error().message.find("rotary factor 1 "), std::string::npos);
  }
}

}  // namespace
}  // namespace infer::model
