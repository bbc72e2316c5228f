#include "tokenizer/pretokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "testing/property.h"
#include "tokenizer/pretokenizer_table.h"

namespace infer::tokenizer {
namespace {

class Collected final : public WordSink {
 public:
  void on_word(std::string_view word) override { words.emplace_back(word); }
  std::vector<std::string> words;
};

std::vector<std::string> split_with(std::span<const std::string_view> patterns, std::string_view text) {
  auto pretokenizer = Pretokenizer::compile(patterns);
  EXPECT_TRUE(pretokenizer.has_value());
  Pretokenizer::Session session(**pretokenizer);
  Collected collected;
  (*pretokenizer)->split(text, session, collected);
  return collected.words;
}

std::vector<std::string> split(std::string_view name, std::string_view text) {
  return split_with(find_pretokenizer(name)->patterns, text);
}

using Words = std::vector<std::string>;

TEST(Pretokenizer, Gpt2KeepsOneSpaceWithAWordAndCutsContractions) {
  EXPECT_EQ(split("gpt-2", "I'll  go, y'all"), (Words{"I", "'ll", " ", " go", ",", " y", "'", "all"}));
  EXPECT_EQ(split("gpt-2", "a1234 b\n\n c"), (Words{"a", "1234", " b", "\n\n", " c"}));
}

TEST(Pretokenizer, Llama3TakesThreeDigitsAndUpperCaseContractions) {
  EXPECT_EQ(split("llama-bpe", "I'LL pay 12345!\n\nOK"), (Words{"I", "'LL", " pay", " ", "123", "45", "!\n\n", "OK"}));
}

TEST(Pretokenizer, Qwen2TakesOneDigit) { EXPECT_EQ(split("qwen2", "a 123"), (Words{"a", " ", "1", "2", "3"})); }

TEST(Pretokenizer, Gpt4oCutsWhereTheCaseRises) {
  EXPECT_EQ(split("gpt-4o", "camelCase HTTPServer's"), (Words{"camel", "Case", " HTTPServer's"}));
  EXPECT_EQ(split("tekken", "camelCase 12"), (Words{"camel", "Case", " ", "1", "2"}));
}

TEST(Pretokenizer, FalconCutsPunctuationFirstAndDigitsByThree) {
  EXPECT_EQ(split("falcon", "x==1234"), (Words{"x", "==", "123", "4"}));
}

TEST(Pretokenizer, DeepseekV3KeepsJapaneseRunsTogether) {
  EXPECT_EQ(split("deepseek-v3", "1234猫です ok"), (Words{"123", "4", "猫です", " ok"}));
}

TEST(Pretokenizer, DeepseekLlmTakesTheSpacesAtTheEndAsOneWord) {
  EXPECT_EQ(split("deepseek-llm", "ok.   "), (Words{"ok", ".", "   "}));
  // Its classes overlap: the one for marks takes ASCII letters too, the one for Chinese all from U+0800 (and so
  // U+2126).
  EXPECT_EQ(split("deepseek-llm", "ΐΩK é \xE2\x84\xA6 猫"), (Words{"ΐΩ", "K", " é", " ", "\xE2\x84\xA6", " ", "猫"}));
}

TEST(Pretokenizer, LettersAndDigitsOfUnicode15AreKnown) {
  EXPECT_EQ(split("gpt-2", "a\U00031350\U0002EBF0's"), (Words{"a\U00031350\U0002EBF0", "'s"}));
  EXPECT_EQ(split("gpt-2", "!\U00031350"), (Words{"!", "\U00031350"}));
  EXPECT_EQ(split("qwen2", "\U00011F50\U00011F51"), (Words{"\U00011F50", "\U00011F51"}));
  EXPECT_EQ(split("gpt-4o", "a\U00031350b"), (Words{"a\U00031350b"}));
}

TEST(Pretokenizer, KimiK2KeepsChineseCharactersApart) {
  EXPECT_EQ(split("kimi-k2", "我们a们。'sB"), (Words{"我们", "a", "们", "。'", "s", "B"}));
}

TEST(Pretokenizer, SuperBpeCountsDigitsFromTheRightAndKeepsTheRest) {
  EXPECT_EQ(split("superbpe", "in all 1234567 of 89!"), (Words{"in all ", "1", "234", "567", " of ", "89", "!"}));
  EXPECT_EQ(split("superbpe", "123456"), (Words{"123", "456"}));
  const std::string digits(300001, '7');  // In linear time.
  EXPECT_EQ(split("superbpe", digits).front(), "7");
  EXPECT_EQ(split("superbpe", digits).size(), 100001u);
}

TEST(Pretokenizer, Jais2CutsSpacesInPowersOfTwo) {
  EXPECT_EQ(split("jais-2", "a             b"), (Words{"a", "        ", "    ", " b"}));  // 13 of them.
}

TEST(Pretokenizer, ExaoneMoeKeepsWordsWithSingleSpacesTogether) {
  EXPECT_EQ(split("exaone-moe", "one two  three4"), (Words{"one two", " ", " three", "4"}));
}

TEST(Pretokenizer, YoutuKeepsScriptsApart) {
  EXPECT_EQ(split("youtu", "한국語、ㄅㄆabC12"), (Words{"한국", "語", "、", "ㄅㄆ", "ab", "C", "1", "2"}));
}

TEST(Pretokenizer, IllFormedBytesAreAWordOfTheirOwn) {
  EXPECT_EQ(split("gpt-2", "ab\xFF\xC3 c"), (Words{"ab", "\xFF\xC3", " c"}));
  EXPECT_EQ(split("gpt-2", "\x80"), (Words{"\x80"}));
}

TEST(Pretokenizer, EveryRuleGivesTheTextBack) {
  for (const std::string_view name : pretokenizer_names()) {
    SCOPED_TRACE(name);
    auto pretokenizer = Pretokenizer::compile(find_pretokenizer(name)->patterns);
    ASSERT_TRUE(pretokenizer.has_value()) << pretokenizer.error().message;
    Pretokenizer::Session session(**pretokenizer);
    testing::for_each_case(30, [&](Rng& rng) {
      constexpr std::string_view kParts[] = {
          "a",    "B",        " ",        "  ",           "\n", "\r\n", "\t",      "1",  "23456", "'s",
          "'LL",  "é",        "猫",       "한",           "ก",  "🦙",   ".",       "!?", "/",     "_",
          "\xFF", "\xE3\x81", "\xC2\xA0", "\xE2\x80\x8B", "²",  "ſ",    "\xCC\x81"};
      std::string text;
      for (uint32_t i = rng.below(30); i > 0; --i) text += kParts[rng.below(std::size(kParts))];
      Collected collected;
      (*pretokenizer)->split(text, session, collected);
      std::string joined;
      for (const std::string& word : collected.words) {
        EXPECT_FALSE(word.empty());
        joined += word;
      }
      EXPECT_EQ(joined, text);
    });
  }
}

TEST(Pretokenizer, AMatchOfNothingCutsNothing) {
  constexpr std::string_view kPatterns[] = {"(?=é)"};
  EXPECT_EQ(split_with(kPatterns, "aéb"), (Words{"aéb"}));
}

TEST(Pretokenizer, AnEndlessSearchEndsInOneWord) {
  constexpr std::string_view kPatterns[] = {"(?:a|aa|aaa)*b|x"};
  const std::string text = std::string(60, 'a') + "c";
  EXPECT_EQ(split_with(kPatterns, text), (Words{text}));
}

TEST(Pretokenizer, AnExpressionThatDoesNotCompileIsNamed) {
  constexpr std::string_view kPatterns[] = {"a(b"};
  const auto result = Pretokenizer::compile(kPatterns);
  ASSERT_FALSE(result.has_value());
  EXPECT_NE(result.error().message.find("a(b"), std::string::npos) << result.error().message;
}

TEST(PretokenizerTable, NamesAreSortedSoThatSearchFindsThem) {
  const std::vector<std::string_view> names = pretokenizer_names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  for (const std::string_view name : names) EXPECT_NE(find_pretokenizer(name), nullptr) << name;
  EXPECT_EQ(find_pretokenizer("gpt-3"), nullptr);
  EXPECT_EQ(find_pretokenizer(""), nullptr);
  EXPECT_NE(find_pretokenizer(kMissingNameRule), nullptr);
  EXPECT_NE(find_pretokenizer(kUnknownNameRule), nullptr);
}

}  // namespace
}  // namespace infer::tokenizer
