// Levels of whole sequences: what the tiered modes choose, what the disk brings back, and random use against a count.
#include "kv/sequence_levels.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "kernels/panels.h"
#include "kv/sequence_cache.h"
#include "os/system_clock.h"
#include "testing/attention_case.h"
#include "testing/faulty_block_file.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"

namespace infer::kv {
namespace {

using testing::FaultyBlockFile;
using testing::FaultyDisk;

constexpr PageShape kShape{.kv_heads = 2, .head_dim = 16};
const std::vector<int> kLayers(3, 0);
const LevelModel kModel{
    .queries = {.kv_heads = 2, .group = 1, .head_dim = 16}, .floors = {}, .loss_to_divergence = 0.0025};

const kernels::KernelTable& table() { return *testing::machine_kernels()[0]; }

// A pool with a disk behind it that a test can make fail.
struct World {
  FaultyDisk disk;
  std::unique_ptr<SpillStore> spill;
  std::unique_ptr<PagePool> pool;
  os::SystemClock clock;

  explicit World(int pages, uint64_t disk_bytes = uint64_t{8} << 20) {
    SpillOptions options;
    options.slot_bytes = {2 * kernels::kv_high_bytes(16), 2 * kernels::kv_low_bytes(16)};
    options.bytes_max = disk_bytes;
    options.extent_bytes = 64 * 1024;
    spill = SpillStore::make(std::make_unique<FaultyBlockFile>(disk), options).value();
    pool = PagePool::make(kShape, pages).value();
    pool->set_spill(spill.get());
  }
  ~World() { pool.reset(); }

