#include "kv/slab_store.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <vector>

#include "os/process_facts.h"
#include "testing/property.h"

namespace infer::kv {
namespace {

TEST(SlabStore, TakesTheLowestFreeBlockFirst) {
  SlabStore store = *SlabStore::make(128, 200);
  std::vector<std::byte*> slabs;
  for (int i = 0; i < 200; ++i) slabs.push_back(store.take());
  for (size_t i = 1; i < slabs.size(); ++i) EXPECT_EQ(slabs[i], slabs[i - 1] + 128);
  EXPECT_EQ(store.take(), nullptr);
  store.give_back(slabs[150]);
  store.give_back(slabs[3]);
  EXPECT_EQ(store.take(), slabs[3]);
  EXPECT_EQ(store.take(), slabs[150]);
  EXPECT_TRUE(store.check_integrity());
}

TEST(SlabStore, GivesMemoryBackToTheSystem) {
  constexpr size_t kSlab = 36352;  // No multiple of any page size.
  constexpr int kSlabs = 4000;     // 145 MB: in huge pages where the system has them.
  SlabStore store = *SlabStore::make(kSlab, kSlabs);
  std::vector<std::byte*> slabs;
  for (int i = 0; i < kSlabs; ++i) {
    slabs.push_back(store.take());
    std::memset(slabs.back(), 1, kSlab);
  }
  const uint64_t full = os::resident_bytes().value();
  for (size_t i = 0; i < slabs.size() - 100; ++i) store.give_back(slabs[i]);
  const uint64_t after = os::resident_bytes().value();
  EXPECT_GT(full - after, uint64_t{kSlab} * (kSlabs - 100) / 100 * 95) << full << " before, " << after << " after";
  for (size_t i = slabs.size() - 100; i < slabs.size(); ++i) {
    for (size_t at = 0; at < kSlab; at += 997) ASSERT_EQ(slabs[i][at], std::byte{1});
  }
}

TEST(SlabStore, StaysWholeUnderRandomTakingAndGiving) {
  testing::for_each_case(50, [](Rng& rng) {
    const size_t bytes = 64 * (1 + rng.below(200));
    SlabStore store = *SlabStore::make(bytes, 1 + static_cast<int>(rng.below(300)));
    std::vector<std::byte*> held;
    for (int i = 0; i < 500; ++i) {
      if (rng.below(2) == 0 && !held.empty()) {
        const size_t at = rng.below(static_cast<uint32_t>(held.size()));
        const auto mark = static_cast<std::byte>(reinterpret_cast<uintptr_t>(held[at]) >> 6);
        for (size_t j = 0; j < bytes; j += 61) ASSERT_EQ(held[at][j], mark) << "Nobody else wrote into it.";
        store.give_back(held[at]);
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
      } else if (std::byte* slab = store.take()) {
        std::memset(slab, static_cast<int>(static_cast<uint8_t>(reinterpret_cast<uintptr_t>(slab) >> 6)), bytes);
        held.push_back(slab);
      } else {
        ASSERT_EQ(static_cast<int>(held.size()), store.slabs());
      }
      ASSERT_EQ(store.slabs() - store.free_slabs(), static_cast<int>(held.size()));
    }
    ASSERT_TRUE(store.check_integrity());
  });
}

}  // namespace
}  // namespace infer::kv
