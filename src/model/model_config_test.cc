#include "model/model_config.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "testing/random_model.h"

namespace infer::model {
namespace {

using testing::RandomModel;

Result<ModelConfig> read(const RandomModel& random) {
  const std::vector<std::byte> bytes = testing::write_model(random);
  return read_model_config(*gguf::File::parse(bytes, "m").value());
}

void expect_refused(const RandomModel& random, ErrorCode code, std::string_view part) {
  const auto config = read(random);
  ASSERT_FALSE(config.has_value()) << "expected: " << part;
  EXPECT_EQ(config.error().code, code) << config.error().message;
  EXPECT_NE(config.error().message.find(part), std::string::npos) << config.error().message;
}

TEST(ModelConfig, ReadsALlama) {
  const auto config = read({.rope_dims = 8, .linear_factor = 4, .strings = {{"general.name", "tiny"}}});
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->architecture, "llama");
  EXPECT_EQ(config->name, "tiny");
  EXPECT_EQ(config->layers, 2);
  EXPECT_EQ(config->width, 64);
  EXPECT_EQ(config->heads, 4);
  EXPECT_EQ(config->kv_heads, 2);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->ffn_width, 96);
  EXPECT_EQ(config->vocabulary, 80);
  EXPECT_EQ(config->context_trained, 2048);
  EXPECT_FLOAT_EQ(config->norm_epsilon, 1e-5f);
  EXPECT_FLOAT_EQ(config->attention_scale, 0.25f);
  EXPECT_EQ(config->ropes[0].pairing, RopePairing::kAdjacent);
  EXPECT_EQ(config->ropes[0].dims, 8);
  EXPECT_FLOAT_EQ(config->ropes[0].position_scale, 0.25f);
}

TEST(ModelConfig, FillsInWhatOldFilesLeaveOut) {
  const auto config = read(
      {.kv_heads = 4,
       .floats = {{"llama.rope.scale_linear", 2.0f}},
       .without = {"llama.attention.head_count_kv", "llama.attention.key_length", "llama.attention.value_length"}});
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->kv_heads, 4);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->ropes[0].dims, 16);
  EXPECT_FLOAT_EQ(config->ropes[0].freq_base, 10000.0f);
  EXPECT_FLOAT_EQ(config->ropes[0].position_scale, 0.5f);
}

TEST(ModelConfig, NamesAnUnknownArchitectureAndTheKnownOnes) {
  expect_refused({.strings = {{"general.architecture", "mamba\x1b"}}}, ErrorCode::kUnsupported,
                 "'mamba\\x1b' cannot be run; known ones: llama");
  expect_refused({.without = {"general.architecture"}}, ErrorCode::kNotFound, "general.architecture");
  EXPECT_EQ(known_architectures().front(), "llama");
}

TEST(ModelConfig, RefusesDimensionsOutOfRange) {
  for (const char* key : {"llama.block_count", "llama.embedding_length", "llama.feed_forward_length",
                          "llama.context_length", "llama.attention.head_count", "llama.attention.head_count_kv",
                          "llama.attention.key_length", "llama.attention.value_length"}) {
    expect_refused({.integers = {{key, 0}}}, ErrorCode::kCorrupt, std::string(key) + " must be from 1 to");
    expect_refused({.integers = {{key, 0xFFFFFFFF}}}, ErrorCode::kCorrupt, std::string(key) + " must be from 1 to");
  }
  for (const char* key : {"llama.block_count", "llama.embedding_length", "llama.feed_forward_length",
                          "llama.context_length", "llama.attention.head_count"}) {
    expect_refused({.without = {key}}, ErrorCode::kNotFound, key);
  }
}

