#include "os/background_thread.h"

#include <gtest/gtest.h>

#include <atomic>

#include "os/system_clock.h"
#include "testing/test_clock.h"

namespace infer::os {
namespace {

// Work that ends only when it is cancelled.
Status until_cancelled(CancelToken cancel) {
  while (!cancel.cancelled()) {
  }
  return Error{ErrorCode::kCancelled, "stopped"};
}

TEST(BackgroundThread, FinishGivesTheWorksOwnStatus) {
  const SystemClock clock;
  const CallContext call{clock, Deadline::never(), {}};
  std::atomic<int> runs = 0;
  const auto good = BackgroundThread::start(BackgroundThread::Share::kLeftOver, [&](CancelToken) {
                      ++runs;
                      return Status();
                    }).value();
  EXPECT_TRUE(good->finish(call).has_value());
  EXPECT_EQ(runs, 1);
  ASSERT_TRUE(good->result().has_value());
  EXPECT_TRUE(good->result()->has_value());
  EXPECT_TRUE(good->finish(call).has_value()) << "asked again it says the same";
  const auto bad = BackgroundThread::start(BackgroundThread::Share::kLeftOver, [](CancelToken) {
                     return Status(Error{ErrorCode::kIo, "no disk"});
                   }).value();
  EXPECT_EQ(bad->finish(call).error().message, "no disk");
}

TEST(BackgroundThread, AStoppedCallCancelsTheWork) {
  const testing::TestClock clock;
  const auto thread = BackgroundThread::start(BackgroundThread::Share::kSmall, until_cancelled).value();
  EXPECT_FALSE(thread->result().has_value());
  const CallContext late{clock, Deadline::at(clock.now()), {}};
  EXPECT_EQ(thread->finish(late).error().code, ErrorCode::kCancelled);
}

TEST(BackgroundThread, DestroyingItEndsTheWork) {
  bool ended = false;
  {
    const auto thread = BackgroundThread::start(BackgroundThread::Share::kLeftOver, [&](CancelToken cancel) {
      Status status = until_cancelled(cancel);
      ended = true;
      return status;
    });
    ASSERT_TRUE(thread.has_value());
  }
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace infer::os
