#include "kv/page_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <vector>

#include "kernels/panels.h"
#include "testing/attention_case.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"

namespace infer::kv {
namespace {

constexpr PageShape kShape{.kv_heads = 2, .head_dim = 16};

const kernels::KernelTable& kernel_table() { return *testing::machine_kernels()[0]; }

// A page whose tokens are all written, with random content.
PageId written_page(PagePool& pool, Rng& rng) {
  const PageId page = pool.take();
  const auto dims = static_cast<size_t>(pool.shape().head_dim);
  for (int head = 0; head < pool.shape().kv_heads; ++head) {
    for (int slot = 0; slot < kernels::kPageTokens; ++slot) {
      const std::vector<float> x = testing::random_floats(rng, dims, 1.0f);
      kernel_table().store_key(x.data(), pool.shape().head_dim, slot, pool.writable_part(page, head));
      kernel_table().store_value(x.data(), pool.shape().head_dim, slot, pool.writable_part(page, head));
    }
  }
  return page;
}

// To a level that stays in memory; without a spill store nothing waits.
void lower(PagePool& pool, PageId page, Level level) {
  if (pool.level(page) == Level::k16) pool.make_planes(page, kernel_table());
  while (pool.level(page) < level) pool.move(page, level, false, Instant());
}

TEST(PagePool, APageHoldsKeysAndValuesOf64TokensForAllHeads) {
  // Codes, and a scale for each token, of keys and of values.
  EXPECT_EQ(kShape.page_bytes(Level::k16), 2u * 2u * 64u * (16u * 2u + 4u));
  EXPECT_EQ(kShape.page_bytes_f16(), 2u * 2u * 16u * 64u * 2u);
  // A nibble for each element; scales of two bytes, and the mean key with its scale, in whole lines of 64.
  EXPECT_EQ(kShape.page_bytes(Level::k4), 2u * (64u * 16u + 2u * 64u * 2u + 64u));
  EXPECT_EQ(kShape.page_bytes(Level::k8), kShape.page_bytes(Level::k4) + 2u * 64u * 16u);
  EXPECT_EQ(pages_for_tokens(0), 0);
  EXPECT_EQ(pages_for_tokens(1), 1);
  EXPECT_EQ(pages_for_tokens(64), 1);
  EXPECT_EQ(pages_for_tokens(65), 2);
  EXPECT_EQ(cache_bytes(kShape, 3, 65), 3u * 2u * kShape.page_bytes(Level::k16));
  // In floats nothing but these; lower levels are the same.
  constexpr PageShape kFloats{.kv_heads = 2, .head_dim = 16, .floats = true};
  EXPECT_EQ(kFloats.page_bytes(Level::k16), 2u * 2u * 64u * 16u * 4u);
  EXPECT_EQ(kFloats.page_bytes(Level::k8), kShape.page_bytes(Level::k8));
  EXPECT_EQ(cache_bytes(kFloats, 3, 65), 3u * 2u * kFloats.page_bytes(Level::k16));
}

TEST(PagePool, LowerLevelsTakeTheBytesTheyPromise) {
  const PageShape shape{.kv_heads = 8, .head_dim = 64};
  EXPECT_LE(static_cast<double>(shape.page_bytes(Level::k8)), 0.53 * static_cast<double>(shape.page_bytes_f16()));
  EXPECT_LE(static_cast<double>(shape.page_bytes(Level::k4)), 0.28 * static_cast<double>(shape.page_bytes_f16()));
}

TEST(PagePool, HandsOutEachPageOnceAndThenNothing) {
  auto pool = *PagePool::make(kShape, 5);
  std::set<PageId> pages;
  std::set<const std::byte*> parts;
  for (int i = 0; i < 5; ++i) {
    const PageId page = pool->take();
    pages.insert(page);
    for (int head = 0; head < 2; ++head) parts.insert(pool->part(page, head).full);
  }
  EXPECT_EQ(pages.size(), 5u);
  EXPECT_EQ(parts.size(), 10u);
  EXPECT_EQ(pages.count(kNoPage), 0u);
  EXPECT_EQ(pool->take(), kNoPage);
  EXPECT_TRUE(pool->check_integrity());
  for (const PageId page : pages) pool->give_back(page);
  EXPECT_EQ(pool->free_pages(), 5);
  EXPECT_EQ(pool->bytes(), 0u);
  EXPECT_TRUE(pool->check_integrity());
}

TEST(PagePool, ASharedPageIsFreedByItsLastUser) {
  auto pool = *PagePool::make(kShape, 2);
  const PageId page = pool->take();
  pool->share(page);
  EXPECT_EQ(pool->users(page), 2);
  pool->give_back(page);
  EXPECT_EQ(pool->free_pages(), 1);
  pool->give_back(page);
  EXPECT_EQ(pool->free_pages(), 2);
}

TEST(PagePool, LoweringMakesThePlanesOfTheKernels) {
  Rng rng(1);
  auto pool = *PagePool::make(kShape, 3);
  const PageId page = written_page(*pool, rng);
  std::vector<std::vector<std::byte>> high, low;
  for (int head = 0; head < 2; ++head) {
    high.emplace_back(kernels::kv_high_bytes(16));
    low.emplace_back(kernels::kv_low_bytes(16));
    kernel_table().make_planes(pool->part(page, head).full, 16, high.back().data(), low.back().data());
  }
  lower(*pool, page, Level::k8);
  EXPECT_EQ(pool->bytes(), kShape.page_bytes(Level::k8));
  for (size_t head = 0; head < 2; ++head) {
    const kernels::AttentionPage part = pool->part(page, static_cast<int>(head));
    EXPECT_EQ(part.full, nullptr);
    EXPECT_EQ(std::memcmp(part.high, high[head].data(), kernels::kv_high_bytes(16) - 28), 0);  // But for the filling.
    EXPECT_EQ(std::memcmp(part.low, low[head].data(), kernels::kv_low_bytes(16)), 0);
  }
  lower(*pool, page, Level::k4);
  EXPECT_EQ(pool->bytes(), kShape.page_bytes(Level::k4));
  EXPECT_EQ(pool->part(page, 1).low, nullptr);
  EXPECT_EQ(std::memcmp(pool->part(page, 1).high, high[1].data(), kernels::kv_high_bytes(16) - 28), 0);
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

TEST(PagePool, StaysWholeUnderRandomUse) {
  testing::for_each_case(50, [](Rng& rng) {
    auto pool = *PagePool::make(kShape, 1 + static_cast<int>(rng.below(20)));
    std::vector<PageId> held;  // Once for each use.
    uint64_t bytes = 0;
    const auto recount = [&] {
      bytes = 0;
      const std::set<PageId> pages(held.begin(), held.end());
      for (const PageId page : pages) bytes += kShape.page_bytes(pool->level(page));
      return pages.size();
    };
    for (int i = 0; i < 200; ++i) {
      const size_t at = held.empty() ? 0 : rng.below(static_cast<uint32_t>(held.size()));
      const uint32_t choice = rng.below(4);
      if (choice == 0 && !held.empty()) {
        pool->give_back(held[at]);
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
      } else if (choice == 1 && !held.empty()) {
        pool->share(held[at]);
        held.push_back(held[at]);
      } else if (choice == 2 && !held.empty() && pool->level(held[at]) != Level::k4) {
        lower(*pool, held[at], rng.below(2) == 0 || pool->level(held[at]) == Level::k8 ? Level::k4 : Level::k8);
      } else if (pool->free_pages() > 0) {
        held.push_back(written_page(*pool, rng));
      }
      ASSERT_EQ(static_cast<size_t>(pool->taken_pages()), recount());
      ASSERT_EQ(pool->bytes(), bytes);
    }
    ASSERT_TRUE(pool->check_integrity());
  });
}

TEST(PagePoolDeathTest, GivingAPageBackTwiceIsABug) {
  auto pool = *PagePool::make(kShape, 2);
  const PageId page = pool->take();
  pool->give_back(page);
  EXPECT_DEATH(pool->give_back(page), "users");
}

}  // namespace
}  // namespace infer::kv
