#include "engine/watchdog.h"

#include <gtest/gtest.h>

namespace infer::engine {
namespace {

constexpr Instant kStart = Instant::from_ns(1'000'000'000);
Instant at(double seconds) { return kStart + Duration::from_seconds(seconds); }

class WatchdogTest : public ::testing::Test {
 protected:
  std::shared_ptr<AnswerStream> watched(Instant deadline = Instant::never()) {
    return watched({.submitted = kStart, .total = Deadline::at(deadline), .prompt_tokens = 7});
  }
  std::shared_ptr<AnswerStream> watched(const RequestFacts& facts) {
    auto stream = std::make_shared<AnswerStream>(4, std::make_shared<os::WakeSignal>(), nullptr, facts);
    watchdog_.watch(stream);
    return stream;
  }

  Heartbeat heartbeat_;
  int lost_ = 0;
  Watchdog watchdog_{heartbeat_,
                     {Duration::from_seconds(1), Duration::from_seconds(5), Duration::from_seconds(9)},
                     [this] { ++lost_; }};
};

TEST_F(WatchdogTest, SleepsWhileNothingIsToBeDone) {
  EXPECT_EQ(watchdog_.check(at(0)), Instant::never());
  EXPECT_TRUE(watchdog_.health(at(1000)).ready());
  const auto stream = watched();
  EXPECT_EQ(watchdog_.check(at(0)), at(0.125));
  ASSERT_TRUE(stream->finish({}));
  EXPECT_EQ(watchdog_.check(at(1)), Instant::never());
}

TEST_F(WatchdogTest, TheConditionFollowsTheSilence) {
  heartbeat_.beat(at(0));
  EXPECT_EQ(watchdog_.health(at(0.9)).condition, EngineCondition::kReady);
  EXPECT_EQ(watchdog_.health(at(1)).condition, EngineCondition::kSilent);
  EXPECT_EQ(watchdog_.health(at(5)).condition, EngineCondition::kHung);
  EXPECT_EQ(watchdog_.health(at(9)).condition, EngineCondition::kLost);
  EXPECT_EQ(watchdog_.health(at(9)).silence, Duration::from_seconds(9));
  heartbeat_.beat(at(10));
  EXPECT_TRUE(watchdog_.health(at(10.5)).ready());
}

TEST_F(WatchdogTest, AThreadThatDoesNotWakeUpIsSilentToo) {
  heartbeat_.rest();
  EXPECT_TRUE(watchdog_.health(at(100)).ready());
  heartbeat_.call(at(100));
  EXPECT_FALSE(watchdog_.health(at(101)).ready());
  heartbeat_.beat(at(101));
  heartbeat_.call(at(50));  // It works: nobody needs to call it.
  EXPECT_TRUE(watchdog_.health(at(101.5)).ready());
}

TEST_F(WatchdogTest, LimitsAndCancellationsHoldInAHang) {
  heartbeat_.beat(at(0));
  const auto late = watched(at(2)), gone = watched(), patient = watched(at(100));
  gone->cancel(CancelReason::kClientGone);
  watchdog_.check(at(0.9));
  EXPECT_FALSE(gone->finished());  // The engine's own business so far.
  watchdog_.check(at(1));
  ASSERT_TRUE(gone->finished());
  EXPECT_EQ(gone->result().finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(gone->result().cancel_reason, CancelReason::kClientGone);
  EXPECT_FALSE(late->finished());
  watchdog_.check(at(2));
  ASSERT_TRUE(late->finished());
  EXPECT_EQ(late->result().finish_reason, FinishReason::kDeadline);
  EXPECT_EQ(late->result().passed_limit, PassedLimit::kTotal);
  EXPECT_FALSE(patient->finished());
  const auto first = watched({.submitted = kStart, .first_token_by = at(3)});
  const auto second = watched({.submitted = kStart, .first_token_by = at(3)});
  second->push({.token = 1, .text = "t", .logprobs = std::nullopt});
  watchdog_.check(at(3));
  ASSERT_TRUE(first->finished());
  EXPECT_EQ(first->result().passed_limit, PassedLimit::kFirstToken);
  EXPECT_FALSE(second->finished());
  EXPECT_EQ(watchdog_.health(at(2)).hangs, 0u);
}

TEST_F(WatchdogTest, AHangEndsAllWithAnError) {
  heartbeat_.beat(at(0));
  const auto stream = watched();
  stream->push({.token = 1, .text = "t", .logprobs = std::nullopt});
  watchdog_.check(at(4.9));
  EXPECT_FALSE(stream->finished());
  watchdog_.check(at(5));
  ASSERT_TRUE(stream->finished());
  const RequestResult& result = stream->result();
  EXPECT_EQ(result.finish_reason, FinishReason::kFailed);
  ASSERT_TRUE(result.error.has_value());
  EXPECT_NE(result.error->message.find("5.0 s"), std::string::npos) << result.error->message;
  EXPECT_EQ(result.prompt_tokens, 7);
  EXPECT_EQ(result.generated_tokens, 1);
  EXPECT_EQ(result.submitted, kStart);
  EXPECT_EQ(result.ended, at(5));
  const auto another = watched();  // That was on its way.
  watchdog_.check(at(6));
  EXPECT_TRUE(another->finished());
  EXPECT_EQ(watchdog_.health(at(6)).hangs, 1u);
  EXPECT_EQ(watchdog_.health(at(6)).requests_ended, 2u);
}

TEST_F(WatchdogTest, TheOwnerIsToldOnceForEachLoss) {
  heartbeat_.beat(at(0));
  watchdog_.check(at(8.9));
  EXPECT_EQ(lost_, 0);
  watchdog_.check(at(9));
  watchdog_.check(at(10));
  EXPECT_EQ(lost_, 1);
  heartbeat_.beat(at(11));
  watchdog_.check(at(11));
  watchdog_.check(at(30));
  EXPECT_EQ(lost_, 2);
  EXPECT_EQ(watchdog_.health(at(30)).hangs, 2u);
}

TEST_F(WatchdogTest, LimitsMustFollowEachOther) {
  EXPECT_TRUE(WatchdogLimits().validate().has_value());
  EXPECT_EQ(WatchdogLimits({.silent_after = Duration::from_seconds(7)}).validate().error().code,
            ErrorCode::kInvalidArgument);
  EXPECT_FALSE(WatchdogLimits({.silent_after = Duration()}).validate().has_value());
}

}  // namespace
}  // namespace infer::engine
