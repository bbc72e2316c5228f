#include "base/merge_sort.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "base/rng.h"

namespace infer {
namespace {

TEST(MergeSort, KeepsTheOrderOfEquals) {
  for (uint32_t size = 0; size < 40; ++size) {
    Rng rng(size + 1);
    std::vector<std::pair<uint32_t, uint32_t>> items;
    for (uint32_t i = 0; i < size; ++i) items.emplace_back(rng.below(5), i);
    merge_sort(items, [](const auto& a, const auto& b) { return a.first < b.first; });
    ASSERT_EQ(items.size(), size);
    for (size_t i = 1; i < items.size(); ++i) EXPECT_LT(items[i - 1], items[i]) << "by key, then by first place";
  }
}

TEST(MergeSort, AComparisonThatIsNoOrderLosesNothing) {
  std::vector<std::string> items;
  for (int i = 0; i < 33; ++i) items.push_back(std::string(20, static_cast<char>('a' + i % 26)));
  int calls = 0;
  merge_sort(items, [&calls](const std::string&, const std::string&) { return ++calls % 3 != 0; });
  EXPECT_EQ(items.size(), 33u);
  for (const std::string& item : items) EXPECT_EQ(item.size(), 20u);
}

}  // namespace
}  // namespace infer
