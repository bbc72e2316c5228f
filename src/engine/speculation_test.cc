#include "engine/speculation.h"

#include <gtest/gtest.h>

#include <algorithm>

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

constexpr int kMost = 15;

int draft_length(Speculation& speculation, const SpeculationLimits& limits, const RowCost& cost, StepRows& step) {
  const DraftOffer offer{.source = DraftSource::kText, .most = kMost};
  return speculation.choose(limits, {cost}, {&offer, 1}, step).length;
}

// Answers alone, each of whose drafted tokens is right with the chance that `right` gives for the step.
template <class Right>
Course run(Speculation& speculation, const RowCost& cost, int steps, Rng& rng, Right&& right,
           const SpeculationLimits& limits = {}) {
  Course result;
  for (int i = 0; i < steps; ++i) {
    StepRows step{1, 1};
    const int drafted = draft_length(speculation, limits, cost, step);
    int accepted = 0;
    while (accepted < drafted && rng.uniform() < right(i)) ++accepted;
    const DraftOutcome outcome{{DraftSource::kText, drafted}, drafted, accepted};
    speculation.observe(outcome, cost.seconds(1 + drafted) / cost.seconds(1) - 1);
    result.tokens += 1 + accepted;
    result.seconds += cost.seconds(1 + drafted);
    result.drafted += drafted;
  }
  return result;
}

