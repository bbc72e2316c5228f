#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gguf/file.h"
#include "gguf/writer.h"
#include "tokenizer/handmade_vocabulary.h"

namespace infer::tokenizer {
namespace {

// A GGUF file in memory; `fill` adds its metadata.
template <class Fill>
Result<std::unique_ptr<Tokenizer>> load(const Fill& fill) {
  gguf::Writer writer;
  fill(writer);
  gguf::MemorySink sink;
  auto data = std::move(writer).write_header(&sink);
  EXPECT_TRUE(data.has_value());
  EXPECT_TRUE(data->finish().has_value());
  auto file = gguf::File::parse(sink.bytes(), "test.gguf");
  EXPECT_TRUE(file.has_value()) << file.error().message;
  NullLog log;
  return Tokenizer::from_gguf(**file, log);  // The tokenizer outlives the file.
}

template <class T>
void put(gguf::Writer& writer, std::string_view key, T value) {
  EXPECT_TRUE(writer.add(key, value).has_value());
}

void put_sentencepiece(gguf::Writer& writer) {
  HandmadeVocabulary words;
  words.start_sentencepiece();
  words.add("▁a", TokenKind::kNormal, -1);
  words.add("a", TokenKind::kNormal, -2);
  words.add("<|end|>", TokenKind::kControl);
  const VocabularyData& data = words.data();
  const std::vector<int32_t> kinds(data.kinds.begin(), data.kinds.end());
  EXPECT_TRUE(writer.add_string("tokenizer.ggml.model", "llama").has_value());
  EXPECT_TRUE(writer.add_strings("tokenizer.ggml.tokens", data.tokens).has_value());
  EXPECT_TRUE(writer.add_array<float>("tokenizer.ggml.scores", data.scores).has_value());
  EXPECT_TRUE(writer.add_array<int32_t>("tokenizer.ggml.token_type", kinds).has_value());
}

constexpr TokenId kSpaceA = 259, kA = 260, kEnd = 261;
using Ids = std::vector<TokenId>;

TEST(TokenizerFromGguf, ReadsASentencePieceVocabulary) {
  const auto tokenizer = load(put_sentencepiece);
  ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->model_name(), "llama");
  EXPECT_EQ((*tokenizer)->encode("a", {}), (Ids{1, kSpaceA}));
  EXPECT_EQ((*tokenizer)->token_kind(5), TokenKind::kByte);
  EXPECT_EQ((*tokenizer)->eos(), 2);
}

TEST(TokenizerFromGguf, FlagsAndIdsOfTheFileCount) {
  const auto tokenizer = load([](gguf::Writer& writer) {
    put_sentencepiece(writer);
    put(writer, "tokenizer.ggml.add_bos_token", false);
    put(writer, "tokenizer.ggml.add_eos_token", true);
    put(writer, "tokenizer.ggml.add_space_prefix", false);
    put(writer, "tokenizer.ggml.eos_token_id", uint32_t{kEnd});
  });
  ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->encode("a", {}), (Ids{kA, kEnd}));
}

TEST(TokenizerFromGguf, PhiThreeIsKnownByItsName) {
  const auto tokenizer = load([](gguf::Writer& writer) {
    put_sentencepiece(writer);
    EXPECT_TRUE(writer.add_string("general.name", "Phi-3 mini").has_value());
  });
  ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->encode("<|end|>\n a", {.add_special = false, .parse_special = true}), (Ids{kEnd, kSpaceA}));
}

TEST(TokenizerFromGguf, AFileWithoutATokenizerHasNoVocabulary) {
  const auto tokenizer = load([](gguf::Writer&) {});
  ASSERT_FALSE(tokenizer.has_value());
  EXPECT_EQ(tokenizer.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(tokenizer.error().message.rfind("test.gguf: the model has no vocabulary", 0), 0u)
      << tokenizer.error().message;
}

TEST(TokenizerFromGguf, WrongTypesNameTheKey) {
  const auto expect_named = [](const Result<std::unique_ptr<Tokenizer>>& tokenizer, std::string_view key) {
    ASSERT_FALSE(tokenizer.has_value()) << key;
    EXPECT_EQ(tokenizer.error().code, ErrorCode::kCorrupt) << tokenizer.error().message;
    EXPECT_NE(tokenizer.error().message.find(key), std::string::npos) << tokenizer.error().message;
  };
  for (const std::string_view key :
       {"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.scores",
        "tokenizer.ggml.token_type", "tokenizer.ggml.merges", "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eot_token_id", "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_space_prefix"}) {
    const auto tokenizer = load([&](gguf::Writer& writer) { put(writer, key, 1.5f); });
    expect_named(tokenizer, key);
  }
}

}  // namespace
}  // namespace infer::tokenizer
