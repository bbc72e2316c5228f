// What each architecture makes of a file's metadata, where the golden models (tests/golden/) do not reach: sizes that
// only large models have, and keys that make no sense.
#include "model/architecture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "testing/random_model.h"

namespace infer::model {
namespace {

using testing::RandomModel;

// The metadata of a Llama under another name, with what is added to it.
RandomModel of(const std::string& architecture) {
  RandomModel model{.architecture = architecture, .layers = 6};
  model.floats[architecture + ".attention.layer_norm_epsilon"] = 1e-5f;
  return model;
}

Result<ModelConfig> read(const RandomModel& random) {
  const std::vector<std::byte> bytes = testing::write_model(random);
  return read_model_config(*gguf::File::parse(bytes, "m").value());
}

void expect_refused(const RandomModel& random, std::string_view part) {
  const auto config = read(random);
  ASSERT_FALSE(config.has_value()) << "expected: " << part;
  EXPECT_NE(config.error().message.find(part), std::string::npos) << config.error().message;
}

TEST(Architecture, EveryOneReadsTheKeysThatAllShare) {
  for (const Architecture& architecture : architectures()) {
    const auto config = read(of(std::string(architecture.name)));
    ASSERT_TRUE(config.has_value()) << architecture.name << ": " << config.error().message;
    EXPECT_EQ(config->layers, 6);
    EXPECT_EQ(config->layer.size(), 6u);
    ASSERT_FALSE(config->ropes.empty());
    for (const LayerDescription& layer : config->layer) {
      ASSERT_LT(static_cast<size_t>(layer.rope), config->ropes.size()) << architecture.name;
    }
    for (const RopeConfig& rope : config->ropes) EXPECT_EQ(rope.dims, config->ropes.front().dims);
  }
}

TEST(Architecture, Gemma3RotatesLayersWithAWindowByTheirOwnBase) {
  RandomModel model = of("gemma3");
  model.integers["gemma3.attention.sliding_window"] = 1024;
  model.floats["gemma3.rope.freq_base"] = 1e6f;
  model.floats["gemma3.rope.scaling.factor"] = 8.0f;
  const auto config = read(model);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  for (int i = 0; i < 6; ++i) {
    const LayerDescription& layer = config->layer[static_cast<size_t>(i)];
    const RopeConfig& rope = config->ropes[static_cast<size_t>(layer.rope)];
    EXPECT_EQ(layer.window, i < 5 ? 1024 : 0) << i;
    EXPECT_EQ(rope.freq_base, i < 5 ? 10000.0f : 1e6f) << i;
    EXPECT_EQ(rope.position_scale, i < 5 ? 1.0f : 0.125f) << i;
  }
  EXPECT_FLOAT_EQ(config->embedding_scale, 8.0f);
  EXPECT_FLOAT_EQ(config->attention_scale, 0.25f);
}

TEST(Architecture, TheLargestGemmasScaleScoresByTheWidthOfAHeadsShare) {
  for (const auto& [name, layers] : {std::pair{"gemma2", 46}, {"gemma3", 62}}) {
    RandomModel model = of(name);
    model.layers = layers;
    model.width = 128;
    const auto config = read(model);
    ASSERT_TRUE(config.has_value()) << config.error().message;
    EXPECT_FLOAT_EQ(config->attention_scale, 1.0f / std::sqrt(128.0f / 4.0f)) << name;
  }
}

TEST(Architecture, YarnLengthensQueriesAndKeysWithTheContext) {
  RandomModel model = of("llama");
  model.strings["llama.rope.scaling.type"] = "yarn";
  model.floats["llama.rope.scaling.factor"] = 4.0f;
  model.integers["llama.rope.scaling.original_context_length"] = 512;
  const auto config = read(model);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->ropes[0].yarn.original_context, 512);
  EXPECT_NEAR(config->ropes[0].magnitude, 1.0 + 0.1 * std::log(4.0), 1e-6);
  model.floats["llama.rope.scaling.yarn_ext_factor"] = 0.5f;
  expect_refused(model, "llama.rope.scaling.yarn_ext_factor is 0.5: this build knows only 1");
}

TEST(Architecture, RefusesWindowsAndCapsThatMakeNoSense) {
  RandomModel model = of("gemma2");
  model.integers["gemma2.attention.sliding_window_pattern"] = 0;
  expect_refused(model, "gemma2.attention.sliding_window_pattern must be from 1 to");
  model = of("gemma2");
  model.floats["gemma2.attn_logit_softcapping"] = -50.0f;
  expect_refused(model, "gemma2.attn_logit_softcapping must be a number above 0");
  model.floats["gemma2.attn_logit_softcapping"] = 0.0f;
  EXPECT_TRUE(read(model).has_value());
}

TEST(Architecture, AWindowMayBeLongerThanAnyContext) {
  RandomModel model = of("gpt-oss");
  model.integers["gpt-oss.attention.sliding_window"] = 0xFFFFFFFF;
  const auto config = read(model);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->layer[0].window, kContextMax);
  EXPECT_EQ(config->layer[1].window, 0);
}

}  // namespace
}  // namespace infer::model