TEST(ModelConfig, RefusesWhatDoesNotFitTogether) {
  expect_refused({.integers = {{"llama.attention.head_count_kv", 3}}}, ErrorCode::kCorrupt,
                 "llama.attention.head_count (4) is not a multiple of llama.attention.head_count_kv (3)");
  expect_refused({.integers = {{"llama.attention.head_count", 10}},
                  .without = {"llama.attention.key_length", "llama.attention.value_length"}},
                 ErrorCode::kCorrupt, "llama.embedding_length is 64, not a multiple of");
  expect_refused({.integers = {{"llama.attention.key_length", 32}}}, ErrorCode::kUnsupported,
                 "models where they are equal");
  expect_refused({.integers = {{"llama.attention.key_length", 24}, {"llama.attention.value_length", 24}}},
                 ErrorCode::kUnsupported, "heads of dimension 24");
  expect_refused({.integers = {{"llama.attention.key_length", 512}, {"llama.attention.value_length", 512}}},
                 ErrorCode::kUnsupported, "heads of dimension 512");
  expect_refused({.integers = {{"llama.attention.head_count", 4096},
                               {"llama.attention.key_length", 256},
                               {"llama.attention.value_length", 256}}},
                 ErrorCode::kCorrupt, "4096 heads of dimension 256 are 1048576 wide");
  expect_refused({.integers = {{"llama.vocab_size", 79}}}, ErrorCode::kCorrupt,
                 "llama.vocab_size is 79, but tensor token_embd.weight has 80 rows");
  expect_refused({.without = {"token_embd.weight"}}, ErrorCode::kCorrupt, "token_embd.weight is missing");
}

TEST(ModelConfig, ReadsAMixtureOfExperts) {
  const auto config = read({.experts = 8, .experts_used = 3, .integers = {{"llama.expert_feed_forward_length", 32}}});
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->experts.count, 8);
  EXPECT_EQ(config->experts.used, 3);
  EXPECT_EQ(config->ffn_width, 32);
}

TEST(ModelConfig, RefusesExpertsThatAreTooManyOrNotAskedFor) {
  expect_refused({.integers = {{"llama.expert_count", 8}}}, ErrorCode::kNotFound, "llama.expert_used_count");
  expect_refused({.experts = 4, .experts_used = 5}, ErrorCode::kCorrupt, "llama.expert_used_count must be from 1 to 4");
  expect_refused({.experts = 4, .integers = {{"llama.expert_count", 5000}}}, ErrorCode::kCorrupt,
                 "llama.expert_count must be from 1 to 4096");
  expect_refused({.layers = 1000, .experts = 2, .integers = {{"llama.expert_count", 4000}}}, ErrorCode::kCorrupt,
                 "1000 layers of 4000 experts");
  RandomModel dense;
  dense.strings["general.architecture"] = "qwen2";
  for (const char* key : {"block_count", "embedding_length", "feed_forward_length", "context_length"}) {
    dense.integers[std::string("qwen2.") + key] = 64;
  }
  dense.integers["qwen2.attention.head_count"] = 4;
  dense.floats["qwen2.attention.layer_norm_rms_epsilon"] = 1e-5f;
  ASSERT_TRUE(read(dense).has_value());
  dense.integers["qwen2.expert_count"] = 8;
  expect_refused(dense, ErrorCode::kUnsupported, "a mixture of 8 experts (qwen2.expert_count)");
}

TEST(ModelConfig, RefusesRotationsThatMakeNoSense) {
  expect_refused({.integers = {{"llama.rope.dimension_count", 7}}}, ErrorCode::kCorrupt, "coordinates rotate in pairs");
  expect_refused({.integers = {{"llama.rope.dimension_count", 18}}}, ErrorCode::kCorrupt, "must be from 1 to 16");
  expect_refused({.strings = {{"llama.rope.scaling.type", "ntk"}}}, ErrorCode::kUnsupported, "'ntk'");
  EXPECT_TRUE(read({.strings = {{"llama.rope.scaling.type", "none"}}}).has_value());
}

TEST(ModelConfig, RefusesNumbersThatAreNotAboveZero) {
  for (const char* key :
       {"llama.attention.layer_norm_rms_epsilon", "llama.rope.freq_base", "llama.rope.scaling.factor"}) {
    for (const float value :
         {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      expect_refused({.floats = {{key, value}}}, ErrorCode::kCorrupt, key);
    }
  }
}

}  // namespace
}  // namespace infer::model
