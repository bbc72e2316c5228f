#include "os/service_thread.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <future>
#include <thread>

namespace infer::os {
namespace {

TEST(ServiceThread, RunsItsBodyOnAThreadOfItsOwnAndIsWaitedFor) {
  std::promise<std::thread::id> ran_on;
  std::promise<void> may_end;
  std::atomic<bool> ended{false};
  auto thread = ServiceThread::start([&] {
    ran_on.set_value(std::this_thread::get_id());
    may_end.get_future().wait();
    ended = true;
  });
  ASSERT_TRUE(thread.has_value());
  EXPECT_TRUE(ran_on.get_future().get() != std::this_thread::get_id());
  EXPECT_FALSE(ended);
  may_end.set_value();
  thread->reset();
  EXPECT_TRUE(ended);
}

TEST(ServiceThread, ShortTurnsAreAskedForBeforeItsBodyRuns) {
  std::promise<int> nice;
  auto thread = ServiceThread::start([&] { nice.set_value(::getpriority(PRIO_PROCESS, 0)); }, Turns::kShort);
  ASSERT_TRUE(thread.has_value());
  EXPECT_EQ(nice.get_future().get(), ::getpriority(PRIO_PROCESS, 0));  // Its share stays the same.
}

}  // namespace
}  // namespace infer::os
