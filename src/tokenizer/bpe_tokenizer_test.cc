#include "tokenizer/bpe_tokenizer.h"

#include <gtest/gtest.h>

#include "testing/property.h"
#include "tokenizer/handmade_vocabulary.h"

namespace infer::tokenizer {
namespace {

class RecordingLog final : public Log {
 public:
  void write(LogLevel level, std::string_view message) override {
    if (level == LogLevel::kWarning) warnings.emplace_back(message);
  }
  std::vector<std::string> warnings;
};

using Ids = std::vector<TokenId>;

// Byte tokens 0..255; "Ġ" spells a space.
struct SmallBpe {
  SmallBpe() {
    words.start_byte_level();
    he = words.add_merge("h", "e");
    ll = words.add_merge("l", "l");
    hell = words.add_merge("he", "ll");
    space_he = words.add_merge("Ġ", "he");
    hello = words.add("hello");  // No merge makes it.
    user = words.add("«tag»", TokenKind::kUserDefined);
    bos = words.add("<|bos|>", TokenKind::kControl);
    eos = words.add("<|eos|>", TokenKind::kControl);
    end = words.add("<|im_end|>");
    words.data().bos = bos;
    words.data().eos = eos;
  }
  std::unique_ptr<Tokenizer> make() {
    auto tokenizer = make_tokenizer(words.data(), log);
    EXPECT_TRUE(tokenizer.has_value()) << tokenizer.error().message;
    return std::move(*tokenizer);
  }
  HandmadeVocabulary words;
  RecordingLog log;
  TokenId he, ll, hell, space_he, hello, user, bos, eos, end;
};

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};
constexpr EncodeOptions kParsed{.add_special = false, .parse_special = true};

TEST(BpeTokenizer, MergesTheBestPairFirst) {
  SmallBpe small;
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->encode("hell", kPlain), (Ids{small.hell}));
  EXPECT_EQ(tokenizer->encode("hello", kPlain), (Ids{small.hell, 'o'}));
  // "he" ranks above "Ġ he", and "he ll" above it as well.
  EXPECT_EQ(tokenizer->encode(" hell he", kPlain), (Ids{' ', small.hell, small.space_he}));
  EXPECT_EQ(tokenizer->encode("", kPlain), Ids{});
}

TEST(BpeTokenizer, RulesWithWholeWordsTakeATokenThatNoMergeMakes) {
  SmallBpe small;
  small.words.data().pre = "llama-bpe";
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->encode("hello", kPlain), (Ids{small.hello}));
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->encode("hello", {}), (Ids{small.bos, small.hello}));
}

TEST(BpeTokenizer, SpecialTokensAreReadOnlyWhereAskedUserDefinedOnesAlways) {
  SmallBpe small;
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->encode("he<|eos|>he", kParsed), (Ids{small.he, small.eos, small.he}));
  EXPECT_EQ(tokenizer->encode("<|eos|>", kPlain), (Ids{'<', '|', 'e', 'o', 's', '|', '>'}));
  EXPECT_EQ(tokenizer->encode("he«tag»he", kPlain), (Ids{small.he, small.user, small.he}));
}

TEST(BpeTokenizer, NamesOfEndTokensMakeThemControlTokens) {
  SmallBpe small;
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->token_kind(small.end), TokenKind::kControl);
  EXPECT_TRUE(tokenizer->ends_generation(small.end));
  EXPECT_TRUE(tokenizer->ends_generation(small.eos));
  EXPECT_FALSE(tokenizer->ends_generation(small.bos));
  EXPECT_FALSE(tokenizer->ends_generation(kNoToken));
}

TEST(BpeTokenizer, PiecesHideControlTokensAndBearAnyId) {
  SmallBpe small;
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->piece(small.eos, false), "");
  EXPECT_EQ(tokenizer->piece(small.eos, true), "<|eos|>");
  EXPECT_EQ(tokenizer->piece(small.space_he, false), " he");
  EXPECT_EQ(tokenizer->token_text(small.space_he), "Ġhe");
  EXPECT_EQ(tokenizer->piece(small.user, false), "«tag»");
  EXPECT_EQ(tokenizer->piece(1 << 30, true), "");
  EXPECT_EQ(tokenizer->piece(-1, true), "");
  EXPECT_EQ(tokenizer->token_text(-5), "");
}

