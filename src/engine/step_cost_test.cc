#include "engine/step_cost.h"

#include <gtest/gtest.h>

namespace infer::engine {
namespace {

TEST(StepCost, PredictsNothingBeforeItMeasured) {
  const CostLine line = StepCost().line();
  EXPECT_FALSE(line.known());
  EXPECT_EQ(line.tokens_within(Duration::from_ms(1), 512), 512);
}

TEST(StepCost, FindsTheFixedPartAndThePartPerToken) {
  StepCost cost;
  for (const int tokens : {1, 64, 8, 128, 1}) cost.observe(tokens, Duration::from_us(20000 + 1000 * tokens));
  const CostLine line = cost.line();
  EXPECT_NEAR(line.fixed, 0.020, 1e-6);
  EXPECT_NEAR(line.per_token, 0.001, 1e-8);
  EXPECT_NEAR(line.time(100).ms(), 120, 1e-3);
  EXPECT_EQ(line.tokens_within(Duration::from_us(70500), 512), 50);
  EXPECT_EQ(line.tokens_within(Duration::from_ms(10), 512), 0);
  EXPECT_EQ(line.tokens_within(Duration::from_seconds(10), 512), 512);
}

TEST(StepCost, StepsOfOneSizeGiveALineThroughTheOrigin) {
  StepCost cost;
  for (int i = 0; i < 5; ++i) cost.observe(10, Duration::from_ms(50));
  EXPECT_NEAR(cost.line().time(20).ms(), 100, 1e-6);
}

TEST(StepCost, FollowsAMachineThatBecomesSlower) {
  StepCost cost;
  for (int i = 0; i < 200; ++i) cost.observe(i % 2 == 0 ? 1 : 100, Duration::from_ms(i % 2 == 0 ? 10 : 20));
  for (int i = 0; i < 200; ++i) cost.observe(i % 2 == 0 ? 1 : 100, Duration::from_ms(i % 2 == 0 ? 30 : 60));
  EXPECT_NEAR(cost.line().time(100).ms(), 60, 2);
}

TEST(StepCost, NoiseNeverMakesTimesNegative) {
  StepCost falling, steep;
  falling.observe(1, Duration::from_ms(30));
  falling.observe(100, Duration::from_ms(20));
  EXPECT_NEAR(falling.line().time(1000).ms(), 25, 0.5);
  steep.observe(50, Duration::from_ms(10));
  steep.observe(100, Duration::from_ms(60));
  EXPECT_GT(steep.line().time(1).ns(), 0);
}

TEST(RowCost, AStepAnswersForHalfMoreThanSuchStepsTakeAtMost) {
  RowCost cost;
  EXPECT_DOUBLE_EQ(cost.own_seconds(4, Duration::from_ms(30)), 0.030);  // Nothing is known of such steps.
  for (int i = 0; i < 10; ++i) cost.observe(4, Duration::from_ms(10));
  EXPECT_DOUBLE_EQ(cost.own_seconds(4, Duration::from_ms(8)), 0.008);
  EXPECT_DOUBLE_EQ(cost.own_seconds(4, Duration::from_ms(14)), 0.014);
  EXPECT_DOUBLE_EQ(cost.own_seconds(4, Duration::from_ms(1000)), 0.015);
  EXPECT_DOUBLE_EQ(cost.own_seconds(3, Duration::from_ms(1000)), 1.0);
  EXPECT_DOUBLE_EQ(cost.own_seconds(1000, Duration::from_ms(1000)), 1.0);
}

TEST(RowCost, StepsThatStayLongerAreBelievedSoon) {
  RowCost cost;
  for (int i = 0; i < 10; ++i) cost.observe(4, Duration::from_ms(10));
  for (int i = 0; i < 8; ++i) cost.observe(4, Duration::from_ms(20));
  EXPECT_DOUBLE_EQ(cost.own_seconds(4, Duration::from_ms(20)), 0.020);
}

}  // namespace
}  // namespace infer::engine
