#include "api/delivery_bell.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "os/system_clock.h"

namespace infer::api {
namespace {

Instant at(int seconds) { return Instant::from_ns(int64_t{1'000'000'000} * seconds); }

TEST(DeliveryBell, APieceThatComesWhileItRestsIsFoundBeforeItSleeps) {
  DeliveryBell bell;
  bell.rest();
  EXPECT_TRUE(bell.listen(at(5), at(5)));
  bell.rest();
  bell.ring_for_piece(at(5));
  EXPECT_FALSE(bell.listen(at(5), at(5)));
  bell.rest();
  EXPECT_TRUE(bell.listen(at(5), at(5)));
  bell.rest();
  bell.ring_for_piece(at(4));
  EXPECT_TRUE(bell.listen(at(5), at(4)));  // It may wait.
}

TEST(DeliveryBell, APieceWakesWhoListensAndACallWakesWhoRests) {
  const os::SystemClock clock;
  DeliveryBell bell;
  const Instant now = clock.now();
  bell.rest();
  ASSERT_TRUE(bell.listen(now, now));
  bell.ring_for_piece(now);
  bell.wait_until(Instant::never());
  bell.rest();
  ASSERT_TRUE(bell.listen(now + Duration::from_seconds(1000), now));
  bell.ring_for_piece(now);
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
      if (seen < kPieces && bell.listen(at(0), at(0))) bell.wait_until(Instant::never());
    }
  });
  for (int i = 0; i < kPieces; ++i) {
    ++pieces;
    bell.ring_for_piece(at(0));
    if (i % 7 == 0) {
      while (seen <= i) std::this_thread::yield();
    }
  }
  listener.join();
  EXPECT_EQ(seen, kPieces);
}

}  // namespace
}  // namespace infer::api
