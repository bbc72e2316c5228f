#include "kv/block_store.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <vector>

#include "os/process_facts.h"
#include "testing/property.h"

namespace infer::kv {
namespace {

TEST(BlockStore, TakesTheLowestFreeBlockFirst) {
  BlockStore store = *BlockStore::make(128, 200);
  std::vector<std::byte*> blocks;
  for (int i = 0; i < 200; ++i) blocks.push_back(store.take());
  for (size_t i = 1; i < blocks.size(); ++i) EXPECT_EQ(blocks[i], blocks[i - 1] + 128);
  EXPECT_EQ(store.take(), nullptr);
  store.give_back(blocks[150]);
  store.give_back(blocks[3]);
  EXPECT_EQ(store.take(), blocks[3]);
  EXPECT_EQ(store.take(), blocks[150]);
  EXPECT_TRUE(store.check_integrity());
}

TEST(BlockStore, GivesMemoryBackToTheSystem) {
  constexpr size_t kBlock = 36352;  // No multiple of any page size.
  constexpr int kBlocks = 4000;     // 145 MB: in huge pages where the system has them.
  BlockStore store = *BlockStore::make(kBlock, kBlocks);
  std::vector<std::byte*> blocks;
  for (int i = 0; i < kBlocks; ++i) {
    blocks.push_back(store.take());
    std::memset(blocks.back(), 1, kBlock);
  }
  const uint64_t full = os::resident_bytes().value();
  for (size_t i = 0; i < blocks.size() - 100; ++i) store.give_back(blocks[i]);
  const uint64_t after = os::resident_bytes().value();
  EXPECT_GT(full - after, uint64_t{kBlock} * (kBlocks - 100) / 100 * 95) << full << " before, " << after << " after";
  for (size_t i = blocks.size() - 100; i < blocks.size(); ++i) {
    for (size_t at = 0; at < kBlock; at += 997) ASSERT_EQ(blocks[i][at], std::byte{1});
  }
}

TEST(BlockStore, StaysWholeUnderRandomTakingAndGiving) {
  testing::for_each_case(50, [](Rng& rng) {
    const size_t bytes = 64 * (1 + rng.below(200));
    BlockStore store = *BlockStore::make(bytes, 1 + static_cast<int>(rng.below(300)));
    std::vector<std::byte*> held;
    for (int i = 0; i < 500; ++i) {
      if (rng.below(2) == 0 && !held.empty()) {
        const size_t at = rng.below(static_cast<uint32_t>(held.size()));
        const auto mark = static_cast<std::byte>(reinterpret_cast<uintptr_t>(held[at]) >> 6);
        for (size_t j = 0; j < bytes; j += 61) ASSERT_EQ(held[at][j], mark) << "Nobody else wrote into it.";
        store.give_back(held[at]);
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
      } else if (std::byte* block = store.take()) {
        std::memset(block, static_cast<int>(static_cast<uint8_t>(reinterpret_cast<uintptr_t>(block) >> 6)), bytes);
        held.push_back(block);
      } else {
        ASSERT_EQ(static_cast<int>(held.size()), store.blocks());
      }
      ASSERT_EQ(store.blocks() - store.free_blocks(), static_cast<int>(held.size()));
    }
    ASSERT_TRUE(store.check_integrity());
  });
}

}  // namespace
}  // namespace infer::kv
