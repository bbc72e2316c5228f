#include "kv/page_pool.h"

#include <gtest/gtest.h>

#include <set>

#include "testing/property.h"

namespace infer::kv {
namespace {

constexpr PageShape kShape{.kv_heads = 2, .head_dim = 16};

TEST(PagePool, APageHoldsKeysAndValuesOf64TokensForAllHeads) {
  EXPECT_EQ(kShape.page_bytes(), 2u * 2u * 64u * (16u * 2u + 4u));  // Codes, and a scale for each token.
  EXPECT_EQ(kShape.page_bytes_f16(), 2u * 2u * 16u * 64u * 2u);
  EXPECT_EQ(pages_for_tokens(0), 0);
  EXPECT_EQ(pages_for_tokens(1), 1);
  EXPECT_EQ(pages_for_tokens(64), 1);
  EXPECT_EQ(pages_for_tokens(65), 2);
  EXPECT_EQ(cache_bytes(kShape, 3, 65), 3u * 2u * kShape.page_bytes());
}

TEST(PagePool, HandsOutEachPageOnceAndThenNothing) {
  auto pool = *PagePool::make(kShape, 5);
  std::set<std::byte*> pages;
  for (int i = 0; i < 5; ++i) pages.insert(pool->take());
  EXPECT_EQ(pages.size(), 5u);
  EXPECT_EQ(pages.count(nullptr), 0u);
  EXPECT_EQ(pool->take(), nullptr);
  EXPECT_TRUE(pool->check_integrity());
  for (std::byte* page : pages) pool->give_back(page);
  EXPECT_EQ(pool->free_pages(), 5);
  EXPECT_TRUE(pool->check_integrity());
}

TEST(PagePool, RefusesShapesThatTheKernelsDoNotServe) {
  for (const PageShape shape : {PageShape{0, 64}, PageShape{2, 0}, PageShape{2, 24}, PageShape{2, 272},
                                PageShape{1 << 20, 64}, PageShape{-1, 64}}) {
    const auto pool = PagePool::make(shape, 4);
    ASSERT_FALSE(pool.has_value());
    EXPECT_EQ(pool.error().code, ErrorCode::kInvalidArgument);
  }
  EXPECT_FALSE(PagePool::make(kShape, 0).has_value());
}

TEST(PagePool, SaysHowManyPagesTheSystemRefused) {
  const auto pool = PagePool::make({.kv_heads = 1 << 16, .head_dim = 256}, 1 << 30);
  ASSERT_FALSE(pool.has_value());
  EXPECT_EQ(pool.error().code, ErrorCode::kExhausted);
  EXPECT_NE(pool.error().message.find("1073741824 KV pages"), std::string::npos) << pool.error().message;
}

TEST(PagePool, StaysWholeUnderRandomTakingAndGiving) {
  testing::for_each_case(50, [](Rng& rng) {
    auto pool = *PagePool::make(kShape, 1 + static_cast<int>(rng.below(20)));
    std::vector<std::byte*> held;
    for (int i = 0; i < 200; ++i) {
      if (rng.below(2) == 0 && !held.empty()) {
        const size_t at = rng.below(static_cast<uint32_t>(held.size()));
        for (size_t j = 0; j < kShape.page_bytes(); j += 97) {  // Nobody else wrote into it.
          ASSERT_EQ(held[at][j], static_cast<std::byte>(reinterpret_cast<uintptr_t>(held[at]) >> 11));
        }
        pool->give_back(held[at]);
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
      } else if (std::byte* page = pool->take()) {
        std::fill_n(page, kShape.page_bytes(), static_cast<std::byte>(reinterpret_cast<uintptr_t>(page) >> 11));
        held.push_back(page);
      } else {
        ASSERT_EQ(static_cast<int>(held.size()), pool->pages_max());
      }
      ASSERT_EQ(pool->taken_pages(), static_cast<int>(held.size()));
    }
    ASSERT_TRUE(pool->check_integrity());
  });
}

TEST(PagePoolDeathTest, GivingAPageBackTwiceIsABug) {
  auto pool = *PagePool::make(kShape, 2);
  std::byte* page = pool->take();
  pool->give_back(page);
  EXPECT_DEATH(pool->give_back(page), "taken_");
}

}  // namespace
}  // namespace infer::kv
