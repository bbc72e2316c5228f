#include "kv/prefix_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "testing/machine_kernels.h"
#include "testing/property.h"

namespace infer::kv {
namespace {

constexpr PageShape kShape{.kv_heads = 1, .head_dim = 16};
const std::vector<int> kTwoLayers(2, 0);

std::vector<TokenId> numbers(int count, TokenId first = 0) {
  std::vector<TokenId> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// Room for `pages` pages and an index over them; sequences of at most 640 tokens.
struct Indexed {
  explicit Indexed(int pages, std::vector<int> layer_windows = kTwoLayers)
      : windows(std::move(layer_windows)),
        pool(*PagePool::make(kShape, pages)),
        index(*pool, static_cast<int>(windows.size()), 7) {}

  SequenceCache sequence() { return {*pool, windows, 640}; }
  // A sequence that computed the tokens in steps of `step`, registered after each.
  SequenceCache compute(std::span<const TokenId> tokens, int step = 640) {
    SequenceCache cache = sequence();
    PrefixCursor cursor;
    index.adopt(tokens, cache, cursor);
    while (cache.length() < static_cast<int>(tokens.size())) {
      const int count = std::min(step, static_cast<int>(tokens.size()) - cache.length());
      EXPECT_TRUE(cache.reserve(count).has_value());
      cache.commit(count);
      index.keep(tokens, cache, cursor);
    }
    return cache;
  }

  std::vector<int> windows;
  std::unique_ptr<PagePool> pool;
  PrefixIndex index;
};

TEST(PrefixIndex, GivesTheSamePagesToATextThatBeginsAlike) {
  Indexed indexed(40);
  const std::vector<TokenId> text = numbers(200);
  const SequenceCache first = indexed.compute(text);
  std::vector<TokenId> other = numbers(150);
  other.push_back(-1);
  SequenceCache second = indexed.sequence();
  PrefixCursor cursor;
  EXPECT_EQ(indexed.index.find(other, second).pages, 2);
  EXPECT_EQ(indexed.index.find(other, second).in_use, 4);  // Of both layers.
  EXPECT_EQ(indexed.index.adopt(other, second, cursor), 2);
  EXPECT_EQ(second.length(), 128);
  for (int layer = 0; layer < 2; ++layer) {
    EXPECT_EQ(second.pages(layer)[1], first.pages(layer)[1]);
    EXPECT_EQ(indexed.pool->users(second.pages(layer)[1]), 3);  // Two sequences and the index.
  }
  EXPECT_TRUE(indexed.index.check_integrity());
}

TEST(PrefixIndex, KnowsOnlyWholePagesOfTheSameTokens) {
  Indexed indexed(40);
  const std::vector<TokenId> text = numbers(128);
  indexed.compute(text);
  const SequenceCache empty = indexed.sequence();
  EXPECT_EQ(indexed.index.find(numbers(127), empty).pages, 1);
  EXPECT_EQ(indexed.index.find(numbers(128), empty).pages, 2);
  EXPECT_EQ(indexed.index.find(numbers(128, 1), empty).pages, 0);
  std::vector<TokenId> changed = text;
  changed[3] = 99;  // The second page has the same tokens, behind others.
  EXPECT_EQ(indexed.index.find(changed, empty).pages, 0);
}

TEST(PrefixIndex, KeepsPagesThatNobodyUsesUntilTheyAreNeeded) {
  Indexed indexed(40);
  indexed.compute(numbers(128));
  EXPECT_EQ(indexed.pool->taken_pages(), 4);
  EXPECT_EQ(indexed.index.evictable_pages(), 4);
  EXPECT_EQ(indexed.index.evict(1), 2);  // A page of each layer goes at a time, the end of the text first.
  EXPECT_EQ(indexed.index.find(numbers(128), indexed.sequence()).pages, 1);
  EXPECT_EQ(indexed.index.evict(100), 2);
  EXPECT_EQ(indexed.pool->taken_pages(), 0);
  EXPECT_EQ(indexed.index.nodes(), 0);
}

TEST(PrefixIndex, EvictsTheLeastRecentlyUsedAndSparesWhatIsInUse) {
  Indexed indexed(40);
  indexed.compute(numbers(64, 1000));
  const SequenceCache used = indexed.compute(numbers(64, 2000));
  indexed.compute(numbers(64, 3000));
  indexed.compute(numbers(64, 1000));  // Again: now the third is the oldest that nobody uses.
  EXPECT_EQ(indexed.index.evict(1), 2);
  const SequenceCache empty = indexed.sequence();
  EXPECT_EQ(indexed.index.find(numbers(64, 3000), empty).pages, 0);
  EXPECT_EQ(indexed.index.find(numbers(64, 1000), empty).pages, 1);
  EXPECT_EQ(indexed.index.evict(100), 2);
  EXPECT_EQ(indexed.index.nodes(), 0);        // Forgotten in the end, for nothing:
  EXPECT_EQ(indexed.pool->taken_pages(), 2);  // the sequence has its pages still.
  EXPECT_TRUE(indexed.pool->check_integrity());
}

// Its only reader lets a page of it go, without a disk.
void lose(PagePool& pool, PageId page) {
  ASSERT_EQ(pool.readers(page), 1);
  pool.make_planes(page, *testing::machine_kernels().front());
  for (const Level level : {Level::k8, Level::k4, Level::kEvicted}) pool.move(page, level, true, Instant());
  ASSERT_EQ(pool.level(page), Level::kEvicted);
}

TEST(PrefixIndex, EndsBeforeAPageThatLeftMemoryUntilSomebodyComputesItAgain) {
  Indexed indexed(40);
  {
    const SequenceCache reader = indexed.compute(numbers(256));
    lose(*indexed.pool, reader.pages(1)[2]);
  }
  const SequenceCache empty = indexed.sequence();
  EXPECT_EQ(indexed.index.find(numbers(256), empty).pages, 2);
  indexed.compute(numbers(256));
  EXPECT_EQ(indexed.index.find(numbers(256), empty).pages, 4);
  EXPECT_TRUE(indexed.pool->check_integrity());
  EXPECT_TRUE(indexed.index.check_integrity());
  EXPECT_EQ(indexed.pool->taken_pages(), 8);
}

TEST(PrefixIndex, ASequenceGoesOnRegisteringAfterItsPagesWereForgotten) {
  Indexed indexed(40);
  const std::vector<TokenId> text = numbers(192);
  SequenceCache cache = indexed.sequence();
  PrefixCursor cursor;
  ASSERT_TRUE(cache.reserve(192).has_value());
  cache.commit(64);
  indexed.index.keep(text, cache, cursor);
  indexed.index.evict(100);
  cache.commit(128);
  indexed.index.keep(text, cache, cursor);
  EXPECT_EQ(indexed.index.find(text, indexed.sequence()).pages, 3);
  EXPECT_TRUE(indexed.index.check_integrity());
}

TEST(PrefixIndex, HintsFromOutsideFollowWhatIsKept) {
  Indexed indexed(40);
  EXPECT_EQ(indexed.index.hinted_pages(numbers(128)), 0);
  indexed.compute(numbers(128));
  EXPECT_EQ(indexed.index.hinted_pages(numbers(200)), 2);
  indexed.index.evict(100);
  EXPECT_EQ(indexed.index.hinted_pages(numbers(200)), 0);
}

TEST(PrefixIndex, StopsWhereAWindowHasPassedThePages) {
  // The second layer sees 64 tokens, and keeps those of a rewind.
  Indexed indexed(60, {0, 64});
  indexed.compute(numbers(640));  // In one step: its window has passed the first pages when they are registered.
  const SequenceCache empty = indexed.sequence();
  EXPECT_EQ(indexed.index.find(numbers(640), empty).pages, 10);
  EXPECT_EQ(indexed.index.find(numbers(300), empty).pages, 0);
  SequenceCache next = indexed.sequence();
  PrefixCursor cursor;
  EXPECT_EQ(indexed.index.adopt(numbers(640), next, cursor), 10);
  EXPECT_NE(next.pages(1)[9], kNoPage);
  EXPECT_TRUE(indexed.pool->check_integrity());
}

TEST(PrefixIndex, LosesNoPageWhateverIsComputedSharedAndEvicted) {
  testing::for_each_case(60, [](Rng& rng) {
    Indexed indexed(48);
    std::vector<SequenceCache> sequences;
    for (int i = 0; i < 60; ++i) {
      if (sequences.size() >= 3 || rng.below(3) == 0) sequences.clear();
      const int length = static_cast<int>(rng.below(400)) + 1;
      const int64_t needed = 2 * pages_for_tokens(length);
      if (needed > indexed.pool->free_pages()) indexed.index.evict(needed - indexed.pool->free_pages());
      if (needed <= indexed.pool->free_pages()) {
        const auto text = numbers(length, static_cast<TokenId>(100000 * rng.below(3)));
        sequences.push_back(indexed.compute(text, static_cast<int>(rng.below(200)) + 1));
      }
      ASSERT_TRUE(indexed.index.check_integrity());
      ASSERT_TRUE(indexed.pool->check_integrity());
    }
    sequences.clear();
    indexed.index.evict(1000);
    EXPECT_EQ(indexed.pool->taken_pages(), 0);
  });
}

}  // namespace
}  // namespace infer::kv
