#include "engine/guess_trust.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "testing/property.h"

namespace infer::engine {
namespace {

// After so many guesses of any probability, each right with the chance that `right` gives for it.
template <class Right>
GuessTrust trust_after(int guesses, Rng& rng, Right&& right) {
  GuessTrust trust;
  for (int i = 0; i < guesses; ++i) {
    const double probability = rng.uniform();
    trust.observe(probability, rng.uniform() < right(probability));
  }
  return trust;
}

TEST(GuessTrust, MoreProbableGuessesAreMoreLikely) {
  testing::for_each_case(20, [](Rng& rng) {
    const GuessTrust trust = trust_after(static_cast<int>(rng.below(50)), rng, [&](double) { return rng.uniform(); });
    double before = 0;
    for (const double probability : {0.0, 0.01, 0.1, 0.3, 0.5, 0.8, 1.0}) {
      EXPECT_GE(trust.chance(probability), before);
      EXPECT_LE(trust.chance(probability), 1);
      before = trust.chance(probability);
    }
  });
}

TEST(GuessTrust, IsWhatBecameOfGuesses) {
  // As drawn answers are, as greedy ones are where both models think alike, and as a model is that is too sure.
  for (const double power : {1.0, 0.2, 4.0}) {
    double error = 0;
    constexpr int kCases = 50;
    testing::for_each_case(kCases, [&](Rng& rng) {
      const auto right = [&](double probability) { return std::pow(probability, power); };
      const GuessTrust trust = trust_after(100, rng, right);
      for (const double probability : {0.2, 0.5, 0.9})
        error += std::abs(trust.chance(probability) - right(probability));
    });
    EXPECT_LT(error / (3 * kCases), 0.08) << power;
  }
}

TEST(GuessTrust, AFewGuessesTellOfThoseThatWereNeverMade) {
  GuessTrust sure, unsure;
  for (int i = 0; i < 10; ++i) {
    sure.observe(0.4, true);
    unsure.observe(0.4, i % 3 == 0);
  }
  EXPECT_GT(sure.chance(0.2), 0.6);
  EXPECT_LT(unsure.chance(0.2), 0.3);
}

TEST(GuessTrust, FollowsWhatChanges) {
  testing::for_each_case(20, [](Rng& rng) {
    GuessTrust trust = trust_after(1000, rng, [](double) { return 1.0; });
    EXPECT_GT(trust.chance(0.3), 0.8);
    for (int i = 0; i < 40; ++i) trust.observe(0.9, false);
    EXPECT_LT(trust.chance(0.3), 0.1);
    EXPECT_LT(trust.chance(0.9), 0.6);
  });
}

TEST(GuessTrust, WhatComesBehindAWrongGuessTellsNothing) {
  const float draft[] = {0.5f, 0.5f, 0.9f, 0.9f};
  GuessTrust one, other;
  one.observe(draft, 1);
  other.observe(0.5, true);
  other.observe(0.5, false);
  EXPECT_DOUBLE_EQ(one.chance(0.7), other.chance(0.7));
}

TEST(GuessTrust, NoNumberIsNoChance) {
  GuessTrust trust;
  trust.observe(std::numeric_limits<double>::quiet_NaN(), true);
  EXPECT_EQ(trust.chance(std::numeric_limits<double>::quiet_NaN()), 0);
  EXPECT_GT(trust.chance(0.5), 0);
}

}  // namespace
}  // namespace infer::engine
