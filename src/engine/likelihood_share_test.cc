#include "engine/likelihood_share.h"

#include <gtest/gtest.h>

namespace infer::engine {
namespace {

// Of so many steps, how many are measured.
int measured(LikelihoodShare& share, int steps, Duration step, Duration taken, bool others_wait = false) {
  int count = 0;
  for (int i = 0; i < steps; ++i) {
    if (!share.next(step, others_wait)) continue;
    ++count;
    share.observe(taken);
  }
  return count;
}

TEST(LikelihoodShare, IsAllOfThemWhereThatCostsNextToNothing) {
  LikelihoodShare share;
  EXPECT_EQ(measured(share, 1000, Duration::from_ms(40), Duration::from_us(30)), 1000);
  EXPECT_EQ(measured(share, 1000, Duration::from_ms(40), Duration::from_us(30), true), 1000);
}

TEST(LikelihoodShare, KeepsToItsShareOfTheTimeOfShortSteps) {
  LikelihoodShare share;
  (void)measured(share, LikelihoodShare::kKnownFrom, Duration::from_us(250), Duration::from_us(9));
  // 9 of 250 us are 3.6 %: every second one is 1.8 %.
  EXPECT_EQ(measured(share, 1000, Duration::from_us(250), Duration::from_us(9)), 500);
  // Others wait for their turn: 0.4 % would be one in nine, which is too few.
  EXPECT_EQ(measured(share, 1000, Duration::from_us(250), Duration::from_us(9), true), 250);
}

TEST(LikelihoodShare, NeverGoesBelowOneInFour) {
  LikelihoodShare share;
  (void)measured(share, LikelihoodShare::kKnownFrom, Duration::from_us(10), Duration::from_us(10));
  EXPECT_EQ(measured(share, 1000, Duration::from_us(10), Duration::from_us(10)), 250);
}

TEST(LikelihoodShare, MeasuresAllWhereItMayTakeAsLongAsTheStep) {
  LikelihoodShare share(1);
  EXPECT_EQ(measured(share, 1000, Duration::from_us(10), Duration::from_us(9)), 1000);
}

TEST(LikelihoodShare, FollowsStepsThatBecomeLonger) {
  LikelihoodShare share;
  (void)measured(share, 200, Duration::from_us(100), Duration::from_us(8));
  EXPECT_EQ(share.every(false), 4);
  (void)measured(share, 400, Duration::from_ms(1), Duration::from_us(8));
  EXPECT_EQ(share.every(false), 1);
}

TEST(LikelihoodShare, WhatIsNotKnownYetIsMeasured) {
  LikelihoodShare share;
  EXPECT_EQ(measured(share, LikelihoodShare::kKnownFrom, Duration(), Duration::from_us(2)),
            LikelihoodShare::kKnownFrom);
}

}  // namespace
}  // namespace infer::engine