  // Applies policies until nothing is under way. Levels may be chosen anew on the way, so several rounds.
  void settle(SequenceCache& cache) {
    for (int round = 0; round < 8; ++round) {
      cache.apply_policy(table(), clock.now());
      while (spill->under_way() > 0) {
        std::this_thread::yield();
        pool->poll(clock.now());
      }
    }
  }
};

void write(SequenceCache& cache, int tokens, Rng& rng) {
  ASSERT_TRUE(cache.reserve(tokens).has_value());
  for (int position = cache.length(); position < cache.length() + tokens; ++position) {
    for (int layer = 0; layer < cache.layers(); ++layer) {
      for (int head = 0; head < kShape.kv_heads; ++head) {
        const std::vector<float> x = testing::random_floats(rng, 16, 1.0f);
        std::byte* const page = cache.writable_part(layer, position / kernels::kPageTokens, head);
        const int slot = position % kernels::kPageTokens;
        (cache.holds_floats() ? table().store_float_key : table().store_key)(x.data(), 16, slot, page);
        (cache.holds_floats() ? table().store_float_value : table().store_value)(x.data(), 16, slot, page);
      }
    }
  }
  cache.commit(tokens);
}

// Tells the cache that page `page` of every layer got this part of the attention of one token, if it wants to know.
void attend(SequenceCache& cache, int page, float mass) {
  if (cache.attention() == nullptr) return;
  for (int layer = 0; layer < cache.layers(); ++layer) {
    PageObservation sum;
    for (int head = 0; head < 2; ++head) PageAttention::observe({0.0f, 0.0f, mass}, {0.0f, 1.0f, 16}, &sum);
    cache.attention()->tally(layer, page, sum);
  }
}

int count_at(const SequenceCache& cache, Level level) {
  int count = 0;
  for (int layer = 0; layer < cache.layers(); ++layer) {
    for (int page = 0; page < static_cast<int>(cache.pages(layer).size()); ++page) {
      count += cache.level(layer, page) == level ? 1 : 0;
    }
  }
  return count;
}

std::vector<std::byte> planes(const SequenceCache& cache, int layer, int page, bool low) {
  std::vector<std::byte> bytes;
  for (int head = 0; head < 2; ++head) {
    const kernels::AttentionPage part = cache.part(layer, page, head);
    const std::byte* const from = low ? part.low : part.high;
    const size_t size = low ? kernels::kv_low_bytes(16) : kernels::kv_high_bytes(16);
    bytes.insert(bytes.end(), from, from + size);
  }
  return bytes;
}

TEST(SequenceLevels, ATieredCacheKeepsItsShareAndTheAttendedPagesTheirBits) {
  Rng rng(1);
  World world(100);
  SequenceCache cache(*world.pool, kLayers, 2048, &kModel);
  // A page of 16 takes 35 and 54 % at 4 and 8 bits at so small a head dimension.
  cache.set_policy({.mode = KvMode::kDynamic, .byte_share = 0.45});
  write(cache, 1600, rng);
  for (int page = 1; page < 24; ++page) {
    for (int token = 0; token < 100; ++token) attend(cache, page, page % 4 == 0 ? 0.3f : 0.001f);
  }
  world.settle(cache);
  EXPECT_GT(count_at(cache, Level::k4), 0);
  for (int page = 1; page < 23; ++page) {
    if (page % 4 != 0) continue;
    for (int layer = 0; layer < 3; ++layer) EXPECT_LE(cache.level(layer, page), Level::k8) << page;
  }
  const auto lowered = static_cast<double>(cache.kv_bytes() - 3 * 3 * kShape.page_bytes(Level::k16));
  EXPECT_LE(lowered, 0.45 * 22 * 3 * static_cast<double>(kShape.page_bytes_f16()) + 1);
  EXPECT_GT(cache.levels()->expected_loss(), 0.0);
  EXPECT_DOUBLE_EQ(*cache.levels()->expected_divergence(), 0.0025 * cache.levels()->expected_loss());
}

TEST(SequenceLevels, APolicyIsNotChargedWithPagesThatAnEarlierOneLoweredForGood) {
  const auto lowered_by = [](PagePool& pool, KvMode mode, os::SystemClock& clock) {
    Rng rng(1);
    auto cache = std::make_unique<SequenceCache>(pool, kLayers, 2048, &kModel);
    cache->set_policy({.mode = mode, .recent_window = 0, .sink_tokens = 0});
    write(*cache, 640, rng);
    for (int page = 0; page < 10; ++page) attend(*cache, page, 0.1f);
    cache->apply_policy(table(), clock.now());
    return cache;
  };
  os::SystemClock clock;
  const auto pool = PagePool::make(kShape, 100).value();  // Without a disk: what was dropped does not come back.
  const auto with_8_bits = lowered_by(*pool, KvMode::kQ8, clock), cache = lowered_by(*pool, KvMode::kQ4, clock);
  ASSERT_EQ(count_at(*cache, Level::k4), 30);
  const double cost = *cache->levels()->expected_divergence();
  EXPECT_GT(cost, 0);
  EXPECT_DOUBLE_EQ(*cache->levels()->planned_divergence(), cost);

  cache->set_policy({.mode = KvMode::kQ8, .recent_window = 0, .sink_tokens = 0});
  cache->apply_policy(table(), clock.now());
  EXPECT_EQ(count_at(*cache, Level::k4), 30);
  EXPECT_DOUBLE_EQ(*cache->levels()->expected_divergence(), cost);
  EXPECT_DOUBLE_EQ(*cache->levels()->planned_divergence(), *with_8_bits->levels()->expected_divergence());
  EXPECT_LT(*cache->levels()->planned_divergence(), cost / 4);

  cache->set_policy({.mode = KvMode::kF16});
  cache->apply_policy(table(), clock.now());
  EXPECT_DOUBLE_EQ(*cache->levels()->expected_divergence(), cost);
  EXPECT_DOUBLE_EQ(*cache->levels()->planned_divergence(), 0);
}

TEST(SequenceLevels, PagesInFloatsAreLoweredToWhatThoseOf16BitsAre) {
  os::SystemClock clock;
  const auto lowered = [&clock](PagePool& pool) {
    Rng rng(4);
    auto cache = std::make_unique<SequenceCache>(pool, kLayers, 2048, &kModel);
    cache->set_policy({.mode = KvMode::kQ8, .recent_window = 64, .sink_tokens = 0});
    write(*cache, 640, rng);
    cache->apply_policy(table(), clock.now());
    return cache;
  };
  const auto codes = PagePool::make(kShape, 100).value();
  const auto floats = PagePool::make({.kv_heads = 2, .head_dim = 16, .floats = true}, 100).value();
  const auto a = lowered(*codes), b = lowered(*floats);
  EXPECT_EQ(count_at(*b, Level::k8), 27);
  EXPECT_EQ(count_at(*b, Level::k16), 3);
  for (int layer = 0; layer < 3; ++layer) {
    for (int page = 0; page < 9; ++page) {
      EXPECT_EQ(planes(*a, layer, page, true), planes(*b, layer, page, true));
      EXPECT_EQ(std::memcmp(a->part(layer, page, 1).high, b->part(layer, page, 1).high, 64 * 16), 0);
    }
    EXPECT_EQ(b->part(layer, 9, 0).full, nullptr);
    EXPECT_NE(b->part(layer, 9, 0).floats, nullptr);
  }
  EXPECT_TRUE(floats->check_integrity());
}

TEST(SequenceLevels, RaisingBringsTheExactCodesBack) {
  Rng rng(2);
  World world(100);
  SequenceCache cache(*world.pool, kLayers, 2048, &kModel);
  cache.set_policy({.mode = KvMode::kQ8, .recent_window = 0, .sink_tokens = 0});
  write(cache, 640, rng);
  world.settle(cache);
  ASSERT_EQ(count_at(cache, Level::k8), 30);
  std::map<std::pair<int, int>, std::vector<std::byte>> high, low;
  for (int layer = 0; layer < 3; ++layer) {
    for (int page = 0; page < 10; ++page) {
      high[{layer, page}] = planes(cache, layer, page, false);
      low[{layer, page}] = planes(cache, layer, page, true);
    }
  }
  cache.set_policy(
      {.mode = KvMode::kThroughput, .recent_window = 0, .sink_tokens = 0, .byte_share = 0.0001, .may_evict = true});
  for (int i = 0; i < 4; ++i) world.settle(cache);
  EXPECT_EQ(count_at(cache, Level::kEvicted), 30);
  EXPECT_EQ(world.pool->bytes(), 30 * kShape.page_bytes(Level::kEvicted));
  cache.set_policy({.mode = KvMode::kQ8, .recent_window = 0, .sink_tokens = 0});
  for (int i = 0; i < 6; ++i) world.settle(cache);
  EXPECT_EQ(count_at(cache, Level::k8), 30);
  for (const auto& [at, bytes] : high) EXPECT_EQ(planes(cache, at.first, at.second, false), bytes);
  for (const auto& [at, bytes] : low) EXPECT_EQ(planes(cache, at.first, at.second, true), bytes);
  EXPECT_EQ(world.pool->counters().pages_lost, 0u);
  EXPECT_TRUE(world.pool->check_integrity());
}

TEST(SequenceLevels, APageThatMayMatterComesBack) {
  Rng rng(3);
  World world(100);
  SequenceCache cache(*world.pool, kLayers, 2048, &kModel);
  cache.set_policy({.mode = KvMode::kThroughput, .recent_window = 0, .sink_tokens = 0, .byte_share = 0.0001});
  write(cache, 640, rng);
  for (int i = 0; i < 4; ++i) world.settle(cache);
  ASSERT_EQ(cache.level(1, 4), Level::kEvicted);
  EXPECT_TRUE(cache.levels()->any_evicted());
  cache.levels()->look_for(1, 4, 0.001);
  world.settle(cache);
  EXPECT_EQ(cache.level(1, 4), Level::kEvicted) << "a trifle";
  cache.levels()->look_for(1, 4, 0.2);
  for (int i = 0; i < 4; ++i) world.settle(cache);
  EXPECT_EQ(cache.level(1, 4), Level::k4);
  EXPECT_EQ(cache.level(0, 4), Level::kEvicted);
}

TEST(SequenceLevels, WithoutADiskNothingLeavesMemoryUnlessALimitSaysSo) {
  Rng rng(4);
  auto pool = *PagePool::make(kShape, 100);
  SequenceCache cache(*pool, kLayers, 2048, &kModel);
  LevelPolicy policy{.mode = KvMode::kThroughput, .recent_window = 0, .sink_tokens = 0, .byte_share = 0.0001};
  cache.set_policy(policy);
  write(cache, 640, rng);
  for (int i = 0; i < 4; ++i) cache.apply_policy(table(), Instant());
  EXPECT_EQ(count_at(cache, Level::k4), 30);
  EXPECT_EQ(pool->counters().planes_dropped, 30u);
  policy.memory_limit_bytes = 10 * kShape.page_bytes(Level::k4);
  cache.set_policy(policy);
  for (int i = 0; i < 4; ++i) cache.apply_policy(table(), Instant());
  EXPECT_LE(cache.kv_bytes(), policy.memory_limit_bytes + 30 * kShape.page_bytes(Level::kEvicted));
  EXPECT_GT(pool->counters().pages_lost, 0u);
}

TEST(SequenceLevels, AFailingDiskCostsPlanesButNoPage) {
  Rng rng(5);
  World world(100);
  world.disk.fail_every(0, FaultyDisk::Fault::kNone, 1, 0);
  SequenceCache cache(*world.pool, kLayers, 2048, &kModel);
  cache.set_policy({.mode = KvMode::kThroughput, .recent_window = 0, .sink_tokens = 0, .byte_share = 0.0001});
  write(cache, 640, rng);
  for (int i = 0; i < 6; ++i) world.settle(cache);
  EXPECT_EQ(count_at(cache, Level::k4), 30) << "4 bits need no disk, leaving memory does";
  EXPECT_NE(world.spill->health().state, SpillState::kHealthy);
  EXPECT_EQ(world.pool->counters().pages_lost, 0u);
  EXPECT_TRUE(world.pool->check_integrity());
}

TEST(SequenceLevels, AFloorHoldsItsLayer) {
  Rng rng(6);
  World world(100);
  LevelModel model = kModel;
  model.floors = {Level::k4, Level::k8, Level::k4};
  SequenceCache cache(*world.pool, kLayers, 2048, &model);
  cache.set_policy({.mode = KvMode::kDynamic, .recent_window = 0, .sink_tokens = 0, .byte_share = 0.0001});
  write(cache, 640, rng);
  for (int i = 0; i < 4; ++i) world.settle(cache);
  EXPECT_EQ(cache.level(1, 3), Level::k8);
  EXPECT_EQ(cache.level(0, 3), Level::k4);
}

// Sequences that grow, fork, end, are cut and change their minds, on a disk where every n-th operation fails: pages are
// neither lost nor leaked nor shared wrongly, and what is in memory is what was written.
class RandomUse {
 public:
  RandomUse(Rng& rng, uint64_t every) : rng_(rng), world_(300, uint64_t{1} << 20) {
    const auto fault = rng.below(2) == 0 ? FaultyDisk::Fault::kError : FaultyDisk::Fault::kDamage;
    if (every > 0) world_.disk.fail_every(every, fault, every + 1, every + 2);
  }

