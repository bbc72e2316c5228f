#include "os/disk_thread.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "os/system_clock.h"
#include "testing/property.h"
#include "testing/test_clock.h"

namespace infer::os {
namespace {

using Urgency = DiskThread::Urgency;

// Work stands still while it is closed.
class Gate {
 public:
  void close() { set(false); }
  void open() { set(true); }
  void pass() {
    std::unique_lock lock(mutex_);
    ++reached_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void wait_until_reached(int times) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return reached_ >= times; });
  }

 private:
  void set(bool open) {
    const std::lock_guard lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int reached_ = 0;
};

std::vector<uint32_t> take(DiskThread& thread, size_t count) {
  const SystemClock clock;
  const CallContext call{clock, Deadline::never(), {}};
  std::vector<uint32_t> numbers;
  while (numbers.size() < count) {
    EXPECT_TRUE(thread.wait_for_done(call).has_value());
    while (const auto number = thread.take_done()) numbers.push_back(*number);
  }
  return numbers;
}

TEST(DiskThread, WhatIsHandedOverComesBackDone) {
  // Plain memory: what the thread wrote must be visible to the owner, and the other way round.
  std::vector<int> table(64);
  const auto thread = DiskThread::start(64, 5, [&](std::span<const uint32_t> numbers) {
                        EXPECT_LE(numbers.size(), 5u);
                        for (const uint32_t number : numbers) table[number] *= 2;
                      }).value();
  testing::for_each_case(200, [&](Rng& rng) {
    const size_t count = 1 + rng.below(64);
    for (uint32_t i = 0; i < count; ++i) {
      table[i] = static_cast<int>(i) + 1;
      thread->submit(i, rng.below(2) == 0 ? Urgency::kUrgent : Urgency::kLater);
    }
    std::vector<uint32_t> done = take(*thread, count);
    std::sort(done.begin(), done.end());
    for (uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(done[i], i);
      ASSERT_EQ(table[i], 2 * static_cast<int>(i) + 2);
    }
    ASSERT_FALSE(thread->take_done().has_value());
  });
}

TEST(DiskThread, UrgentNumbersComeFirstButNotForever) {
  Gate gate;
  std::vector<uint32_t> order;
  const auto thread = DiskThread::start(64, 1, [&](std::span<const uint32_t> numbers) {
                        gate.pass();
                        order.push_back(numbers[0]);
                      }).value();
  gate.close();
  thread->submit(63, Urgency::kLater);
  gate.wait_until_reached(1);
  for (uint32_t i = 0; i < 3; ++i) thread->submit(40 + i, Urgency::kLater);
  for (uint32_t i = 0; i < 20; ++i) thread->submit(i, Urgency::kUrgent);
  gate.open();
  (void)take(*thread, 24);
  EXPECT_EQ(order[0], 63u);
  EXPECT_EQ(order[1], 0u);
  for (size_t i = 0, expected = 0; i < order.size(); ++i) {
    if (order[i] >= 20) continue;
    EXPECT_EQ(order[i], expected++) << "in order of submission";
  }
  const auto first_later = std::find(order.begin() + 1, order.end(), 40u) - order.begin();
  EXPECT_GT(first_later, 4);
  EXPECT_LT(first_later, 20) << "urgent numbers that keep coming must not stop the others";
}

TEST(DiskThread, WaitingStopsAtTheDeadlineAndOnCancellation) {
  Gate gate;
  gate.close();
  const auto thread = DiskThread::start(4, 4, [&](std::span<const uint32_t>) { gate.pass(); }).value();
  thread->submit(1, Urgency::kUrgent);
  const testing::TestClock clock(Duration::from_ms(1));
  const Status late = thread->wait_for_done({clock, Deadline::at(clock.now() + Duration::from_ms(10)), {}});
  EXPECT_EQ(late.error().code, ErrorCode::kDeadline);
  CancelSource cancel;
  cancel.cancel(CancelReason::kUser);
  const Status cancelled = thread->wait_for_done({clock, Deadline::never(), cancel.token()});
  EXPECT_EQ(cancelled.error().code, ErrorCode::kCancelled);
  EXPECT_FALSE(thread->take_done().has_value());
  gate.open();
  EXPECT_EQ(take(*thread, 1), std::vector<uint32_t>{1});
}

TEST(DiskThread, DestroyingItEndsWithNumbersUnderWay) {
  std::vector<int> begun(64);
  for (int round = 0; round < 100; ++round) {
    std::fill(begun.begin(), begun.end(), 0);
    auto thread = DiskThread::start(64, 2, [&](std::span<const uint32_t> numbers) {
                    for (const uint32_t number : numbers) ++begun[number];
                  }).value();
    for (uint32_t i = 0; i < 64; ++i) thread->submit(i, i % 3 == 0 ? Urgency::kUrgent : Urgency::kLater);
    thread.reset();
    EXPECT_LE(*std::max_element(begun.begin(), begun.end()), 1) << "each at most once";
  }
}

TEST(DiskThread, AnIdleOneEndsAtOnce) {
  const auto thread = DiskThread::start(4, 4, [](std::span<const uint32_t>) {});
  ASSERT_TRUE(thread.has_value());
}

}  // namespace
}  // namespace infer::os
