#include "tokenizer/special_matcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "testing/property.h"

namespace infer::tokenizer {
namespace {

TEST(SpecialMatcher, TheLongestAtTheLeftmostPlaceWins) {
  SpecialMatcher matcher;
  matcher.add({"<a", 1, false, false});
  matcher.add({"<a>", 2, false, false});
  matcher.add({"a>>>>", 3, false, false});
  matcher.finish();
  const auto match = matcher.next("..<a>>>>", 0, true);
  ASSERT_TRUE(match.has_value());
  EXPECT_EQ(match->id, 2);
  EXPECT_EQ(match->begin, 2u);
  EXPECT_EQ(match->end, 5u);
  EXPECT_FALSE(matcher.next("..<a>>>>", 5, true).has_value());
  EXPECT_FALSE(matcher.next("..<a>>>>", 0, false).has_value());
}

TEST(SpecialMatcher, AShorterTokenThatIsAlwaysReadIsFoundInsideOfALongerOne) {
  SpecialMatcher matcher;
  matcher.add({"<<", 1, true, false});
  matcher.add({"<<<", 2, false, false});
  matcher.finish();
  EXPECT_EQ(matcher.next("<<<", 0, false)->id, 1);
  EXPECT_EQ(matcher.next("<<<", 0, true)->id, 2);
}

TEST(SpecialMatcher, WhitespaceBehindBelongsToTokensThatEatIt) {
  SpecialMatcher matcher;
  matcher.add({"|", 1, true, true});
  matcher.finish();
  EXPECT_EQ(matcher.next("a| \t\r\n b", 0, false)->end, 7u);
  EXPECT_EQ(matcher.next("a|  ", 0, false)->end, 4u);
}

TEST(SpecialMatcher, FindsWhatAPlainSearchFinds) {
  testing::for_each_case(500, [](Rng& rng) {
    const auto random_text = [&](uint32_t size) {
      std::string text;
      for (; size > 0; --size) text += "ab\xFF"[rng.below(3)];
      return text;
    };
    std::deque<std::string> texts;
    SpecialMatcher matcher;
    for (TokenId id = 0; id < 6; ++id) {
      texts.push_back(random_text(1 + rng.below(4)));
      matcher.add({texts.back(), id, id % 2 == 0, false});
    }
    matcher.finish();
    const std::string text = random_text(rng.below(20));
    const bool parse_special = rng.below(2) == 0;
    std::vector<TextRange> untrusted;
    for (size_t at = rng.below(8); at < text.size(); at += 1 + rng.below(6)) {
      const size_t end = std::min<size_t>(at + 1 + rng.below(4), text.size());
      untrusted.push_back({at, end});
      at = end;
    }
    const auto is_trusted = [&](size_t begin, size_t size) {
      return std::none_of(untrusted.begin(), untrusted.end(),
                          [=](const TextRange& r) { return r.begin < begin + size && begin < r.end; });
    };
    TokenId expected = kNoToken;
    size_t expected_at = 0;
    for (size_t at = 0; at < text.size() && expected == kNoToken; ++at) {
      size_t longest = 0;
      for (TokenId id = 0; id < 6; ++id) {
        const std::string& token = texts[static_cast<size_t>(id)];
        if (text.compare(at, token.size(), token) != 0) continue;
        if (id % 2 != 0 && !(parse_special && is_trusted(at, token.size()))) continue;
        if (token.size() > longest) {
          longest = token.size();
          expected = id;
          expected_at = at;
        }
      }
    }
    const auto match = matcher.next(text, 0, parse_special, untrusted);
    EXPECT_EQ(match ? match->id : kNoToken, expected) << text;
    if (match) {
      EXPECT_EQ(match->begin, expected_at);
    }
  });
}

}  // namespace
}  // namespace infer::tokenizer
