#include "base/bounded_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace infer {
namespace {

TEST(BoundedQueue, GivesItemsInTheOrderInWhichTheyCame) {
  BoundedQueue<int> queue(3);
  EXPECT_TRUE(queue.try_push(1));
  EXPECT_TRUE(queue.try_push(2));
  std::vector<int> taken{0};
  queue.take_all(taken);
  EXPECT_EQ(taken, (std::vector<int>{0, 1, 2}));
  queue.take_all(taken);
  EXPECT_EQ(taken.size(), 3u);
}

TEST(BoundedQueue, LeavesTheItemWithTheCallerWhenItIsFull) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  EXPECT_TRUE(queue.try_push(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  EXPECT_FALSE(queue.try_push(std::move(second)));
  ASSERT_NE(second, nullptr);
  std::vector<std::unique_ptr<int>> taken;
  queue.take_all(taken);
  EXPECT_TRUE(queue.try_push(std::move(second)));
}

TEST(BoundedQueue, TakesNothingInOnceClosedButGivesWhatItHas) {
  BoundedQueue<int> queue(3);
  EXPECT_TRUE(queue.try_push(1));
  queue.close();
  EXPECT_FALSE(queue.try_push(2));
  std::vector<int> taken;
  queue.take_all(taken);
  EXPECT_EQ(taken, std::vector<int>{1});
}

TEST(BoundedQueue, LosesNothingBetweenThreads) {
  constexpr int kEach = 2000;
  BoundedQueue<int> queue(16);
  const auto produce = [&queue] {
    for (int i = 0; i < kEach;) i += queue.try_push(1) ? 1 : 0;
  };
  std::thread first(produce), second(produce);
  std::vector<int> taken;
  while (taken.size() < 2 * kEach) queue.take_all(taken);
  first.join();
  second.join();
  EXPECT_EQ(taken.size(), 2u * kEach);
}

}  // namespace
}  // namespace infer
