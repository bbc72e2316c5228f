#include "kv/sequence_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "kernels/panels.h"
#include "testing/attention_case.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"

namespace infer::kv {
namespace {

constexpr PageShape kShape{.kv_heads = 1, .head_dim = 16};
const std::vector<int> kTwoLayers(2, 0), kThreeLayers(3, 0);  // Without windows.
const LevelModel kLevels{
    .queries = {.kv_heads = 1, .group = 2, .head_dim = 16}, .floors = {}, .loss_to_divergence = std::nullopt};

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
  EXPECT_EQ(cache.kv_bytes(), 6 * kShape.page_bytes(Level::k16));
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
    if (pages[i] != kNoPage) indices.push_back(static_cast<int>(i));
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
  EXPECT_EQ(cache.kv_bytes(), 13 * kShape.page_bytes(Level::k16));
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
          ASSERT_NE(cache.pages(layer)[static_cast<size_t>(p)], kNoPage) << "layer " << layer << ", page " << p;
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
      std::set<PageId> pages;
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

// Writes all tokens behind length() with something of their own, and commits them.
void write(PagePool& pool, SequenceCache& cache, int tokens, Rng& rng) {
  ASSERT_TRUE(cache.reserve(tokens).has_value());
  const auto& table = *testing::machine_kernels()[0];
  const auto dims = static_cast<size_t>(pool.shape().head_dim);
  for (int position = cache.length(); position < cache.length() + tokens; ++position) {
    const std::vector<float> x = testing::random_floats(rng, dims, 1.0f);
    for (int layer = 0; layer < cache.layers(); ++layer) {
      std::byte* const page = cache.writable_part(layer, position / kernels::kPageTokens, 0);
      table.store_key(x.data(), pool.shape().head_dim, position % kernels::kPageTokens, page);
      table.store_value(x.data(), pool.shape().head_dim, position % kernels::kPageTokens, page);
    }
  }
  cache.commit(tokens);
}

// The content of a page at 16 bits.
std::vector<std::byte> content(const SequenceCache& cache, int layer, int index) {
  const std::byte* full = cache.part(layer, index, 0).full;
  return {full, full + kernels::kv_page_bytes(kShape.head_dim)};
}

TEST(SequenceCache, AForkReadsTheSamePagesAndWritesIntoItsOwn) {
  Rng rng(3);
  auto pool = *PagePool::make(kShape, 30);
  SequenceCache first(*pool, kTwoLayers, 400);
  write(*pool, first, 150, rng);  // Two full pages and a part.
  {
    SequenceCache second = first.fork();
    EXPECT_EQ(second.length(), 150);
    EXPECT_EQ(pool->taken_pages(), 6);
    EXPECT_EQ(second.pages(1)[0], first.pages(1)[0]);
    const std::vector<std::byte> before = content(first, 1, 2);
    write(*pool, second, 10, rng);
    EXPECT_EQ(pool->taken_pages(), 8) << "The page that both would write into is there twice.";
    EXPECT_NE(second.pages(1)[2], first.pages(1)[2]);
    EXPECT_EQ(content(first, 1, 2), before);
    EXPECT_NE(content(second, 1, 2), before);
    write(*pool, first, 1, rng);
    EXPECT_EQ(pool->taken_pages(), 8);
  }
  EXPECT_EQ(pool->taken_pages(), 6);
  EXPECT_TRUE(pool->check_integrity());
}

TEST(SequenceCache, APolicyLowersWhatLeftTheWindowAndIsNoSink) {
  Rng rng(4);
  for (const auto& [mode, level] : {std::pair{KvMode::kQ8, Level::k8}, std::pair{KvMode::kQ4, Level::k4}}) {
    auto pool = *PagePool::make(kShape, 30);
    SequenceCache cache(*pool, kTwoLayers, 600, &kLevels);
    cache.set_policy({.mode = mode, .recent_window = 100, .sink_tokens = 4});
    write(*pool, cache, 512, rng);
    EXPECT_EQ(cache.kv_bytes(), 16 * kShape.page_bytes(Level::k16)) << "Nothing happens but by apply_policy.";
    cache.apply_policy(*testing::machine_kernels()[0], Instant());
    for (int layer = 0; layer < 2; ++layer) {
      EXPECT_EQ(cache.level(layer, 0), Level::k16) << "sinks";
      for (int index = 1; index < 6; ++index) EXPECT_EQ(cache.level(layer, index), level) << index;
      EXPECT_EQ(cache.level(layer, 6), Level::k16) << "Its last tokens are among the last 100.";
      EXPECT_EQ(cache.level(layer, 7), Level::k16);
    }
    EXPECT_EQ(cache.kv_bytes(), 6 * kShape.page_bytes(Level::k16) + 10 * kShape.page_bytes(level));
    EXPECT_EQ(pool->bytes(), cache.kv_bytes());
    EXPECT_EQ(cache.kv_bytes_f16(), 16 * kShape.page_bytes_f16());
  }
}

TEST(SequenceCache, TruncatingIntoALoweredPageForgetsThatPage) {
  Rng rng(5);
  auto pool = *PagePool::make(kShape, 30);
  SequenceCache cache(*pool, kTwoLayers, 600, &kLevels);
  cache.set_policy({.mode = KvMode::kQ8, .recent_window = 64, .sink_tokens = 0});
  write(*pool, cache, 300, rng);
  cache.apply_policy(*testing::machine_kernels()[0], Instant());
  EXPECT_EQ(cache.truncate(280), 280) << "The last page was never lowered.";
  EXPECT_EQ(cache.truncate(140), 128);
  EXPECT_EQ(cache.pages(0).size(), 2u);
  write(*pool, cache, 20, rng);
  EXPECT_EQ(cache.length(), 148);
  EXPECT_TRUE(pool->check_integrity());
}

TEST(SequenceCache, TheMarkIsNeverLost) {
  Rng rng(6);
  auto pool = *PagePool::make(kShape, 30);
  SequenceCache cache(*pool, kTwoLayers, 600, &kLevels);
  cache.set_policy({.mode = KvMode::kQ4, .recent_window = 0, .sink_tokens = 0});
  write(*pool, cache, 140, rng);
  cache.set_mark();
  write(*pool, cache, 300, rng);
  cache.apply_policy(*testing::machine_kernels()[0], Instant());
  EXPECT_EQ(cache.level(0, 1), Level::k4);
  EXPECT_EQ(cache.level(0, 2), Level::k16) << "The mark is inside.";
  EXPECT_EQ(cache.level(0, 3), Level::k4);
  EXPECT_EQ(cache.truncate(140), 140);
}

TEST(SequenceCache, LayersWithAWindowAreNotLowered) {
  Rng rng(7);
  auto pool = *PagePool::make(kShape, 40);
  const int windows[] = {0, 200};
  SequenceCache cache(*pool, windows, 600, &kLevels);
  cache.set_policy({.mode = KvMode::kQ4, .recent_window = 0, .sink_tokens = 0});
  for (int i = 0; i < 8; ++i) write(*pool, cache, 60, rng);
  cache.apply_policy(*testing::machine_kernels()[0], Instant());
  EXPECT_EQ(cache.level(0, 6), Level::k4);
  EXPECT_EQ(cache.level(1, 6), Level::k16);
}

}  // namespace
}  // namespace infer::kv
