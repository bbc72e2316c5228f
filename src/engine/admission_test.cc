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
  EXPECT_TRUE(decide_admission({}, kLimits, {in(0.001)}, {.prompt_tokens = 100000}, kNow).status.has_value());
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
  EXPECT_TRUE(decide_admission(backlog, kLimits, {in(3)}, {.prompt_tokens = 500}, kNow).status.has_value());
  const Admission late = decide_admission(backlog, kLimits, {in(2)}, {.prompt_tokens = 500}, kNow);
  ASSERT_FALSE(late.status.has_value());
  EXPECT_EQ(late.status.error().code, ErrorCode::kBusy);
  EXPECT_NE(late.status.error().message.find("after about 2.5 s, but 2.0 s are left"), std::string::npos)
      << late.status.error().message;
  EXPECT_NEAR(late.predicted->seconds(), 2.5, 1e-6);
}

TEST(Admission, WhatIsTooLateEvenAloneIsNotToBeTriedAgain) {
  const Backlog idle{.cost = kCost};
  const Admission late = decide_admission(idle, kLimits, {in(1)}, {.prompt_tokens = 5000}, kNow);
  ASSERT_FALSE(late.status.has_value());
  EXPECT_EQ(late.status.error().code, ErrorCode::kDeadline);
  const Admission past = decide_admission(idle, kLimits, {in(-1)}, {.prompt_tokens = 1}, kNow);
  ASSERT_FALSE(past.status.has_value());
  EXPECT_EQ(past.status.error().code, ErrorCode::kDeadline);
}

// Two run and two wait, so that the third place becomes free after 3 / 2 of the time of one.
constexpr Backlog kFull{
    .waiting = 2, .waiting_before = 2, .running = 2, .cost = {0.01, 0.001}, .running_time = Duration::from_seconds(2)};

TEST(Admission, WhatOthersKeepWaitingEndsAsLateAsTheyDoOrItsSizeLetsIt) {
  // 3 s until its place, and a quarter more as queues are uneven.
  EXPECT_NEAR(predict_end(kFull, kLimits, {.tokens_max = 1'000'000})->seconds(), 3.75 + 2, 1e-6);
  // 90 prompt tokens go into one step; then there are 50 of 10 + 2 ms.
  EXPECT_NEAR(predict_end(kFull, kLimits, {.prompt_tokens = 90, .tokens_max = 50})->seconds(), 3.75 + 0.1 + 0.6, 1e-6);
  Backlog prompts = kFull;
  prompts.tokens_before = 9000;  // 100 steps of 0.1 s.
  EXPECT_NEAR(predict_end(prompts, kLimits, {.tokens_max = 50})->seconds(), 12.5 + 0.6, 1e-6);
}

TEST(Admission, WhatWouldWaitAndBeCutOffIsToBeTriedAgain) {
  const Demand demand{.prompt_tokens = 90, .tokens_max = 50};
  EXPECT_TRUE(decide_admission(kFull, kLimits, {in(4.5)}, demand, kNow).status.has_value());
  const Admission late = decide_admission(kFull, kLimits, {in(4.4)}, demand, kNow);
  ASSERT_FALSE(late.status.has_value());
  EXPECT_EQ(late.status.error().code, ErrorCode::kBusy);
  EXPECT_NE(late.status.error().message.find(", but 4.4 s are left (2 requests run and 2 wait"), std::string::npos)
      << late.status.error().message;
  EXPECT_NEAR(late.predicted->seconds(), 3.1, 1e-6);
}

TEST(Admission, WhatCanBeginAtOnceIsTakenHoweverLittleOfItThereIsTimeFor) {
  Backlog backlog = kFull;
  backlog.waiting = backlog.waiting_before = 0;
  backlog.running = 1;
  EXPECT_FALSE(predict_end(backlog, kLimits, {.tokens_max = 1'000'000}).has_value());
  EXPECT_TRUE(
      decide_admission(backlog, kLimits, {in(0.3)}, {.prompt_tokens = 90, .tokens_max = 50}, kNow).status.has_value());
}

TEST(Admission, StagesMakeDoWithTheTimeThatIsLeft) {
  const Demand demand{.prompt_tokens = 90, .tokens_max = 50, .takes_what_comes = true};
  EXPECT_TRUE(decide_admission(kFull, kLimits, {in(3.5)}, demand, kNow).status.has_value());
  EXPECT_FALSE(decide_admission(kFull, kLimits, {in(2.9)}, demand, kNow).status.has_value());
}

TEST(Admission, WithoutADeadlineNothingEndsLate) {
  EXPECT_TRUE(
      decide_admission(kFull, kLimits, {Deadline::never()}, {.tokens_max = 1'000'000}, kNow).status.has_value());
  const TimeLimits first{.total = Deadline::never(), .first_token = Duration::from_seconds(4)};
  EXPECT_TRUE(decide_admission(kFull, kLimits, first, {.tokens_max = 1'000'000}, kNow).status.has_value());
}

TEST(Admission, ADemandIsWhatIsNotThereYet) {
  Request request{.prompt = std::vector<TokenId>(100),
                  .options = {.tokens_max = 30, .stops = {}},
                  .sampling = {},
                  .limits = {Deadline::never()}};
  EXPECT_EQ(demand_of(request, 64).prompt_tokens, 36);
  EXPECT_EQ(demand_of(request, 64).tokens_max, 30);
  EXPECT_FALSE(demand_of(request, 64).takes_what_comes);
  request.options.tokens_max = -1;
  EXPECT_GT(demand_of(request, 0).tokens_max, 1'000'000);
  request.stages.resize(1);
  EXPECT_TRUE(demand_of(request, 0).takes_what_comes);
  request.pooling = Pooling::kMean;
  EXPECT_EQ(demand_of(request, 0).tokens_max, 0);
}

TEST(Admission, TheLimitOfTheFirstTokenCountsToo) {
  const Backlog idle{.cost = kCost};
  const TimeLimits limits{.total = in(100), .first_token = Duration::from_ms(300)};
  EXPECT_TRUE(decide_admission(idle, kLimits, limits, {.prompt_tokens = 299}, kNow).status.has_value());
  EXPECT_FALSE(decide_admission(idle, kLimits, limits, {.prompt_tokens = 400}, kNow).status.has_value());
}

TEST(Admission, TheQueueIsBoundedInRequestsAndTokens) {
  const Backlog many{.waiting = 3};
  EXPECT_EQ(decide_admission(many, kLimits, {Deadline::never()}, {.prompt_tokens = 1}, kNow).status.error().code,
            ErrorCode::kBusy);
  const Backlog long_ones{.waiting = 1, .waiting_tokens = 900};
  EXPECT_TRUE(
      decide_admission(long_ones, kLimits, {Deadline::never()}, {.prompt_tokens = 100}, kNow).status.has_value());
  EXPECT_EQ(decide_admission(long_ones, kLimits, {Deadline::never()}, {.prompt_tokens = 101}, kNow).status.error().code,
            ErrorCode::kBusy);
  // One that is larger than the bound alone is taken when nothing waits.
  EXPECT_TRUE(decide_admission({}, kLimits, {Deadline::never()}, {.prompt_tokens = 5000}, kNow).status.has_value());
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
