#include "sampling/logprobs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace infer::sampling {
namespace {

TEST(Logprobs, AreTheLogarithmsOfTheSoftmax) {
  // Weights 1, 2, 1 of 4.
  const std::vector<float> logits{0.0f, std::log(2.0f), 0.0f};
  const Logprobs found = find_logprobs(logits, 2, 2);
  EXPECT_EQ(found.chosen.token, 2);
  EXPECT_NEAR(found.chosen.logprob, std::log(0.25), 1e-6);
  ASSERT_EQ(found.top.size(), 2u);
  EXPECT_EQ(found.top[0].token, 1);
  EXPECT_NEAR(found.top[0].logprob, std::log(0.5), 1e-6);
  EXPECT_EQ(found.top[1].token, 0);  // Before its equal, token 2.
}

TEST(Logprobs, LargeLogitsDoNotOverflow) {
  const std::vector<float> logits{30000.0f, 30000.0f, -30000.0f};
  const Logprobs found = find_logprobs(logits, 0, 5);
  EXPECT_NEAR(found.chosen.logprob, std::log(0.5), 1e-6);
  EXPECT_EQ(found.top.size(), 3u);
}

TEST(Logprobs, WhatIsNotFiniteIsImpossible) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> logits{std::nanf(""), 1.0f, kInfinity, -kInfinity};
  const Logprobs found = find_logprobs(logits, 3, 4);
  EXPECT_EQ(found.chosen.logprob, -kInfinity);
  ASSERT_EQ(found.top.size(), 1u);
  EXPECT_EQ(found.top[0].token, 1);
  EXPECT_NEAR(found.top[0].logprob, 0, 1e-6);
}

TEST(Logprobs, NoneIsGivenWhenNoneIsAskedFor) {
  EXPECT_TRUE(find_logprobs(std::vector<float>{1, 2, 3}, 1, 0).top.empty());
}

}  // namespace
}  // namespace infer::sampling
