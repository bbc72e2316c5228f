#include "tokenizer/character_map.h"

#include <gtest/gtest.h>

#include "testing/property.h"
#include "tokenizer/character_map_bytes.h"

namespace infer::tokenizer {
namespace {

CharacterMap map_of(const std::vector<std::pair<std::string, std::string>>& replacements) {
  auto map = CharacterMap::parse(character_map_bytes(replacements));
  EXPECT_TRUE(map.has_value()) << map.error().message;
  return std::move(*map);
}

std::string normalize(const CharacterMap& map, std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const CharacterMap::Normalized next = map.normalize_next(text);
    EXPECT_GE(next.consumed, 1u);
    out += next.text;
    text.remove_prefix(next.consumed);
  }
  return out;
}

TEST(CharacterMap, TheLongestSequenceIsReplaced) {
  const CharacterMap map = map_of({{"ｶ", "カ"}, {"ｶﾞ", "ガ"}, {"①", "1"}, {"㌔", "キロ"}, {"\t", " "}, {"\u00AD", ""}});
  EXPECT_EQ(normalize(map, "ｶﾞｶ①"), "ガカ1");
  EXPECT_EQ(normalize(map, "5㌔\tab\u00AD"), "5キロ ab");
  EXPECT_EQ(normalize(map, "猫"), "猫");
}

TEST(CharacterMap, BytesThatAreNoCharacterBecomeTheReplacementCharacter) {
  for (const CharacterMap& map : {CharacterMap(), map_of({{"①", "1"}})}) {
    EXPECT_EQ(normalize(map, "a\xFF\xE3\x81z"), "a\uFFFD\uFFFD\uFFFDz");
    EXPECT_EQ(normalize(map, std::string_view("a\0b", 3)), std::string_view("a\0b", 3));
  }
}

TEST(CharacterMap, SizesThatContradictEachOtherAreRefused) {
  const std::string good = character_map_bytes({{"①", "1"}});
  for (const std::string& bad :
       {std::string("abc"), good.substr(0, 100), good + "x", std::string("\x03\0\0\0abc", 7)}) {
    const auto map = CharacterMap::parse(bad);
    ASSERT_FALSE(map.has_value());
    EXPECT_EQ(map.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(map.error().message.find("precompiled_charsmap"), std::string::npos);
  }
  EXPECT_TRUE(CharacterMap::parse("").has_value());
}

TEST(CharacterMap, AReplacementWithoutMeasureIsRefused) {
  const std::string longest(CharacterMap::kTextBytesMax, 'x');
  EXPECT_EQ(normalize(map_of({{"a", longest}}), "aa"), longest + longest);
  const auto map = CharacterMap::parse(character_map_bytes({{"b", "c"}, {"a", longest + "x"}}));
  ASSERT_FALSE(map.has_value());
  EXPECT_EQ(map.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(map.error().message.find("513 bytes"), std::string::npos) << map.error().message;
}

TEST(CharacterMap, SequencesAboveTheLimitAreNotFound) {
  const std::string longest(CharacterMap::kTextBytesMax, 'a');
  const CharacterMap map = map_of({{longest, "1"}, {longest + "a", "2"}});
  EXPECT_EQ(map.normalize_next(longest + "aa").text, "1");
  EXPECT_EQ(map.normalize_next(longest + "aa").consumed, longest.size());
}

TEST(CharacterMap, DamagedTablesNeverLeaveTheirMemory) {
  const std::string good = character_map_bytes({{"ｶ", "カ"}, {"ｶﾞ", "ガ"}, {"①", "1"}, {"a", "b"}});
  testing::for_each_case(300, [&](Rng& rng) {
    std::string bytes = good;
    for (int i = 0; i < 40; ++i)
      bytes[4 + rng.below(static_cast<uint32_t>(bytes.size() - 5))] = static_cast<char>(rng.below(256));
    const auto map = CharacterMap::parse(bytes);
    ASSERT_TRUE(map.has_value());
    (void)normalize(*map, "ｶﾞｶ①a猫b\xFFｶ");
  });
}

}  // namespace
}  // namespace infer::tokenizer
