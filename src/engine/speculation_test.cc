#include "engine/speculation.h"

#include <gtest/gtest.h>

#include "testing/property.h"

namespace infer::engine {
namespace {

// 20 ms a step, and for each further row so many more.
RowCost cost_with(double row_ms) {
  RowCost cost;
  for (int rows = 1; rows <= RowCost::kRowsMax; ++rows) {
    cost.observe(rows, Duration::from_us(static_cast<int64_t>(20000 + 1000 * row_ms * (rows - 1))));
  }
  return cost;
}

struct Course {
  double tokens = 0;
  double seconds = 0;
  int drafted = 0;
  double speed(const RowCost& cost) const { return tokens / seconds * cost.seconds(1); }  // Times that without.
};

// Answers alone, each of whose drafted tokens is right with the chance that `right` gives for the step.
template <class Right>
Course run(Speculation& speculation, const RowCost& cost, int steps, Rng& rng, Right&& right,
           const SpeculationLimits& limits = {}) {
  Course result;
  for (int i = 0; i < steps; ++i) {
    StepRows step{1, 1};
    const int drafted = speculation.choose_length(limits, cost, limits.draft_max, step);
    int accepted = 0;
    while (accepted < drafted && rng.uniform() < right(i)) ++accepted;
    speculation.observe(cost, 1, drafted, accepted, cost.seconds(1 + drafted));
    result.tokens += 1 + accepted;
    result.seconds += cost.seconds(1 + drafted);
    result.drafted += drafted;
  }
  return result;
}

TEST(AcceptWindow, CountsTheLastFiftyTokens) {
  AcceptWindow window;
  EXPECT_EQ(window.rate(), 0);
  window.add(4, 3);
  EXPECT_FLOAT_EQ(window.rate(), 0.75f);
  window.add(46, 46);
  EXPECT_FLOAT_EQ(window.rate(), 0.98f);
  window.add(3, 0);  // The first three, which were right, leave.
  EXPECT_FLOAT_EQ(window.rate(), 46.0f / 50);
  window.add(50, 0);
  EXPECT_EQ(window.rate(), 0);
  EXPECT_EQ(window.drafted(), 50);
}

TEST(Speculation, NothingIsDraftedBeforeAStepWasMeasuredOrWhereItIsOff) {
  Speculation speculation;
  StepRows step{1, 1};
  EXPECT_EQ(speculation.choose_length({}, RowCost(), 8, step), 0);
  EXPECT_EQ(speculation.choose_length({.enabled = false}, cost_with(0.1), 8, step), 0);
  EXPECT_GT(speculation.choose_length({}, cost_with(0.1), 8, step), 0);
}

TEST(Speculation, GoodDraftsGrowLongAndPay) {
  testing::for_each_case(20, [](Rng& rng) {
    Speculation speculation;
    const RowCost cost = cost_with(2);
    const Course good = run(speculation, cost, 200, rng, [](int) { return 0.97; });
    EXPECT_GT(good.speed(cost), 2.5);
    StepRows step{1, 1};
    const int length = speculation.choose_length({}, cost, 15, step);
    EXPECT_EQ(step.rows, 1 + length);
  });
}

TEST(Speculation, BadDraftsNeverCostMoreThanThreePercent) {
  for (const double right : {0.0, 0.05, 0.2, 0.4}) {
    for (const double row_ms : {1.0, 4.0, 15.0}) {
      testing::for_each_case(20, [&](Rng& rng) {
        Speculation speculation;
        const RowCost cost = cost_with(row_ms);
        const Course bad = run(speculation, cost, 300, rng, [&](int) { return right; });
        EXPECT_GT(bad.speed(cost), 0.97) << right << ' ' << row_ms;
      });
    }
  }
}

TEST(Speculation, BadDraftsStopAndAreTriedAgainUntilTheyAreGood) {
  testing::for_each_case(20, [](Rng& rng) {
    Speculation speculation;
    const RowCost cost = cost_with(2);
    run(speculation, cost, 300, rng, [](int) { return 0.0; });
    const Course stopped = run(speculation, cost, 200, rng, [](int) { return 0.0; });
    EXPECT_GT(stopped.drafted, 0);
    EXPECT_LT(stopped.drafted, 60);
    run(speculation, cost, 100, rng, [](int) { return 1.0; });
    const Course again = run(speculation, cost, 100, rng, [](int) { return 1.0; });
    EXPECT_GT(again.speed(cost), 2.5);
  });
}

TEST(Speculation, ABusyStepHasRoomForFewDrafts) {
  // Where a row costs as much as the weights, eight answers have nothing to gain.
  const RowCost cost = cost_with(20);
  Speculation speculation;
  StepRows step{8, 8};
  EXPECT_EQ(speculation.choose_length({}, cost, 8, step), 0);
  EXPECT_EQ(step.rows, 8);
}

TEST(RowCost, KnowsWhatWasMeasuredAndGuessesTheRest) {
  RowCost cost;
  EXPECT_FALSE(cost.known());
  cost.observe(2, Duration::from_ms(20));
  cost.observe(6, Duration::from_ms(40));
  cost.set_slope(0.003);
  EXPECT_DOUBLE_EQ(cost.seconds(1), 0.020);
  EXPECT_DOUBLE_EQ(cost.seconds(2), 0.020);
  EXPECT_DOUBLE_EQ(cost.seconds(3), 0.025);
  EXPECT_DOUBLE_EQ(cost.seconds(6), 0.040);
  EXPECT_DOUBLE_EQ(cost.seconds(8), 0.046);
  cost.observe(4, Duration::from_ms(10));  // Quicker than fewer rows: noise.
  EXPECT_DOUBLE_EQ(cost.seconds(4), 0.020);
}

TEST(RowCost, OneLongStepIsForgotten) {
  RowCost cost;
  cost.observe(1, Duration::from_ms(20));
  cost.observe(3, Duration::from_ms(500));
  for (int i = 0; i < 2000; ++i) cost.observe(1, Duration::from_ms(20));
  EXPECT_LT(cost.seconds(3), 0.025);
  EXPECT_GE(cost.seconds(3), 0.020);
  cost.observe(3, Duration::from_ms(22));
  cost.observe(3, Duration::from_ms(40));  // Others' work.
  EXPECT_LT(cost.seconds(3), 0.026);
}

}  // namespace
}  // namespace infer::engine
