#include "os/baton.h"

#include <gtest/gtest.h>

#include <thread>

namespace infer::os {
namespace {

TEST(Baton, WhoMustNotWaitDoesWithout) {
  Baton baton;
  int done = 0;
  EXPECT_TRUE(baton.try_hold([&] { ++done; }));
  baton.hold([&] {
    bool had_it = true;
    std::thread other([&] { had_it = baton.try_hold([&] { ++done; }); });
    other.join();
    EXPECT_FALSE(had_it);
  });
  EXPECT_TRUE(baton.try_hold([&] { ++done; }));
  EXPECT_EQ(done, 2);
}

TEST(Baton, OneAtATimeHasIt) {
  Baton baton;
  constexpr int kTimes = 2000;
  int count = 0;  // Plain: what the baton guards.
  const auto work = [&] {
    for (int i = 0; i < kTimes; ++i) baton.hold([&] { ++count; });
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(count, 2 * kTimes);
}

}  // namespace
}  // namespace infer::os
