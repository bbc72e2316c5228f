#include "kv/spill_space.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>
#include <vector>

#include "testing/property.h"

namespace infer::kv {
namespace {

constexpr size_t kSizes[] = {4096, 9000};  // Strides of one and three blocks.
constexpr size_t kExtent = 12 * 4096;      // 12 of the first, 4 of the second.

SpillSlot take_proved(SpillSpace& space, size_t size) {
  const SpillSlot slot = *space.take(size, true);
  space.prove(slot);
  return slot;
}

TEST(SpillSpace, SlotsOfOneSizeFollowEachOtherInExtentsOfTheirOwn) {
  SpillSpace space(kSizes, kExtent, 4);
  for (uint64_t i = 0; i < 12; ++i) {
    const SpillSlot slot = *space.take(0, true);
    EXPECT_EQ(space.offset(slot), i * 4096);
    EXPECT_EQ(space.bytes(slot), 4096u);
  }
  const SpillSlot large = *space.take(1, true);
  EXPECT_EQ(space.offset(large), kExtent);
  EXPECT_EQ(space.bytes(large), 9000u);
  EXPECT_EQ(space.stride(large), 3u * 4096u);
  EXPECT_EQ(space.offset(*space.take(0, true)), 2 * kExtent);
  EXPECT_EQ(space.offset(*space.take(1, true)), kExtent + 3 * 4096);
  EXPECT_EQ(space.extents_held(), 3u);
  EXPECT_TRUE(space.check_integrity());
}

TEST(SpillSpace, TheLowestFreeSlotIsTakenFirstAndThenNone) {
  SpillSpace space(kSizes, kExtent, 2);
  std::vector<SpillSlot> slots;
  while (const auto slot = space.take(0, true)) slots.push_back(*slot);
  EXPECT_EQ(slots.size(), 24u);
  EXPECT_FALSE(space.take(1, true).has_value());
  space.give_back(slots[13]);
  space.give_back(slots[5]);
  EXPECT_EQ(*space.take(0, true), slots[5]);
  EXPECT_EQ(*space.take(0, true), slots[13]);
  EXPECT_TRUE(space.check_integrity());
}

TEST(SpillSpace, WithoutGrowingOnlyProvedRoomIsTaken) {
  SpillSpace space(kSizes, kExtent, 4);
  EXPECT_FALSE(space.take(0, false).has_value());
  const SpillSlot first = *space.take(0, true);
  EXPECT_FALSE(space.take(0, false).has_value()) << "nothing was written there yet";
  space.prove(first);
  EXPECT_TRUE(space.take(0, false).has_value());
  EXPECT_FALSE(space.take(1, false).has_value());
}

TEST(SpillSpace, AnExtentWhereNothingWasWrittenIsFreeAtOnce) {
  SpillSpace space(kSizes, kExtent, 1);
  const SpillSlot slot = *space.take(0, true);
  space.give_back(slot);
  EXPECT_EQ(space.extents_held(), 0u);
  EXPECT_EQ(space.offset(*space.take(1, true)), 0u) << "for the other size as well";
}

TEST(SpillSpace, OneEmptyExtentIsKeptAndTheOthersGoBack) {
  SpillSpace space(kSizes, kExtent, 3);
  std::vector<SpillSlot> slots;
  for (int i = 0; i < 3; ++i) {
    slots.push_back(take_proved(space, 1));
    for (int j = 0; j < 3; ++j) slots.push_back(take_proved(space, 1));
  }
  for (size_t i = 0; i < 4; ++i) space.give_back(slots[i]);
  EXPECT_FALSE(space.begin_release().has_value());
  for (size_t i = 4; i < 8; ++i) space.give_back(slots[i]);
  EXPECT_EQ(space.begin_release(), 1u);
  EXPECT_FALSE(space.begin_release().has_value());
  EXPECT_EQ(space.extents_held(), 3u);
  EXPECT_TRUE(space.take(0, false).has_value()) << "the one that was kept, for any size";
  EXPECT_FALSE(space.take(1, true).has_value()) << "not yet: its room is being given back";
  space.end_release(1);
  EXPECT_EQ(space.extents_held(), 2u);
  EXPECT_TRUE(space.take(1, true).has_value());
  EXPECT_TRUE(space.check_integrity());
}

TEST(SpillSpace, AgreesWithASetOfTakenBlocks) {
  testing::for_each_case(20, [](Rng& rng) {
    const size_t sizes[] = {1 + rng.below(20'000), 20'001 + rng.below(20'000), 50'000};
    const uint32_t extents = 1 + rng.below(70);
    SpillSpace space(sizes, 64 * 1024, extents);
    std::set<uint64_t> blocks;
    std::vector<std::pair<SpillSlot, size_t>> taken;
    std::vector<uint32_t> releasing;
    for (int i = 0; i < 2000; ++i) {
      if (rng.below(5) < 3) {
        const size_t size = rng.below(3);
        const auto slot = space.take(size, rng.below(4) != 0);
        if (!slot) continue;
        if (rng.below(4) != 0) space.prove(*slot);
        ASSERT_EQ(space.bytes(*slot), sizes[size]);
        ASSERT_GE(space.stride(*slot), sizes[size]);
        ASSERT_EQ(space.offset(*slot) / (64 * 1024), (space.offset(*slot) + sizes[size] - 1) / (64 * 1024));
        for (size_t at = 0; at < space.stride(*slot); at += 4096) {
          ASSERT_TRUE(blocks.insert(space.offset(*slot) + at).second) << "taken twice";
        }
        taken.emplace_back(*slot, size);
      } else if (!taken.empty()) {
        const size_t at = rng.below(static_cast<uint32_t>(taken.size()));
        const SpillSlot slot = taken[at].first;
        for (size_t byte = 0; byte < space.stride(slot); byte += 4096) blocks.erase(space.offset(slot) + byte);
        space.give_back(slot);
        ASSERT_FALSE(space.is_taken(slot));
        taken.erase(taken.begin() + static_cast<ptrdiff_t>(at));
      }
      if (const auto extent = space.begin_release()) releasing.push_back(*extent);
      if (!releasing.empty() && rng.below(3) == 0) {
        space.end_release(releasing.back());
        releasing.pop_back();
      }
      ASSERT_EQ(space.taken_slots(), taken.size());
      ASSERT_LE(space.extents_held(), extents);
      ASSERT_TRUE(i % 16 != 0 || space.check_integrity());
    }
  });
}

}  // namespace
}  // namespace infer::kv