// The same where a small model guesses, whose passes take `pass`: before each guess it stops with the chance `stops`.
struct GuessedCourse : Course {
  int by_text = 0;
};
GuessedCourse run_guessed(Speculation& speculation, const DraftCosts& costs, int steps, Rng& rng, double right,
                          double right_text = -1, double stops = 0) {
  GuessedCourse result;
  for (int i = 0; i < steps; ++i) {
    StepRows step{1, 1};
    const DraftOffer offers[] = {{.source = DraftSource::kText, .most = right_text >= 0 ? kMost : 0},
                                 {.source = DraftSource::kModel, .most = kMost, .missing = 1}};
    const DraftChoice choice = speculation.choose({}, costs, offers, step);
    const bool by_text = choice.length > 0 && choice.source == DraftSource::kText;
    int drafted = 0, accepted = 0;
    while (drafted < choice.length && (by_text || rng.uniform() >= stops)) ++drafted;
    while (accepted < drafted && rng.uniform() < (by_text ? right_text : right)) ++accepted;
    const int passes = by_text ? 0 : std::min(choice.length, drafted + 1);
    const double seconds = costs.step.seconds(1 + drafted) + (passes > 0 ? passes * costs.pass->seconds(1) : 0);
    if (drafted == choice.length) {
      EXPECT_NEAR(step.seconds(costs.step), seconds, 1e-9);
    }
    speculation.observe({choice, drafted, accepted}, seconds / costs.step.seconds(1) - 1);
    result.tokens += 1 + accepted;
    result.seconds += seconds;
    result.drafted += drafted;
    result.by_text += by_text ? drafted : 0;
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
  EXPECT_EQ(draft_length(speculation, {}, RowCost(), step), 0);
  EXPECT_EQ(draft_length(speculation, {.enabled = false}, cost_with(0.1), step), 0);
  EXPECT_GT(draft_length(speculation, {}, cost_with(0.1), step), 0);
}

TEST(Speculation, GoodDraftsGrowLongAndPay) {
  testing::for_each_case(20, [](Rng& rng) {
    Speculation speculation;
    const RowCost cost = cost_with(2);
    const Course good = run(speculation, cost, 200, rng, [](int) { return 0.97; });
    EXPECT_GT(good.speed(cost), 2.5);
    StepRows step{1, 1};
    const int length = draft_length(speculation, {}, cost, step);
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
  EXPECT_EQ(draft_length(speculation, {}, cost, step), 0);
  EXPECT_EQ(step.rows, 8);
}

// A small model at a fifth of the large one's time.
RowCost pass_cost() {
  RowCost cost;
  for (int rows = 1; rows <= RowCost::kRowsMax; ++rows) cost.observe(rows, Duration::from_us(4000 + 50 * rows));
  return cost;
}

TEST(Speculation, GoodGuessesPayWhatTheyCost) {
  const RowCost cost = cost_with(1), pass = pass_cost();
  testing::for_each_case(20, [&](Rng& rng) {
    Speculation speculation;
    // With all of five guesses at 90 %: 4.7 tokens in 20 + 5 + 5 * 4.05 ms, against 2.26.
    EXPECT_GT(run_guessed(speculation, {cost, &pass}, 300, rng, 0.9).speed(cost), 1.6);
  });
}

TEST(Speculation, BadGuessesNeverCostMoreThanThreePercent) {
  const RowCost pass = pass_cost();
  for (const double right : {0.0, 0.05, 0.2, 0.4, 0.6}) {
    for (const double row_ms : {1.0, 4.0, 15.0}) {
      const RowCost cost = cost_with(row_ms);
      testing::for_each_case(20, [&](Rng& rng) {
        Speculation speculation;
        EXPECT_GT(run_guessed(speculation, {cost, &pass}, 300, rng, right).speed(cost), 0.97) << right << ' ' << row_ms;
      });
    }
  }
}

TEST(Speculation, GuessesOfAModelThatOftenStopsPayWhatTheyCost) {
  const RowCost cost = cost_with(1);
  RowCost pass;
  pass.observe(1, Duration::from_us(600));
  testing::for_each_case(20, [&](Rng& rng) {
    Speculation speculation;
    // Half of the drafts have no token, and each guess is followed by another with one in two: 2 tokens in 20 + 2 * 1.6
    // ms.
    EXPECT_GT(run_guessed(speculation, {cost, &pass}, 300, rng, 1, -1, 0.5).speed(cost), 1.5);
  });
}

TEST(Speculation, WhatAModelStopsBeforeIsNeitherExpectedNorPaid) {
  const RowCost cost = cost_with(1);
  RowCost pass;
  pass.observe(1, Duration::from_us(600));
  testing::for_each_case(20, [&](Rng& rng) {
    Speculation speculation;
    run_guessed(speculation, {cost, &pass}, 300, rng, 1, -1, 0.5);
    double expected = 0, seconds = 0;
    constexpr int kSteps = 300;
    for (int i = 0; i < kSteps; ++i) {
      StepRows step{1, 1};
      const DraftOffer offer{.source = DraftSource::kModel, .most = kMost, .missing = 1};
      const DraftChoice choice = speculation.choose({}, {cost, &pass}, {&offer, 1}, step);
      ASSERT_GT(choice.length, 0);
      expected += step.expected;
      seconds += step.likely_seconds(cost);
      int drafted = 0;
      while (drafted < choice.length && rng.uniform() < 0.5) ++drafted;
      speculation.observe({choice, drafted, drafted}, 0.1);
    }
    EXPECT_NEAR(expected / kSteps, 2, 0.2);
    EXPECT_NEAR(seconds / kSteps, 0.020 + 2 * 0.0006 + 1 * 0.001, 0.0004);
  });
}

TEST(Speculation, TheSourceThatPaysMoreIsAsked) {
  const RowCost cost = cost_with(1), pass = pass_cost();
  testing::for_each_case(20, [&](Rng& rng) {
    Speculation speculation;
    run_guessed(speculation, {cost, &pass}, 200, rng, 0.8, 0.98);
    const GuessedCourse quoted = run_guessed(speculation, {cost, &pass}, 100, rng, 0.8, 0.98);
    EXPECT_GT(quoted.by_text, quoted.drafted / 2);
    run_guessed(speculation, {cost, &pass}, 200, rng, 0.9, 0.0);
    const GuessedCourse guessed = run_guessed(speculation, {cost, &pass}, 100, rng, 0.9, 0.0);
    EXPECT_LT(guessed.by_text, guessed.drafted / 5);
    EXPECT_GT(guessed.speed(cost), 1.3);
  });
}

TEST(Speculation, GuessesOfSeveralAnswersShareTheirPasses) {
  const RowCost cost = cost_with(1), pass = pass_cost();
  Speculation first, second;
  StepRows step{2, 2};
  const DraftOffer offer{.source = DraftSource::kModel, .most = 3, .missing = 2};
  const int one = first.choose({}, {cost, &pass}, {&offer, 1}, step).length;
  ASSERT_GT(one, 0);
  EXPECT_DOUBLE_EQ(step.drafting, pass.seconds(2) + (one - 1) * pass.seconds(1));
  const int other = second.choose({}, {cost, &pass}, {&offer, 1}, step).length;
  ASSERT_EQ(other, one);
  EXPECT_DOUBLE_EQ(step.drafting, pass.seconds(4) + (one - 1) * pass.seconds(2));
  EXPECT_EQ(step.rows, 2 + 2 * one);
}

TEST(Speculation, ADraftThatTheModelWasNotSureOfIsPaidToo) {
  const RowCost cost = cost_with(1), pass = pass_cost();
  Speculation speculation;
  int asked = 0;
  for (int i = 0; i < 300; ++i) {
    StepRows step{1, 1};
    const DraftOffer offer{.source = DraftSource::kModel, .most = kMost, .missing = 1};
    const DraftChoice choice = speculation.choose({}, {cost, &pass}, {&offer, 1}, step);
    asked += choice.length > 0 ? 1 : 0;
    speculation.observe({choice, 0, 0}, choice.length > 0 ? pass.seconds(1) / cost.seconds(1) : 0);
  }
  // A fifth of a token each; half a token was there, and each step pays in a fiftieth.
  EXPECT_LE(asked, (0.5 + 300 * 0.02) / 0.2 + 1);
  EXPECT_GT(asked, 5);
}

TEST(ReadingBudget, IsAShareOfTheTimeAndWhatWasGained) {
  ReadingBudget budget;
  const double begin = budget.left();
  budget.add_step(10);
  EXPECT_NEAR(budget.left(), begin + 0.1, 1e-9);
  budget.spend(2);
  budget.add_gain(0.5);
  budget.add_gain(-0.2);
  EXPECT_NEAR(budget.left(), begin - 1.6, 1e-9);
  budget.add_gain(1000);
  EXPECT_LE(budget.left(), 10);
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
