#include "api/delivery_bell.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/time.h"

namespace infer::api {
namespace {

TEST(DeliveryBell, APieceThatComesWhileItRestsIsFoundBeforeItSleeps) {
  DeliveryBell bell;
  bell.rest();
  EXPECT_TRUE(bell.listen());
  bell.rest();
  bell.ring_for_piece();
  EXPECT_FALSE(bell.listen());
  bell.rest();
  EXPECT_TRUE(bell.listen());
}

TEST(DeliveryBell, APieceWakesWhoListensAndACallWakesWhoRests) {
  DeliveryBell bell;
  bell.rest();
  ASSERT_TRUE(bell.listen());
  bell.ring_for_piece();
  bell.wait_until(Instant::never());
  bell.rest();
  bell.ring();
  bell.wait_until(Instant::never());
}

// Each piece is seen, or the thread that waits for it would sleep for ever.
TEST(DeliveryBell, NoPieceIsSleptThrough) {
  constexpr int kPieces = 20'000;
  DeliveryBell bell;
  std::atomic<int> pieces{0}, seen{0};
  std::thread listener([&] {
    while (seen < kPieces) {
      bell.rest();
      seen = pieces.load();
      if (seen < kPieces && bell.listen()) bell.wait_until(Instant::never());
    }
  });
  for (int i = 0; i < kPieces; ++i) {
    ++pieces;
    bell.ring_for_piece();
    if (i % 7 == 0) {
      while (seen <= i) std::this_thread::yield();
    }
  }
  listener.join();
  EXPECT_EQ(seen, kPieces);
}

}  // namespace
}  // namespace infer::api