  void step() {
    const uint32_t choice = rng_.below(100);
    if (texts_.empty() || (choice < 5 && texts_.size() < 4)) {
      texts_.push_back({SequenceCache(*world_.pool, kLayers, 1024, &kModel), {}});
      change_policy(texts_.back().cache);
      return;
    }
    Text& text = texts_[rng_.below(static_cast<uint32_t>(texts_.size()))];
    if (choice < 50) {
      grow(text);
    } else if (choice < 55 && texts_.size() < 4) {
      texts_.push_back({text.cache.fork(), text.keys});
    } else if (choice < 58) {
      cut(text,
          text.cache.length() == 0 ? 0 : static_cast<int>(rng_.below(static_cast<uint32_t>(text.cache.length()))));
    } else if (choice < 60) {
      std::swap(text, texts_.back());
      texts_.pop_back();
    } else if (choice < 70) {
      change_policy(text.cache);
    } else if (choice < 80) {
      for (int page = 0; page < text.cache.length() / 64; ++page)
        attend(text.cache, page, static_cast<float>(rng_.uniform()));
    } else if (choice < 85) {
      text.cache.levels()->look_for(static_cast<int>(rng_.below(3)), text.cache.length() / 128, 0.5);
    }
    world_.pool->poll(world_.clock.now());
    for (Text& each : texts_) each.cache.apply_policy(table(), world_.clock.now());
  }

