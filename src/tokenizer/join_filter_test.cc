#include "tokenizer/join_filter.h"

#include <gtest/gtest.h>

#include <string>

#include "testing/property.h"

namespace infer::tokenizer {
namespace {

TEST(JoinFilter, PlacesLieWhereACharacterThatIsNotAsciiBeginsOrEnds) {
  const std::string text = "aé猫b";  // Bytes: 0 a, 1-2 é, 3-5 猫, 6 b.
  std::string places;
  for (size_t at = 1; at < text.size(); ++at) places += JoinFilter::is_place(text, at) ? '|' : '.';
  EXPECT_EQ(places, "|.|..|");
}

TEST(JoinFilter, SaysNoWhereNoTokenReachesAcross) {
  JoinFilter filter;
  filter.add("猫で");
  filter.finish();
  const std::string text = "猫です";
  EXPECT_TRUE(filter.may_join(text, 3));
  EXPECT_FALSE(filter.may_join(text, 6));
}

TEST(JoinFilter, SeesTokensThatBeginOrEndInsideOfACharacter) {
  JoinFilter filter;
  filter.add("\xABで");      // The end of 猫 (E7 8C AB).
  filter.add("す\xE3\x80");  // The beginning of 。 (E3 80 82).
  filter.finish();
  const std::string text = "猫です。";
  EXPECT_TRUE(filter.may_join(text, 3));
  EXPECT_FALSE(filter.may_join(text, 6));
  EXPECT_TRUE(filter.may_join(text, 9));
}

TEST(JoinFilter, AnEmptyOneNeverJoins) {
  JoinFilter filter;
  filter.finish();
  EXPECT_FALSE(filter.may_join("猫で", 3));
}

TEST(JoinFilter, NeverSaysNoInsideOfAnAddedToken) {
  testing::for_each_case(200, [](Rng& rng) {
    constexpr std::string_view kParts[] = {"a", "é", "猫", "で", "\xE3", "\x81", "\xF0\x9F", "😀", " "};
    JoinFilter filter;
    std::string text, token;
    for (uint32_t i = rng.below(6); i > 0; --i) text += kParts[rng.below(std::size(kParts))];
    const size_t begin = text.size();
    for (uint32_t i = 1 + rng.below(5); i > 0; --i) token += kParts[rng.below(std::size(kParts))];
    text += token;
    for (uint32_t i = rng.below(6); i > 0; --i) text += kParts[rng.below(std::size(kParts))];
    filter.add(token);
    filter.finish();
    for (size_t at = begin + 1; at < begin + token.size(); ++at) {
      EXPECT_TRUE(!JoinFilter::is_place(text, at) || filter.may_join(text, at)) << at << " of " << text;
    }
  });
}

}  // namespace
}  // namespace infer::tokenizer
