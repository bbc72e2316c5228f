#include "tokenizer/spm_tokenizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "testing/property.h"
#include "tokenizer/handmade_vocabulary.h"

namespace infer::tokenizer {
namespace {

using Ids = std::vector<TokenId>;
constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};
constexpr EncodeOptions kParsed{.add_special = false, .parse_special = true};

struct SmallSpm {
  SmallSpm() {
    words.start_sentencepiece();
    space = words.add("▁", TokenKind::kNormal, -10);
    a = words.add("a", TokenKind::kNormal, -11);
    b = words.add("b", TokenKind::kNormal, -12);
    ab = words.add("ab", TokenKind::kNormal, -2);
    space_a = words.add("▁a", TokenKind::kNormal, -1);
    ba = words.add("ba", TokenKind::kNormal, -2);
    two_spaces = words.add("▁▁", TokenKind::kNormal, -3);
    tag = words.add("<tag>", TokenKind::kUserDefined);
  }
  std::unique_ptr<Tokenizer> make() {
    NullLog log;
    auto tokenizer = make_tokenizer(words.data(), log);
    EXPECT_TRUE(tokenizer.has_value()) << tokenizer.error().message;
    return std::move(*tokenizer);
  }
  HandmadeVocabulary words;
  TokenId space, a, b, ab, space_a, ba, two_spaces, tag;
};

TokenId byte_id(unsigned char byte) { return 3 + byte; }

TEST(SpmTokenizer, TheBestScoreJoinsFirstTheLeftmostOfEquals) {
  SmallSpm small;
  small.words.data().add_space_prefix = false;
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->encode("aba", kPlain), (Ids{small.ab, small.a}));
  EXPECT_EQ(tokenizer->encode(" ab", kPlain), (Ids{small.space_a, small.b}));  // "▁a" beats "ab".
  EXPECT_EQ(tokenizer->encode("", kPlain), Ids{});
}

TEST(SpmTokenizer, ASpaceGoesInFrontOfTheTextAndBehindSpecialTokens) {
  SmallSpm small;
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->encode("a", {}), (Ids{1, small.space_a}));
  EXPECT_EQ(tokenizer->encode("a<s>a", kParsed), (Ids{small.space_a, 1, small.space_a}));
  EXPECT_EQ(tokenizer->encode("a<tag>a", kPlain), (Ids{small.space_a, small.tag, small.space_a}));
  EXPECT_EQ(tokenizer->encode("", {}), (Ids{1}));
}

TEST(SpmTokenizer, UnknownCharactersBecomeByteTokens) {
  SmallSpm small;
  small.words.data().add_space_prefix = false;
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->encode("a猫", kPlain), (Ids{small.a, byte_id(0xE7), byte_id(0x8C), byte_id(0xAB)}));
  EXPECT_EQ(tokenizer->encode("\xFF", kPlain), (Ids{byte_id(0xFF)}));
  EXPECT_EQ(tokenizer->piece(byte_id(0xFF), false), "\xFF");
}

TEST(SpmTokenizer, TextThatLooksLikeAByteOrControlTokenStaysText) {
  SmallSpm small;
  small.words.data().add_space_prefix = false;
  small.words.add("<0x", TokenKind::kNormal, -1);
  small.words.add("<s", TokenKind::kNormal, -1);
  small.words.add("s>", TokenKind::kNormal, -1);
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("<0x0A>", kPlain), false), "<0x0A>");
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("<s>", kPlain), false), "<s>");
}

TEST(SpmTokenizer, ASpaceMarkInTheTextIsASpace) {
  SmallSpm small;
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->encode("a▁a▁", kPlain), tokenizer->encode("a a ", kPlain));
  EXPECT_EQ(tokenizer->encode("\xE2\x96", kPlain), (Ids{small.space, 3 + 0xE2, 3 + 0x96}));  // Half of one is none.
}

TEST(SpmTokenizer, PhiThreesSpecialTokensEatWhitespace) {
  SmallSpm small;
  small.words.data().special_tokens_eat_whitespace = true;
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->encode("</s> \n a", kParsed), (Ids{2, small.space_a}));
  EXPECT_EQ(tokenizer->encode("<s> a", kParsed), (Ids{1, small.space, small.space_a}));  // Not behind <s>.
}

TEST(SpmTokenizer, CuttingAtSpacesChangesNothing) {
  SmallSpm cut;
  SmallSpm whole;
  whole.words.add("b▁zzz", TokenKind::kNormal, -30);  // A token across words, of no use here: no cutting any more.
  const auto cutting = cut.make();
  const auto plain = whole.make();
  testing::for_each_case(300, [&](Rng& rng) {
    std::string text;
    const uint32_t size = rng.below(rng.below(10) == 0 ? 6000 : 40);
    for (uint32_t i = 0; i < size; ++i) text += std::string_view("ab  c")[rng.below(5)];
    EXPECT_EQ(cutting->encode(text, kPlain), plain->encode(text, kPlain)) << text;
  });
}

TEST(SpmTokenizer, AnyBytesComeBackBehindTheSpace) {
  SmallSpm small;
  const auto tokenizer = small.make();
  testing::for_each_case(200, [&](Rng& rng) {
    std::string text = "x";
    for (uint32_t i = rng.below(rng.below(10) == 0 ? 9000 : 50); i > 0; --i) {
      const uint32_t choice = rng.below(8);
      text += choice < 5 ? std::string(1, "ab <\n"[choice]) : std::string(1, static_cast<char>(rng.below(256)));
    }
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, kPlain), false), " " + text);
  });
}

TEST(SpmTokenizer, OneHugeWordIsEncodedWhole) {
  SmallSpm small;
  small.words.data().add_space_prefix = false;
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->encode(std::string(1 << 20, ' '), kPlain), Ids(1 << 19, small.two_spaces));
  EXPECT_EQ(tokenizer->encode(std::string(1 << 20, 'a'), kPlain), Ids(1 << 20, small.a));
}

TEST(SpmTokenizer, WithoutByteTokensTheUnknownTokenStandsIn) {
  HandmadeVocabulary words;
  words.data().model = "llama";
  words.add("<unk>", TokenKind::kUnknown);
  words.add("<s>", TokenKind::kControl);
  words.add("</s>", TokenKind::kControl);
  const TokenId a = words.add("a", TokenKind::kNormal, -1);
  words.data().add_space_prefix = false;
  NullLog log;
  const auto tokenizer = make_tokenizer(words.data(), log);
  ASSERT_TRUE(tokenizer.has_value());
  EXPECT_EQ((*tokenizer)->encode("a猫a", kPlain), (Ids{a, 0, a}));
}

}  // namespace
}  // namespace infer::tokenizer