  void check() {
    ASSERT_TRUE(world_.pool->check_integrity());
    ASSERT_TRUE(world_.spill->check_integrity());
    std::map<PageId, int> users;
    for (const Text& text : texts_) {
      for (int layer = 0; layer < 3; ++layer) {
        for (const PageId page : text.cache.pages(layer)) ++users[page];
      }
      check_keys(text);
    }
    ASSERT_EQ(users.size(), static_cast<size_t>(world_.pool->taken_pages())) << "leaked or lost";
    for (const auto& [page, count] : users) ASSERT_EQ(world_.pool->users(page), count);
  }

 private:
  struct Text {
    SequenceCache cache;
    std::vector<std::vector<float>> keys;  // Of each token; the same in all layers and heads.
  };

  void grow(Text& text) {
    const int tokens = std::min<int>(1 + static_cast<int>(rng_.below(100)), 1024 - text.cache.length());
    if (tokens == 0 || !text.cache.reserve(tokens)) return;
    for (int i = 0; i < tokens; ++i) {
      const int position = text.cache.length() + i;
      text.keys.push_back(testing::random_floats(rng_, 16, 1.0f));
      for (int layer = 0; layer < 3; ++layer) {
        for (int head = 0; head < 2; ++head) {
          std::byte* const page = text.cache.writable_part(layer, position / 64, head);
          table().store_key(text.keys.back().data(), 16, position % 64, page);
          table().store_value(text.keys.back().data(), 16, position % 64, page);
        }
      }
    }
    text.cache.commit(tokens);
  }
  void cut(Text& text, int length) { text.keys.resize(static_cast<size_t>(text.cache.truncate(length))); }

