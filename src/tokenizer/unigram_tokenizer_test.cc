#include "tokenizer/unigram_tokenizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "testing/property.h"
#include "tokenizer/character_map_bytes.h"
#include "tokenizer/handmade_vocabulary.h"

namespace infer::tokenizer {
namespace {

using Ids = std::vector<TokenId>;
constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};

// <pad> 0, </s> 1, <unk> 2, then words.
struct SmallUnigram {
  explicit SmallUnigram(bool with_bytes = false) {
    words.data().model = "t5";
    add("<pad>", 0, TokenKind::kControl);
    add("</s>", 0, TokenKind::kControl);
    add("<unk>", 0, TokenKind::kUnknown);
    if (with_bytes) words.add_bytes();
    words.data().add_space_prefix = true;
    words.data().remove_extra_whitespaces = true;
  }
  TokenId add(std::string text, float score, TokenKind kind = TokenKind::kNormal) {
    return words.add(std::move(text), kind, score);
  }
  std::unique_ptr<Tokenizer> make() {
    NullLog log;
    auto tokenizer = make_tokenizer(words.data(), log);
    EXPECT_TRUE(tokenizer.has_value()) << tokenizer.error().message;
    return std::move(*tokenizer);
  }
  std::string error() {
    NullLog log;
    auto tokenizer = make_tokenizer(words.data(), log);
    EXPECT_FALSE(tokenizer.has_value());
    if (tokenizer.has_value()) return "";
    EXPECT_EQ(tokenizer.error().code, ErrorCode::kCorrupt);
    return tokenizer.error().message;
  }
  HandmadeVocabulary words;
};

TEST(UnigramTokenizer, TheHighestSumOfScoresWins) {
  SmallUnigram small;
  const TokenId space = small.add("▁", -3);
  const TokenId a = small.add("a", -2), b = small.add("b", -2), ab = small.add("ab", -3), ba = small.add("ba", -1);
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->encode("ab", kPlain), (Ids{space, ab}));      // -3 beats -2 -2.
  EXPECT_EQ(tokenizer->encode("aba", kPlain), (Ids{space, a, ba}));  // -2 -1 beats -3 -2: not greedy.
  EXPECT_EQ(tokenizer->encode("b", {}), (Ids{space, b, 1}));         // T5 puts an EOS behind.
  EXPECT_EQ(tokenizer->encode("", kPlain), Ids{});
}

TEST(UnigramTokenizer, RunsOfSpacesAreJoinedAndDroppedAtTheEnds) {
  SmallUnigram small;
  const TokenId space = small.add("▁", -5), a = small.add("a", -2), space_a = small.add("▁a", -1);
  EXPECT_EQ(small.make()->encode("  a   a ", kPlain), (Ids{space_a, space_a}));
  EXPECT_EQ(small.make()->encode("   ", kPlain), Ids{});
  small.words.data().remove_extra_whitespaces = false;
  EXPECT_EQ(small.make()->encode(" a  a ", kPlain), (Ids{space, space_a, space, space_a, space}));
  small.words.data().add_space_prefix = false;
  EXPECT_EQ(small.make()->encode("a a", kPlain), (Ids{a, space_a}));
  EXPECT_EQ(small.make()->encode("a▁a", kPlain), (Ids{a, space_a})) << "U+2581 is a space";
}

TEST(UnigramTokenizer, ARunOfUnknownCharactersIsOneUnknownToken) {
  SmallUnigram small;
  const TokenId space = small.add("▁", -3), a = small.add("a", -2);
  EXPECT_EQ(small.make()->encode("猫犬a鳥 鳥", kPlain), (Ids{space, 2, a, 2, space, 2}));
}

TEST(UnigramTokenizer, UnknownCharactersBecomeByteTokensWhereThereAreAll) {
  SmallUnigram small(true);
  small.words.data().add_space_prefix = false;
  const TokenId a = small.add("a", -2);
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->encode("é", kPlain), (Ids{3 + 0xC3, 3 + 0xA9}));
  EXPECT_EQ(tokenizer->encode("aé", kPlain), (Ids{a, 3 + 0xC3, 3 + 0xA9}));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("日本語a中文", kPlain), false), "日本語a中文");
}

