// Expected ids of real vocabularies, made by llama.cpp: tests/golden/tokens-tales.txt for the embedded model, and
// llama.cpp's own test strings for known models. Those lie in the folder that INFEROS_TEST_DATA names, as
// vocab/NAME.{gguf,inp,out}; without it their tests are skipped.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "tokenizer/tokenizer.h"

namespace infer::tokenizer {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::unique_ptr<Tokenizer> load(const std::string& path) {
  auto file = gguf::File::open(path);
  EXPECT_TRUE(file.has_value()) << file.error().message;
  if (!file) return nullptr;
  NullLog log;
  auto tokenizer = Tokenizer::from_gguf(**file, log);
  EXPECT_TRUE(tokenizer.has_value()) << tokenizer.error().message;
  return tokenizer ? std::move(*tokenizer) : nullptr;
}

std::vector<TokenId> parse_ids(const std::string& line) {
  std::istringstream numbers(line);
  return {std::istream_iterator<TokenId>(numbers), {}};
}

class Golden : public ::testing::TestWithParam<const char*> {};

TEST_P(Golden, EveryStringHasTheExpectedIds) {
  const char* data = std::getenv("INFEROS_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "set INFEROS_TEST_DATA to a folder with vocab/*.gguf, .inp and .out to run this";
  const std::string stem = std::string(data) + "/vocab/" + GetParam();
  const auto tokenizer = load(stem + ".gguf");
  ASSERT_NE(tokenizer, nullptr);
  const std::string texts = read_text(stem + ".inp");
  std::istringstream lines(read_text(stem + ".out"));
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  int strings = 0;
  for (size_t at = 0, end = 0; (end = texts.find(kSeparator, at)) != std::string::npos; at = end + kSeparator.size()) {
    const std::string text = texts.substr(at, end - at);
    std::string line;
    ASSERT_TRUE(std::getline(lines, line)) << "fewer lines of ids than strings";
    const std::vector<TokenId> ids = tokenizer->encode(text, {.add_special = false, .parse_special = false});
    EXPECT_EQ(ids, parse_ids(line)) << text;
    const std::string back = tokenizer->decode(ids, false);
    EXPECT_TRUE(back == text || back == " " + text) << text;
    ++strings;
  }
  EXPECT_EQ(strings, 46);
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, Golden,
                         ::testing::Values("gpt-2", "llama-spm", "phi-3", "falcon", "starcoder", "deepseek-coder"),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

constexpr const char* kTales = INFER_SOURCE_DIR "/models/tales-q8_0.gguf";

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

TEST(EmbeddedModel, ItsTokenizerReadsAndWritesEnglish) {
  const auto tokenizer = load(kTales);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->model_name(), "gpt2");
  EXPECT_EQ(tokenizer->pre_name(), "gpt-2");
  EXPECT_EQ(tokenizer->vocabulary_size(), 4096);
  EXPECT_TRUE(tokenizer->ends_generation(4095));
  const std::vector<TokenId> ids = tokenizer->encode("Once upon a time", {});
  ASSERT_FALSE(ids.empty());
  EXPECT_EQ(ids.front(), 4094);
  EXPECT_EQ(tokenizer->decode(ids, false), "Once upon a time");
  EXPECT_EQ(tokenizer->decode(ids, true), "<|bos|>Once upon a time");
}

// Each line: plain|special HEX ID..., the format of tests/golden/README.md; "plain" stands for both where it is alone.
TEST(EmbeddedModel, GoldenStringsHaveLlamaCppsIds) {
  const auto tokenizer = load(kTales);
  ASSERT_NE(tokenizer, nullptr);
  std::istringstream lines(read_text(INFER_SOURCE_DIR "/tests/golden/tokens-tales.txt"));
  int checked = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream fields(line);
    std::string kind, hex;
    fields >> kind >> hex;
    const std::vector<TokenId> expected{std::istream_iterator<TokenId>(fields), {}};
    const std::string text = from_hex(hex);
    EXPECT_EQ(tokenizer->encode(text, {.add_special = false, .parse_special = kind == "special"}), expected) << text;
    EXPECT_EQ(tokenizer->decode(expected, true), text);
    ++checked;
  }
  EXPECT_GE(checked, 249);
}

}  // namespace
}  // namespace infer::tokenizer
