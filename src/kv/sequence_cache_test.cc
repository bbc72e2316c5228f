#include "kv/sequence_cache.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "testing/property.h"

namespace infer::kv {
namespace {

constexpr PageShape kShape{.kv_heads = 1, .head_dim = 16};

TEST(SequenceCache, TakesPagesOnlyWhenTokensNeedThem) {
  auto pool = *PagePool::make(kShape, 12);
  SequenceCache cache(*pool, 3, 200);
  EXPECT_EQ(pool->taken_pages(), 0);
  ASSERT_TRUE(cache.reserve(64).has_value());
  EXPECT_EQ(pool->taken_pages(), 3);
  EXPECT_EQ(cache.length(), 0);
  cache.commit(64);
  ASSERT_TRUE(cache.reserve(1).has_value());
  EXPECT_EQ(pool->taken_pages(), 6);
  cache.commit(1);
  EXPECT_EQ(cache.length(), 65);
  EXPECT_EQ(cache.kv_bytes(), 6 * kShape.page_bytes());
  EXPECT_EQ(cache.kv_bytes_f16(), 6 * kShape.page_bytes_f16());
  EXPECT_EQ(cache.pages(0).size(), 2u);
}

TEST(SequenceCache, ReservedRoomEndsWithTheContext) {
  auto pool = *PagePool::make(kShape, 12);
  SequenceCache cache(*pool, 3, 200);
  ASSERT_TRUE(cache.reserve(200).has_value());
  EXPECT_EQ(cache.reserved(), 200);
  const Status more = cache.reserve(201);
  ASSERT_FALSE(more.has_value());
  EXPECT_EQ(more.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(more.error().message.find("201 more do not fit into its 200"), std::string::npos) << more.error().message;
}

TEST(SequenceCache, APoolThatIsUsedUpChangesNothing) {
  auto pool = *PagePool::make(kShape, 5);
  SequenceCache cache(*pool, 3, 200);
  ASSERT_TRUE(cache.reserve(10).has_value());
  cache.commit(10);
  const Status more = cache.reserve(100);
  ASSERT_FALSE(more.has_value());
  EXPECT_EQ(more.error().code, ErrorCode::kExhausted);
  EXPECT_NE(more.error().message.find("3 more pages"), std::string::npos) << more.error().message;
  EXPECT_EQ(pool->taken_pages(), 3);
  EXPECT_EQ(cache.length(), 10);
  EXPECT_TRUE(cache.reserve(54).has_value());
}

TEST(SequenceCache, TruncateGivesBackWholePagesOnly) {
  auto pool = *PagePool::make(kShape, 12);
  SequenceCache cache(*pool, 2, 300);
  ASSERT_TRUE(cache.reserve(300).has_value());
  cache.commit(300);
  cache.truncate(129);
  EXPECT_EQ(cache.pages(1).size(), 3u);
  cache.truncate(128);
  EXPECT_EQ(cache.pages(1).size(), 2u);
  cache.truncate(0);
  EXPECT_EQ(pool->taken_pages(), 0);
}

TEST(SequenceCache, MovingTakesThePagesAlong) {
  auto pool = *PagePool::make(kShape, 12);
  {
    SequenceCache first(*pool, 2, 300);
    ASSERT_TRUE(first.reserve(100).has_value());
    first.commit(100);
    SequenceCache second(std::move(first));
    EXPECT_EQ(second.length(), 100);
    SequenceCache third(*pool, 2, 300);
    ASSERT_TRUE(third.reserve(1).has_value());
    third = std::move(second);
    EXPECT_EQ(third.length(), 100);
    EXPECT_EQ(third.pages(0).size(), 2u);
  }
  EXPECT_EQ(pool->taken_pages(), 0);
  EXPECT_TRUE(pool->check_integrity());
}

TEST(SequenceCache, SequencesNeverShareAPage) {
  testing::for_each_case(50, [](Rng& rng) {
    const int layers = 1 + static_cast<int>(rng.below(3));
    auto pool = *PagePool::make(kShape, 1 + static_cast<int>(rng.below(30)));
    std::vector<SequenceCache> caches;
    for (int i = 0; i < 3; ++i) caches.emplace_back(*pool, layers, 1 + static_cast<int>(rng.below(400)));
    for (int i = 0; i < 100; ++i) {
      SequenceCache& cache = caches[rng.below(3)];
      const int before = cache.length();
      if (rng.below(4) == 0) {
        cache.truncate(static_cast<int>(rng.below(static_cast<uint32_t>(before) + 1)));
      } else {
        const int tokens = static_cast<int>(rng.below(150));
        if (cache.reserve(tokens)) {
          cache.commit(tokens);
        } else {
          ASSERT_EQ(cache.length(), before);
        }
      }
      std::set<const std::byte*> pages;
      size_t held = 0;
      for (const SequenceCache& each : caches) {
        for (int layer = 0; layer < layers; ++layer) {
          ASSERT_GE(static_cast<int>(each.pages(layer).size()), pages_for_tokens(each.length()));
          pages.insert(each.pages(layer).begin(), each.pages(layer).end());
          held += each.pages(layer).size();
        }
      }
      ASSERT_EQ(pages.size(), held);
      ASSERT_EQ(static_cast<int>(held), pool->taken_pages());
    }
    ASSERT_TRUE(pool->check_integrity());
  });
}

}  // namespace
}  // namespace infer::kv