  void change_policy(SequenceCache& cache) {
    constexpr KvMode kModes[] = {KvMode::kF16,     KvMode::kQ8,         KvMode::kQ4,     KvMode::kDynamic,
                                 KvMode::kLatency, KvMode::kThroughput, KvMode::kQuality};
    LevelPolicy policy{.mode = kModes[rng_.below(7)],
                       .recent_window = static_cast<int>(rng_.below(3)) * 64,
                       .sink_tokens = static_cast<int>(rng_.below(2)) * 4};
    policy.byte_share = rng_.below(2) == 0 ? 0 : 0.02 + rng_.uniform() / 2;
    policy.may_evict = rng_.below(2) == 0;
    cache.set_policy(policy);
  }

  // Keys that are in memory are those that were written, as far as the level goes; values are the same vectors.
  void check_keys(const Text& text) {
    const int token = text.keys.empty() ? 0 : static_cast<int>(rng_.below(static_cast<uint32_t>(text.keys.size())));
    if (text.keys.empty()) return;
    for (int layer = 0; layer < 3; ++layer) {
      const kernels::AttentionPage part = text.cache.part(layer, token / 64, 1);
      if (part.full == nullptr && part.high == nullptr) continue;
      const testing::Cache view{16, 64, {}, {}, {}, {part}};
      const double error = part.full != nullptr ? 1e-3 : part.low != nullptr ? 0.03 : 0.4;
      for (int d = 0; d < 16; ++d) {
        ASSERT_NEAR(view.value(token % 64, d),
                    static_cast<double>(text.keys[static_cast<size_t>(token)][static_cast<size_t>(d)]), error);
      }
    }
  }

  Rng& rng_;
  World world_;
  std::vector<Text> texts_;
};

TEST(SequenceLevels, RandomUseOnAnyDiskLosesAndLeaksNothing) {
  for (const uint64_t every : {0, 1, 2, 3, 5, 8, 13, 40}) {
    testing::for_each_case(
        1,
        [every](Rng& rng) {
          RandomUse use(rng, every);
          for (int i = 0; i < 12500 && !::testing::Test::HasFatalFailure(); ++i) {
            use.step();
            if (i % 25 == 0) use.check();
          }
        },
        testing::property_seed(100 * every + 1));
  }
}

}  // namespace
}  // namespace infer::kv
