#include "tokenizer/vocabulary.h"

#include <gtest/gtest.h>

#include <limits>

#include "tokenizer/handmade_vocabulary.h"

namespace infer::tokenizer {
namespace {

Error error_of(const VocabularyData& data) {
  NullLog log;
  auto tokenizer = make_tokenizer(data, log);
  EXPECT_FALSE(tokenizer.has_value());
  return tokenizer ? Error{} : std::move(tokenizer).error();
}

void expect_corrupt(const VocabularyData& data, std::string_view part) {
  const Error error = error_of(data);
  EXPECT_EQ(error.code, ErrorCode::kCorrupt) << error.message;
  EXPECT_NE(error.message.find(part), std::string::npos) << error.message;
}

struct Spm {
  Spm() {
    words.start_sentencepiece();
    words.add("a", TokenKind::kNormal, -1);
  }
  VocabularyData& data() { return words.data(); }
  HandmadeVocabulary words;
};

struct Bpe {
  Bpe() { words.start_byte_level(); }
  VocabularyData& data() { return words.data(); }
  HandmadeVocabulary words;
};

TEST(MakeTokenizer, AnUnknownModelIsNamedWithTheSupportedOnes) {
  Spm spm;
  spm.data().model = "rwkv\n";
  const Error error = error_of(spm.data());
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_EQ(error.message,
            "tokenizer model \"rwkv\\x0A\" is not supported; supported are \"gpt2\" (byte-level BPE), \"llama\" "
            "(SentencePiece BPE) and \"t5\" (SentencePiece unigram)");
}

TEST(MakeTokenizer, AModelWithoutAVocabularySaysSo) {
  for (const std::string_view model : {"none", "no_vocab"}) {
    VocabularyData data;
    data.model = model;
    const Error error = error_of(data);
    EXPECT_EQ(error.code, ErrorCode::kUnsupported);
    EXPECT_NE(error.message.find("no vocabulary"), std::string::npos) << error.message;
  }
}

TEST(MakeTokenizer, CountsThatDisagreeAreCorrupt) {
  Spm spm;
  spm.data().scores.pop_back();
  expect_corrupt(spm.data(), "259 scores (tokenizer.ggml.scores) for 260 tokens");
  Bpe bpe;
  bpe.data().kinds.push_back(1);
  expect_corrupt(bpe.data(), "257 token types for 256 tokens");
  VocabularyData empty;
  empty.model = "gpt2";
  empty.has_merges = true;
  expect_corrupt(empty, "0 tokens");
}

TEST(MakeTokenizer, TypesAndScoresOutOfRangeAreCorrupt) {
  Spm spm;
  spm.data().scores[259] = std::numeric_limits<float>::quiet_NaN();
  expect_corrupt(spm.data(), "score of token 259");
  Bpe bpe;
  bpe.data().kinds[7] = 9;
  expect_corrupt(bpe.data(), "token 7 has type 9");
  bpe.data().kinds[7] = -1;
  expect_corrupt(bpe.data(), "token 7 has type -1");
}

TEST(MakeTokenizer, SpecialIdsOutOfRangeAreCorruptMinusOneIsNone) {
  Spm spm;
  spm.data().eos = 260;
  expect_corrupt(spm.data(), "EOS token's id is 260, but there are 260 tokens (0 to 259)");
  spm.data().eos = -2;
  expect_corrupt(spm.data(), "EOS token's id is -2");
  spm.data().eos = 0xFFFFFFFF;
  NullLog log;
  const auto tokenizer = make_tokenizer(spm.data(), log);
  ASSERT_TRUE(tokenizer.has_value());
  EXPECT_EQ((*tokenizer)->eos(), kNoToken);
}

TEST(MakeTokenizer, ByteTokensMustNameAByte) {
  for (const std::string_view name : {"<0x-1>", "<0x1>", "<0x100>", "<0xG0>", "", "0x41", "<0x 1>"}) {
    Spm spm;
    spm.data().tokens[5] = name;
    expect_corrupt(spm.data(), "token 5 is a byte token");
  }
}

TEST(MakeTokenizer, MergesMustBeTwoTokens) {
  for (const std::string_view merge : {"", "ab", " ", "a ", " a"}) {
    Bpe bpe;
    bpe.data().merges.push_back(merge);
    expect_corrupt(bpe.data(), "merge 0 is");
  }
  Bpe bpe;
  bpe.data().has_merges = false;
  expect_corrupt(bpe.data(), "needs tokenizer.ggml.merges");
}

TEST(MakeTokenizer, SpecialTokensHaveALongestLength) {
  Bpe bpe;
  bpe.words.add(std::string(kMaxSpecialBytes + 1, 'x'), TokenKind::kUserDefined);
  expect_corrupt(bpe.data(), "special token 256 has 1025 bytes");
}

TEST(MakeTokenizer, EmptyAndDuplicateTokensAreHarmless) {
  Bpe bpe;
  const TokenId he = bpe.words.add_merge("h", "e");
  const TokenId empty = bpe.words.add("");
  const TokenId again = bpe.words.add("he");
  bpe.words.add("", TokenKind::kControl);
  NullLog log;
  const auto tokenizer = make_tokenizer(bpe.data(), log);
  ASSERT_TRUE(tokenizer.has_value());
  EXPECT_EQ((*tokenizer)->encode("he", {}), (std::vector<TokenId>{he}));
  EXPECT_EQ((*tokenizer)->decode({again, empty, he}, true), "hehe");
}

TEST(MakeTokenizer, TypesAreInferredWhereTheFileHasNone) {
  Spm spm;
  spm.data().kinds.clear();
  NullLog log;
  const auto tokenizer = make_tokenizer(spm.data(), log);
  ASSERT_TRUE(tokenizer.has_value());
  EXPECT_EQ((*tokenizer)->token_kind(0), TokenKind::kUnknown);
  EXPECT_EQ((*tokenizer)->token_kind(1), TokenKind::kControl);
  EXPECT_EQ((*tokenizer)->token_kind(3), TokenKind::kByte);
  EXPECT_EQ((*tokenizer)->bos(), 1);
  EXPECT_EQ((*tokenizer)->eos(), 2);
}

TEST(MakeTokenizer, AVocabularyOfOneTokenNeverFails) {
  for (const std::string_view model : {"llama", "gpt2"}) {
    VocabularyData data;
    data.model = model;
    data.tokens = {"x"};
    data.scores = {0};
    data.has_merges = true;
    data.add_bos = true;
    data.add_eos = true;
    NullLog log;
    const auto tokenizer = make_tokenizer(data, log);
    ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().message;
    EXPECT_EQ((*tokenizer)->decode((*tokenizer)->encode("axb\xFF", {}), false).find_first_not_of("x"),
              std::string::npos);
  }
}

TEST(Vocabulary, TheEndOfAPartDoesNotEndTheAnswer) {
  Bpe bpe;
  const TokenId part = bpe.words.add("<|end|>", TokenKind::kControl);
  NullLog log;
  EXPECT_TRUE((*make_tokenizer(bpe.data(), log))->ends_generation(part));
  const TokenId ret = bpe.words.add("<|return|>", TokenKind::kControl);
  bpe.words.add("<|call|>", TokenKind::kControl);
  const auto tokenizer = make_tokenizer(bpe.data(), log);
  EXPECT_FALSE((*tokenizer)->ends_generation(part));
  EXPECT_TRUE((*tokenizer)->ends_generation(ret));
}

}  // namespace
}  // namespace infer::tokenizer
