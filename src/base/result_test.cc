#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>

#include "base/call_context.h"
#include "base/format.h"

namespace infer {
namespace {

class FixedClock final : public Clock {
 public:
  explicit FixedClock(int64_t ns) : now_(Instant::from_ns(ns)) {}
  Instant now() const override { return now_; }
  WallTime wall_time() const override { return {}; }

 private:
  Instant now_;
};

Result<std::unique_ptr<int>> half(int number) {
  if (number % 2 != 0) return Error{ErrorCode::kInvalidArgument, format("{} is odd", number)};
  return std::make_unique<int>(number / 2);
}

Result<int> quarter(int number) {
  INFER_ASSIGN(std::unique_ptr<int> first, half(number));
  INFER_ASSIGN(std::unique_ptr<int> second, half(*first));
  return *second;
}

TEST(Result, AssignHandsOnTheValue) { EXPECT_EQ(*quarter(12), 3); }

TEST(Result, AssignHandsOnTheFirstError) {
  EXPECT_EQ(quarter(7).error().message, "7 is odd");
  EXPECT_EQ(quarter(6).error().message, "3 is odd");
}

TEST(Result, ContextIsPutInFront) {
  const Error error = quarter(7).error();
  EXPECT_EQ(Error(error).with_context("loading x").message, "loading x: 7 is odd");
}

TEST(ResultDeathTest, TheValueOfAnErrorIsAProgrammerError) { EXPECT_DEATH((void)quarter(7).value(), "check failed"); }

TEST(CallContext, ADeadlineIsPassedAtItsInstant) {
  const FixedClock clock(100);
  const CallContext early{clock, Deadline::at(Instant::from_ns(101)), {}};
  const CallContext late{clock, Deadline::at(Instant::from_ns(100)), {}};
  EXPECT_TRUE(early.check("x").has_value());
  EXPECT_EQ(late.check("prefill").error().code, ErrorCode::kDeadline);
}

TEST(CallContext, TheFirstCancelReasonStays) {
  const FixedClock clock(0);
  CancelSource source;
  source.cancel(CancelReason::kUser);
  source.cancel(CancelReason::kShutdown);
  const CallContext call{clock, Deadline::never(), source.token()};
  EXPECT_EQ(call.check("decode").error().message, "decode: stopped by the user");
}

TEST(Instant, AddingToNeverStaysNever) {
  EXPECT_EQ(Instant::never() + Duration::from_ms(5), Instant::never());
  EXPECT_EQ(Instant::from_ns(5) + Duration::from_ns(6), Instant::from_ns(11));
}

}  // namespace
}  // namespace infer