TEST(BpeTokenizer, AnyBytesComeBack) {
  SmallBpe small;
  const auto tokenizer = small.make();
  testing::for_each_case(200, [&](Rng& rng) {
    std::string text;
    const bool is_long = rng.below(10) == 0;  // Long texts go through the word cache.
    for (uint32_t i = rng.below(is_long ? 9000 : 60); i > 0; --i) {
      constexpr std::string_view kParts[] = {"hell", "he", " ", "l", "«tag»", "<|eos|>", "猫", "\n", "7"};
      const uint32_t choice = rng.below(std::size(kParts) + 2);
      text +=
          choice < std::size(kParts) ? std::string(kParts[choice]) : std::string(1, static_cast<char>(rng.below(256)));
    }
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, kPlain), false), text);
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, kParsed), true), text);
  });
}

TEST(BpeTokenizer, TheWordCacheChangesNothing) {
  SmallBpe small;
  const auto tokenizer = small.make();
  std::string text;
  Ids expected;
  for (int i = 0; text.size() < 20000; ++i) {
    const std::string word = i % 3 == 0   ? " hell"
                             : i % 3 == 1 ? " he"
                                          : " lll" + std::string(1, static_cast<char>('a' + i % 26));
    const Ids ids = tokenizer->encode(word, kPlain);
    expected.insert(expected.end(), ids.begin(), ids.end());
    text += word;
  }
  EXPECT_EQ(tokenizer->encode(text, kPlain), expected);
}

TEST(BpeTokenizer, OneHugeWordIsEncodedWhole) {
  SmallBpe small;
  const auto tokenizer = small.make();
  const Ids ids = tokenizer->encode(std::string(1 << 20, 'l'), kPlain);
  EXPECT_EQ(ids, Ids(1 << 19, small.ll));
}

TEST(BpeTokenizer, BytesWithoutATokenAreLeftOut) {
  HandmadeVocabulary words;
  words.data().model = "gpt2";
  words.data().pre = "gpt-2";
  words.data().has_merges = true;
  for (int byte = 0; byte < 256; ++byte) {
    if (byte != 0xF5) words.add(spelled_byte(static_cast<unsigned char>(byte)));
  }
  NullLog log;
  const auto tokenizer = make_tokenizer(words.data(), log);
  ASSERT_TRUE(tokenizer.has_value());
  EXPECT_EQ((*tokenizer)->decode((*tokenizer)->encode("a\xF5z", kPlain), false), "az");
}

TEST(BpeTokenizer, AnUnknownPreTokenizerFallsBackAndSaysSo) {
  SmallBpe small;
  small.words.data().pre = "brand-new\x1B[31m";
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->pre_name(), "gpt-2");
  ASSERT_EQ(small.log.warnings.size(), 1u);
  EXPECT_NE(small.log.warnings[0].find("\"brand-new\\x1B[31m\""), std::string::npos) << small.log.warnings[0];
}

TEST(BpeTokenizer, AMissingPreTokenizerIsTheDefaultOne) {
  SmallBpe small;
  small.words.data().pre.reset();
  EXPECT_EQ(small.make()->pre_name(), "default");
  EXPECT_EQ(small.log.warnings.size(), 1u);
}

TEST(BpeTokenizer, MergesOfMissingTokensAreIgnoredWithAWarning) {
  SmallBpe small;
  small.words.data().merges.push_back("q zz");
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->encode("hell", kPlain), (Ids{small.hell}));
  ASSERT_EQ(small.log.warnings.size(), 1u);
  EXPECT_NE(small.log.warnings[0].find("1 of 5 merges"), std::string::npos) << small.log.warnings[0];
}

TEST(BpeTokenizer, MergesNeverMakeControlTokens) {
  SmallBpe small;
  small.words.data().merges.push_back("< |");
  const TokenId control = small.words.add("<|", TokenKind::kControl);
  const auto tokenizer = small.make();
  EXPECT_EQ(tokenizer->encode("<|", kPlain), (Ids{'<', '|'}));
  EXPECT_EQ(tokenizer->encode("<|", kParsed), (Ids{control}));
}

}  // namespace
}  // namespace infer::tokenizer
