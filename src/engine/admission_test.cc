#include "engine/admission.h"

#include <gtest/gtest.h>

namespace infer::engine {
namespace {

constexpr Instant kNow = Instant::from_ns(10'000'000'000);
constexpr EngineLimits kLimits{.running_max = 2,
                               .waiting_max = 3,
                               .waiting_tokens_max = 1000,
                               .tokens_per_step = 512,
                               .step_target = Duration::from_ms(100)};
// 1 ms a token: 100 tokens a step.
constexpr CostLine kCost{0, 0.001};

Deadline in(double seconds) { return Deadline::at(kNow + Duration::from_seconds(seconds)); }

TEST(Admission, PromisesNothingBeforeSomethingWasMeasured) {
  EXPECT_FALSE(predict_first_token({}, kLimits, 100).has_value());
  EXPECT_TRUE(decide_admission({}, kLimits, {in(0.001)}, 100000, kNow).status.has_value());
}

TEST(Admission, TheFirstTokenComesAfterThePromptsBefore) {
  const Backlog backlog{.tokens_before = 2000, .cost = kCost};
  EXPECT_NEAR(predict_first_token(backlog, kLimits, 500)->seconds(), 2.5, 1e-6);
  // Beside 50 answers, half of each step is left, and each step lasts as long.
  const Backlog beside{.answering = 50, .cost = kCost};
  EXPECT_NEAR(predict_first_token(beside, kLimits, 500)->seconds(), 1.0, 1e-6);
}

TEST(Admission, AFullHouseMakesWaitForPlaces) {
  const Backlog backlog{.waiting_before = 1, .running = 2, .cost = kCost, .running_time = Duration::from_seconds(10)};
  EXPECT_NEAR(predict_first_token(backlog, kLimits, 100)->seconds(), 10.1, 1e-6);
}

TEST(Admission, WhatCannotBeDoneInTimeIsRefusedWithTheNumbers) {
  const Backlog backlog{.waiting_before = 1, .tokens_before = 2000, .running = 1, .cost = kCost};
  EXPECT_TRUE(decide_admission(backlog, kLimits, {in(3)}, 500, kNow).status.has_value());
  const Admission late = decide_admission(backlog, kLimits, {in(2)}, 500, kNow);
  ASSERT_FALSE(late.status.has_value());
  EXPECT_EQ(late.status.error().code, ErrorCode::kBusy);
  EXPECT_NE(late.status.error().message.find("after about 2.5 s, but 2.0 s are left"), std::string::npos)
      << late.status.error().message;
  EXPECT_NEAR(late.predicted->seconds(), 2.5, 1e-6);
}

TEST(Admission, WhatIsTooLateEvenAloneIsNotToBeTriedAgain) {
  const Backlog idle{.cost = kCost};
  const Admission late = decide_admission(idle, kLimits, {in(1)}, 5000, kNow);
  ASSERT_FALSE(late.status.has_value());
  EXPECT_EQ(late.status.error().code, ErrorCode::kDeadline);
  const Admission past = decide_admission(idle, kLimits, {in(-1)}, 1, kNow);
  ASSERT_FALSE(past.status.has_value());
  EXPECT_EQ(past.status.error().code, ErrorCode::kDeadline);
}

TEST(Admission, TheLimitOfTheFirstTokenCountsToo) {
  const Backlog idle{.cost = kCost};
  const TimeLimits limits{.total = in(100), .first_token = Duration::from_ms(300)};
  EXPECT_TRUE(decide_admission(idle, kLimits, limits, 299, kNow).status.has_value());
  EXPECT_FALSE(decide_admission(idle, kLimits, limits, 400, kNow).status.has_value());
}

TEST(Admission, TheQueueIsBoundedInRequestsAndTokens) {
  const Backlog many{.waiting = 3};
  EXPECT_EQ(decide_admission(many, kLimits, {Deadline::never()}, 1, kNow).status.error().code, ErrorCode::kBusy);
  const Backlog long_ones{.waiting = 1, .waiting_tokens = 900};
  EXPECT_TRUE(decide_admission(long_ones, kLimits, {Deadline::never()}, 100, kNow).status.has_value());
  EXPECT_EQ(decide_admission(long_ones, kLimits, {Deadline::never()}, 101, kNow).status.error().code, ErrorCode::kBusy);
  // One that is larger than the bound alone is taken when nothing waits.
  EXPECT_TRUE(decide_admission({}, kLimits, {Deadline::never()}, 5000, kNow).status.has_value());
}

TEST(Admission, OnlyWhatGoesFirstIsBeforeARequest) {
  EngineSnapshot snapshot;
  snapshot.waiting = {1, 2, 4};
  snapshot.prompt_tokens = {10, 20, 40};
  const Backlog high = backlog_of(snapshot, Priority::kHigh, 1, 5);
  EXPECT_EQ(high.waiting_before, 2);
  EXPECT_EQ(high.tokens_before, 15);
  EXPECT_EQ(high.waiting, 8);
  EXPECT_EQ(high.waiting_tokens, 75);
  EXPECT_EQ(backlog_of(snapshot, Priority::kLow, 0, 0).tokens_before, 70);
}

}  // namespace
}  // namespace infer::engine
