#include "kv/sequence_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "testing/property.h"

namespace infer::kv {
namespace {

constexpr PageShape kShape{.kv_heads = 1, .head_dim = 16};
const std::vector<int> kTwoLayers(2, 0), kThreeLayers(3, 0);  // Without windows.

TEST(SequenceCache, TakesPagesOnlyWhenTokensNeedThem) {
  auto pool = *PagePool::make(kShape, 12);
  SequenceCache cache(*pool, kThreeLayers, 200);
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
  SequenceCache cache(*pool, kThreeLayers, 200);
  ASSERT_TRUE(cache.reserve(200).has_value());
  EXPECT_EQ(cache.reserved(), 200);
  const Status more = cache.reserve(201);
  ASSERT_FALSE(more.has_value());
  EXPECT_EQ(more.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(more.error().message.find("201 more do not fit into its 200"), std::string::npos) << more.error().message;
}

TEST(SequenceCache, APoolThatIsUsedUpChangesNothing) {
  auto pool = *PagePool::make(kShape, 5);
  SequenceCache cache(*pool, kThreeLayers, 200);
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
  SequenceCache cache(*pool, kTwoLayers, 300);
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
    SequenceCache first(*pool, kTwoLayers, 300);
    ASSERT_TRUE(first.reserve(100).has_value());
    first.commit(100);
    SequenceCache second(std::move(first));
    EXPECT_EQ(second.length(), 100);
    SequenceCache third(*pool, kTwoLayers, 300);
    ASSERT_TRUE(third.reserve(1).has_value());
    third = std::move(second);
    EXPECT_EQ(third.length(), 100);
    EXPECT_EQ(third.pages(0).size(), 2u);
  }
  EXPECT_EQ(pool->taken_pages(), 0);
  EXPECT_TRUE(pool->check_integrity());
}

void append(SequenceCache& cache, int tokens) {
  ASSERT_TRUE(cache.reserve(tokens).has_value());
  cache.commit(tokens);
}

std::vector<int> held(const SequenceCache& cache, int layer) {
  std::vector<int> indices;
  const auto pages = cache.pages(layer);
  for (size_t i = 0; i < pages.size(); ++i) {
    if (pages[i] != nullptr) indices.push_back(static_cast<int>(i));
  }
  return indices;
}

TEST(SequenceCache, ALayerWithAWindowGivesBackThePagesThatItHasPassed) {
  auto pool = *PagePool::make(kShape, 40);
  const int windows[] = {0, 100};
  SequenceCache cache(*pool, windows, 1000);
  for (int i = 0; i < 64; ++i) append(cache, 10);  // 640 tokens; one 64 before sees from 640 - 64 + 1 - 100 = 477 on.
  EXPECT_EQ(held(cache, 0).size(), 10u);
  EXPECT_EQ(held(cache, 1), (std::vector<int>{7, 8, 9}));
  EXPECT_EQ(pool->taken_pages(), 13);
  EXPECT_EQ(cache.kv_bytes(), 13 * kShape.page_bytes());
  EXPECT_TRUE(cache.can_truncate(640 - kRewindTokens));
  EXPECT_FALSE(cache.can_truncate(400));
  EXPECT_TRUE(cache.can_truncate(0));
  cache.truncate(600);
  append(cache, 40);
  EXPECT_EQ(held(cache, 1), (std::vector<int>{7, 8, 9}));
  cache.truncate(0);
  EXPECT_EQ(pool->taken_pages(), 0);
  append(cache, 70);
  EXPECT_EQ(held(cache, 1), (std::vector<int>{0, 1}));
}

TEST(SequenceCache, TheMarkKeepsWhatATokenBehindItSees) {
  auto pool = *PagePool::make(kShape, 60);
  const int windows[] = {70};
  SequenceCache cache(*pool, windows, 2000);
  append(cache, 300);
  cache.set_mark();  // The token at 300 sees from 231 on.
  append(cache, 700);
  EXPECT_EQ(held(cache, 0), (std::vector<int>{3, 4, 13, 14, 15}));
  ASSERT_TRUE(cache.can_truncate(300));
  cache.truncate(300);
  EXPECT_EQ(held(cache, 0), (std::vector<int>{3, 4}));
  append(cache, 700);
  cache.set_mark();  // The mark before counts no more.
  append(cache, 64);
  EXPECT_EQ(held(cache, 0), (std::vector<int>{14, 15, 16}));
  EXPECT_FALSE(cache.can_truncate(300));
}

TEST(SequenceCache, WindowsNeverHoldMorePagesThanTold) {
  testing::for_each_case(100, [](Rng& rng) {
    const int context = 100 + static_cast<int>(rng.below(3000)), step = 1 + static_cast<int>(rng.below(300));
    const int windows[] = {1 + static_cast<int>(rng.below(500)), 0, 1 + static_cast<int>(rng.below(40))};
    int pages = 0;
    for (const int window : windows) pages += layer_pages_max(window, context, step);
    auto pool = *PagePool::make(kShape, pages);
    SequenceCache cache(*pool, windows, context);
    int mark = 0, rewound_to = 0;  // Can be truncated to these.
    for (int i = 0; i < 200; ++i) {
      const uint32_t choice = rng.below(20);
      if (choice == 0) {
        cache.set_mark();
        mark = cache.length();
      } else if (choice == 1) {
        const int back = static_cast<int>(rng.below(static_cast<uint32_t>(cache.length() - rewound_to) + 1));
        const int length = rng.below(2) == 0 ? mark : cache.length() - back;
        ASSERT_TRUE(cache.can_truncate(length));
        cache.truncate(length);
        mark = std::min(mark, length);
        rewound_to = std::min(rewound_to, length);
      } else {
        const int room = context - cache.length();
        const int tokens = std::min(room, static_cast<int>(rng.below(static_cast<uint32_t>(step) + 1)));
        ASSERT_TRUE(cache.reserve(tokens).has_value());
        cache.commit(tokens);
        rewound_to = std::max(rewound_to, cache.length() - kRewindTokens);
      }
      for (int layer = 0; layer < 3; ++layer) {  // What the next token sees is there.
        const int window = windows[layer];
        const int first = window == 0 ? 0 : std::max(0, cache.length() + 1 - window) / 64;
        for (int p = first; p < pages_for_tokens(cache.length()); ++p) {
          ASSERT_NE(cache.pages(layer)[static_cast<size_t>(p)], nullptr) << "layer " << layer << ", page " << p;
        }
      }
    }
    cache.truncate(0);
    ASSERT_EQ(pool->taken_pages(), 0);
    ASSERT_TRUE(pool->check_integrity());
  });
}

TEST(SequenceCache, SequencesNeverShareAPage) {
  testing::for_each_case(50, [](Rng& rng) {
    const int layers = 1 + static_cast<int>(rng.below(3));
    auto pool = *PagePool::make(kShape, 1 + static_cast<int>(rng.below(30)));
    std::vector<SequenceCache> caches;
    for (int i = 0; i < 3; ++i)
      caches.emplace_back(*pool, std::vector<int>(static_cast<size_t>(layers), 0),
                          1 + static_cast<int>(rng.below(400)));
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