TEST(UnigramTokenizer, TextIsNormalizedByTheCharacterMap) {
  SmallUnigram small;
  small.words.data().character_map = character_map_bytes({{"ｶﾞ", "ガ"}, {"\u3000", " "}, {"Ａ", "A"}});
  const TokenId space_a = small.add("▁A", -2), ga = small.add("ガ", -2), space = small.add("▁", -2);
  EXPECT_EQ(small.make()->encode("\u3000Ａ\u3000 ｶﾞ", kPlain), (Ids{space_a, space, ga}));
}

TEST(UnigramTokenizer, UserDefinedTokensAreFoundInAnyText) {
  SmallUnigram small;
  const TokenId tag = small.add("<tag>", -1, TokenKind::kUserDefined), space_a = small.add("▁a", -2);
  EXPECT_EQ(small.make()->encode("a<tag>a", kPlain), (Ids{space_a, tag, space_a}));
  EXPECT_EQ(small.make()->encode("</s>", {.add_special = false, .parse_special = true}), (Ids{1}));
  EXPECT_NE(small.make()->encode("</s>", kPlain), (Ids{1}));
}

TEST(UnigramTokenizer, LongTextsWithoutSpacesAreEncodedWhole) {
  SmallUnigram small;
  small.words.data().add_space_prefix = false;
  const TokenId pair = small.add("猫犬", -1);
  small.add("猫", -9);
  small.add("犬", -9);
  std::string text;
  for (int i = 0; i < 100000; ++i) text += "猫犬";
  EXPECT_EQ(small.make()->encode(text, kPlain), Ids(100000, pair));
}

// All ways, by trying.
double best_sum(std::string_view text, const std::vector<std::pair<std::string, float>>& pieces, double unknown) {
  if (text.empty()) return 0;
  double best = -std::numeric_limits<double>::infinity();
  bool holds_character = false;
  for (const auto& [piece, score] : pieces) {
    if (text.substr(0, piece.size()) != piece) continue;
    holds_character = holds_character || piece.size() == 1;
    best = std::max(best, score + best_sum(text.substr(piece.size()), pieces, unknown));
  }
  return holds_character ? best : std::max(best, unknown + best_sum(text.substr(1), pieces, unknown));
}

TEST(UnigramTokenizer, NoOtherWayHasAHigherSum) {
  testing::for_each_case(200, [](Rng& rng) {
    SmallUnigram small;
    small.words.data().add_space_prefix = false;
    std::vector<std::pair<std::string, float>> pieces;
    float least = 0;
    for (int i = 0; i < 8; ++i) {
      std::string text;
      for (uint32_t n = 1 + rng.below(3); n > 0; --n) text.push_back(static_cast<char>('a' + rng.below(3)));
      const float score = -static_cast<float>(1 + rng.below(50)) / 4;
      const bool is_new =
          std::none_of(pieces.begin(), pieces.end(), [&](const auto& piece) { return piece.first == text; });
      if (!is_new) continue;
      pieces.emplace_back(text, score);
      least = std::min(least, score);
      (void)small.add(text, score);
    }
    std::string text;
    for (uint32_t n = 1 + rng.below(8); n > 0; --n) text.push_back(static_cast<char>('a' + rng.below(3)));
    const auto tokenizer = small.make();
    const double unknown = least - 10.0f;
    double sum = 0;
    size_t bytes = 0, runs = 0;
    for (const TokenId id : tokenizer->encode(text, kPlain)) {
      if (id == 2) {
        ++runs;
        continue;
      }
      bytes += tokenizer->piece(id, true).size();
      sum += pieces[static_cast<size_t>(id) - 3].second;
    }
    EXPECT_LE(runs, text.size() - bytes);
    EXPECT_EQ(sum + unknown * static_cast<double>(text.size() - bytes), best_sum(text, pieces, unknown)) << text;
  });
}

TEST(UnigramTokenizer, ScoresThatAreMissingOrNoNumberAreRefused) {
  SmallUnigram infinite;
  (void)infinite.add("a", -std::numeric_limits<float>::infinity());
  EXPECT_NE(infinite.error().find("token 3"), std::string::npos);
  SmallUnigram missing;
  missing.words.data().scores.pop_back();
  EXPECT_NE(missing.error().find("2 scores"), std::string::npos);
  SmallUnigram damaged;
  damaged.words.data().character_map = "abc";
  EXPECT_NE(damaged.error().find("precompiled_charsmap"), std::string::npos);
}

}  // namespace
}  // namespace infer::tokenizer
