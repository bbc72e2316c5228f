#include "kv/level_chooser.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "testing/property.h"

namespace infer::kv {
namespace {

constexpr std::array<uint64_t, kLevelCount> kBytes{100, 54, 28, 2};

LevelLimits limits_of(uint64_t bytes) {
  LevelLimits limits;
  limits.page_bytes = kBytes;
  limits.bytes = bytes;
  limits.hard_bytes = std::numeric_limits<uint64_t>::max();
  limits.loss = std::numeric_limits<double>::infinity();
  return limits;
}

PageChoice page_of(float importance, float mass) {
  PageChoice page;
  page.importance = importance;
  page.loss = {0, 1e-5f * mass, 1e-2f * mass, mass};
  return page;
}

TEST(LevelChooser, ImportanceAndPressureMeanALevelAsTheTableSays) {
  const LevelThresholds t{};
  EXPECT_EQ(level_by_importance(0.9, 1.0, t), Level::k16);
  EXPECT_EQ(level_by_importance(0.6, 0.0, t), Level::k8);
  EXPECT_EQ(level_by_importance(0.4, 0.5, t), Level::k8) << "little pressure";
  EXPECT_EQ(level_by_importance(0.4, 0.7, t), Level::k4);
  EXPECT_EQ(level_by_importance(0.2, 0.7, t), Level::k4);
  EXPECT_EQ(level_by_importance(0.2, 0.9, t), Level::kEvicted);
}

TEST(LevelChooser, WithRoomEverythingHasTheLevelOfItsImportance) {
  std::vector<PageChoice> pages{page_of(0.9f, 0.1f), page_of(0.6f, 0.1f), page_of(0.1f, 0.1f)};
  LevelChooser chooser(3);
  const LevelTotals totals = chooser.choose(pages, limits_of(1000));
  EXPECT_EQ(pages[0].wanted, Level::k16);
  EXPECT_EQ(pages[1].wanted, Level::k8);
  EXPECT_EQ(pages[2].wanted, Level::k8);
  EXPECT_EQ(totals.bytes, 100u + 54 + 54);
}

TEST(LevelChooser, UnderALimitThePagesThatCostLeastAreLowered) {
  std::vector<PageChoice> pages;
  for (int i = 0; i < 10; ++i) pages.push_back(page_of(0.4f, 0.01f * static_cast<float>(i + 1)));
  LevelChooser chooser(10);
  const LevelTotals totals = chooser.choose(pages, limits_of(4 * 54 + 6 * 28));
  EXPECT_EQ(totals.bytes, 4u * 54 + 6 * 28);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(pages[static_cast<size_t>(i)].wanted, i < 6 ? Level::k4 : Level::k8) << i;
}

TEST(LevelChooser, StepsThatImportanceSpeaksAgainstComeLast) {
  // The first costs less, but is important.
  std::vector<PageChoice> pages{page_of(0.6f, 0.01f), page_of(0.4f, 0.02f)};
  LevelChooser chooser(2);
  chooser.choose(pages, limits_of(54 + 28));
  EXPECT_EQ(pages[0].wanted, Level::k8);
  EXPECT_EQ(pages[1].wanted, Level::k4);
  chooser.choose(pages, limits_of(28 + 28));
  EXPECT_EQ(pages[0].wanted, Level::k4) << "where the limit cannot be kept otherwise";
}

TEST(LevelChooser, NothingGoesBelowItsFloorOrAboveWhatItCanHave) {
  PageChoice floored = page_of(0.1f, 1e-6f), raised = page_of(0.9f, 0.5f);
  floored.lowest = Level::k8;
  raised.level = Level::k4;
  raised.highest = Level::k4;
  std::vector<PageChoice> pages{floored, raised};
  LevelChooser chooser(2);
  chooser.choose(pages, limits_of(1));
  EXPECT_EQ(pages[0].wanted, Level::k8);
  EXPECT_EQ(pages[1].wanted, Level::k4);
}

TEST(LevelChooser, ALimitOfLossGoesBeforeTheLimitOfBytesButNotBeforeTheHardOne) {
  std::vector<PageChoice> pages(8, page_of(0.4f, 0.1f));
  LevelChooser chooser(8);
  LevelLimits limits = limits_of(8 * 28);
  limits.loss = 3.5e-3;  // Three pages at 4 bits.
  LevelTotals totals = chooser.choose(pages, limits);
  EXPECT_EQ(std::count_if(pages.begin(), pages.end(), [](const auto& p) { return p.wanted == Level::k4; }), 3);
  EXPECT_LE(totals.loss, 3.5e-3);
  limits.hard_bytes = 8 * 28;
  totals = chooser.choose(pages, limits);
  EXPECT_LE(totals.bytes, 8u * 28);
}

TEST(LevelChooser, SmallChangesOfImportanceMoveNothing) {
  std::vector<PageChoice> pages{page_of(0.49f, 0.1f)};
  LevelLimits limits = limits_of(1000);
  limits.pressure = 0.7;
  LevelChooser chooser(1);
  pages[0].level = Level::k8;
  chooser.choose(pages, limits);
  EXPECT_EQ(pages[0].wanted, Level::k8) << "below 0.5, but not by enough to be lowered";
  pages[0].importance = 0.44f;
  chooser.choose(pages, limits);
  EXPECT_EQ(pages[0].wanted, Level::k4);
  pages[0].level = Level::k4;
  pages[0].importance = 0.52f;
  chooser.choose(pages, limits);
  EXPECT_EQ(pages[0].wanted, Level::k4) << "above 0.5, but not by enough to be raised";
  pages[0].importance = 0.56f;
  chooser.choose(pages, limits);
  EXPECT_EQ(pages[0].wanted, Level::k8);
}

// For convex losses and pages that are not against it, greedy is optimal up to one step: no single exchange of a step
// taken for one not taken saves loss at no more bytes.
TEST(LevelChooser, NoExchangeOfTwoStepsIsBetter) {
  testing::for_each_case(100, [](Rng& rng) {
    std::vector<PageChoice> pages;
    for (int i = 0; i < 30; ++i) {
      pages.push_back(page_of(0.1f, static_cast<float>(rng.uniform())));
      pages.back().lowest = rng.below(2) == 0 ? Level::k4 : Level::kEvicted;
      pages.back().level = pages.back().highest = Level::k8;
    }
    LevelChooser chooser(pages.size());
    const uint64_t limit = 28 * 20 + rng.below(28 * 20);
    const LevelTotals totals = chooser.choose(pages, limits_of(limit));
    ASSERT_TRUE(totals.bytes <= limit ||
                std::all_of(pages.begin(), pages.end(), [](const auto& p) { return p.wanted == p.lowest; }));
    for (const PageChoice& up : pages) {
      if (up.wanted != Level::k4) continue;
      for (const PageChoice& down : pages) {
        if (down.wanted != Level::k8) continue;
        const float saved = up.loss[2] - up.loss[1], paid = down.loss[2] - down.loss[1];
        EXPECT_LE(saved, paid * 1.0001f);
      }
    }
  });
}

}  // namespace
}  // namespace infer::kv
