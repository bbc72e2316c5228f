#include "base/published.h"

#include <gtest/gtest.h>

#include <thread>

namespace infer {
namespace {

struct Values {
  uint64_t first = 0;
  int32_t middle = 0;
  uint64_t last = 0;
};

TEST(Published, GivesTheValueStoredLast) {
  Published<Values> published({1, 2, 3});
  EXPECT_EQ(published.load().middle, 2);
  published.store({4, 5, 6});
  EXPECT_EQ(published.load().first, 4u);
  EXPECT_EQ(published.load().last, 6u);
}

TEST(Published, AReaderNeverSeesHalfOfAnUpdate) {
  Published<Values> published;
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (uint64_t i = 1; i <= 20000; ++i) published.store({i, static_cast<int32_t>(i), i});
    done = true;
  });
  uint64_t torn = 0;
  while (!done) {
    const Values seen = published.load();
    torn += seen.first != seen.last || seen.first != static_cast<uint64_t>(seen.middle) ? 1 : 0;
  }
  writer.join();
  EXPECT_EQ(torn, 0u);
  EXPECT_EQ(published.load().first, 20000u);
}

}  // namespace
}  // namespace infer
