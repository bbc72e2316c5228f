#include "engine/draft_lookup.h"

#include <gtest/gtest.h>

#include "testing/property.h"

namespace infer::engine {
namespace {

std::vector<TokenId> proposed(const std::vector<TokenId>& text, int most) {
  DraftLookup lookup;
  std::vector<TokenId> draft;
  lookup.propose(text, most, draft);
  return draft;
}

TEST(DraftLookup, ProposesWhatFollowedBefore) {
  EXPECT_EQ(proposed({1, 2, 3, 4, 5, 6, 9, 1, 2, 3}, 3), (std::vector<TokenId>{4, 5, 6}));
}

TEST(DraftLookup, TwoTokensAreTooFewToAgreeOn) {
  EXPECT_TRUE(proposed({1, 2, 3, 9, 2, 3}, 4).empty());
  EXPECT_TRUE(proposed({1, 2, 3}, 4).empty());
  EXPECT_TRUE(proposed({}, 4).empty());
  EXPECT_TRUE(proposed({1, 2, 3, 4, 5, 1, 2, 3}, 0).empty());
}

TEST(DraftLookup, TheLongestAgreementWinsAndTheLatestAmongEquals) {
  // "2 3 4" thrice: behind 1 comes 5, behind 7 comes 8.
  EXPECT_EQ(proposed({1, 2, 3, 4, 5, 7, 2, 3, 4, 8, 9, 1, 2, 3, 4}, 1), std::vector<TokenId>{5});
  EXPECT_EQ(proposed({1, 2, 3, 4, 5, 7, 2, 3, 4, 8, 9, 0, 2, 3, 4}, 1), std::vector<TokenId>{8});
}

TEST(DraftLookup, ALoopGoesOn) {
  EXPECT_EQ(proposed({1, 2, 3, 1, 2, 3, 1, 2, 3}, 7), (std::vector<TokenId>{1, 2, 3, 1, 2, 3, 1}));
}

// The definition: of the last eight places where the last three tokens occurred before, the one that agrees longest.
std::vector<TokenId> plainly_proposed(const std::vector<TokenId>& text, int most) {
  size_t best = 0, agreement = 2;
  int looked = 0;
  for (size_t end = text.size() - 1; end-- > 0 && looked < 8;) {
    size_t equal = 0;
    while (equal < 64 && equal <= end && text[end - equal] == text[text.size() - 1 - equal]) ++equal;
    if (equal < 3) continue;
    ++looked;
    if (equal > agreement) {
      agreement = equal;
      best = end;
    }
  }
  if (agreement < 3) return {};
  std::vector<TokenId> whole = text;
  for (int i = 0; i < most; ++i) whole.push_back(whole[best + 1 + static_cast<size_t>(i)]);
  return {whole.begin() + static_cast<ptrdiff_t>(text.size()), whole.end()};
}

TEST(DraftLookup, AsTheTextGrowsItFindsWhatLookingAtAllOfItFinds) {
  testing::for_each_case(30, [](Rng& rng) {
    DraftLookup lookup;
    std::vector<TokenId> text, draft;
    const uint32_t alphabet = 2 + rng.below(4);
    for (int i = 0; i < 1500; ++i) {
      text.push_back(static_cast<TokenId>(rng.below(alphabet)));
      if (rng.below(3) == 0) continue;  // It need not be asked each time.
      const int most = static_cast<int>(rng.below(6));
      lookup.propose(text, most, draft);
      ASSERT_EQ(draft, plainly_proposed(text, most)) << i;
    }
  });
}

}  // namespace
}  // namespace infer::engine
