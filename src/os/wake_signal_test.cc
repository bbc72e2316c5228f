#include "os/wake_signal.h"

#include <gtest/gtest.h>

#include <atomic>

#include "os/service_thread.h"
#include "os/system_clock.h"

namespace infer::os {
namespace {

TEST(WakeSignal, RemembersANotificationThatCameBeforeTheWait) {
  WakeSignal signal;
  signal.notify();
  signal.notify();
  EXPECT_TRUE(signal.wait_until(Instant::never()));
  EXPECT_FALSE(signal.wait_until(SystemClock().now()));  // Two notifications before a wait are one.
}

TEST(WakeSignal, ReturnsAtTheInstantWhenNobodyNotifies) {
  WakeSignal signal;
  const SystemClock clock;
  const Instant until = clock.now() + Duration::from_ms(1);
  EXPECT_FALSE(signal.wait_until(until));
  EXPECT_GE(clock.now(), until);
}

TEST(ServiceThread, WorksUntilItIsToldToEndAndIsWaitedFor) {
  WakeSignal asked, answered;
  std::atomic<int> served{0};
  {
    const auto thread = ServiceThread::start([&] {
                          while (served < 3) {
                            asked.wait_until(Instant::never());
                            ++served;
                            answered.notify();
                          }
                        }).value();
    for (int i = 0; i < 3; ++i) {
      asked.notify();
      answered.wait_until(Instant::never());
    }
  }
  EXPECT_EQ(served, 3);
}

}  // namespace
}  // namespace infer::os
