#include "api/settings_json.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "testing/property.h"

namespace infer::api {
namespace {

using control::Config;
using control::Setting;
using control::SettingScope;

std::string error_of(std::string_view text, Config& config, SettingScope scope = SettingScope::kPolicy) {
  const Status status = apply_json(text, scope, config);
  return status ? "" : status.error().message;
}

TEST(SettingsJson, APartialDocumentChangesOnlyWhatItNames) {
  Config config;
  ASSERT_EQ(
      error_of(R"({"kv":{"mode":"quality_optimized","level_thresholds":{"L1_int8":1}},"io":{"dml_pool_bytes":"2GB"}})",
               config),
      "");
  EXPECT_EQ(config.policy.kv.mode, kv::KvMode::kQuality);
  EXPECT_EQ(config.policy.kv.level_thresholds.l1_int8, 1);
  EXPECT_EQ(config.policy.kv.level_thresholds.l2_int4, 0.5);
  EXPECT_EQ(config.policy.kv.recent_window, 64);
  EXPECT_EQ(config.policy.io.dml_pool_bytes, 2000000000u);
  EXPECT_EQ(error_of("{}", config), "");
  EXPECT_EQ(error_of(R"({"kv":{}})", config), "");
}

TEST(SettingsJson, ErrorsAreThoseOfTheSettings) {
  Config config;
  EXPECT_EQ(error_of(R"({"kv":{"recent_window":1024}})", config), "recent_window must be between 16 and 512");
  EXPECT_EQ(error_of("[]", config), "the document must be a JSON object");
  EXPECT_EQ(error_of(R"({"kv.mode":"dynamic"})", config).substr(0, 11), "unknown key");
  EXPECT_NE(error_of("{", config), "");
  EXPECT_NE(error_of("", config), "");
  EXPECT_NE(error_of(R"({"kv":{"recent_window":[]}})", config), "");
  EXPECT_NE(error_of(R"({"kv":{"recent_window":{}}})", config), "");
  EXPECT_NE(error_of(R"({"kv":{"recent_window":null}})", config), "");
  EXPECT_NE(error_of(R"({"kv":null})", config), "");
}

TEST(SettingsJson, WhatIsWrittenIsReadBackToTheSame) {
  Config config;
  ASSERT_EQ(error_of(R"({"kv":{"recent_window":77},"model":{"path":"m.gguf"},"log_level":"warn"})", config,
                     SettingScope::kConfig),
            "");
  const std::string text = settings_json(config, SettingScope::kConfig).dump();
  Config copy;
  // The token is the one thing that is not written.
  const std::string without_token = std::string(text).replace(text.find("\"token\":null"), 12, "\"token\":\"\"");
  ASSERT_EQ(error_of(without_token, copy, SettingScope::kConfig), "");
  EXPECT_EQ(settings_json(copy, SettingScope::kConfig).dump(), text);
}

TEST(SettingsJson, ATokenIsNeverShown) {
  Config config;
  config.server.token = "very-secret";
  const std::string text = settings_json(config, SettingScope::kConfig).dump();
  EXPECT_EQ(text.find("very-secret"), std::string::npos);
  EXPECT_NE(text.find("\"token\":\"set\""), std::string::npos);
}

TEST(SettingsJson, TheSchemaNamesTypesRangesAndDefaults) {
  const Json schema = settings_schema(SettingScope::kPolicy);
  const Json* const kv = schema.find("properties")->find("kv");
  EXPECT_EQ(kv->find("additionalProperties")->as_bool(), false);
  const Json* const window = kv->find("properties")->find("recent_window");
  EXPECT_EQ(window->find("type")->as_string(), "integer");
  EXPECT_EQ(window->find("minimum")->as_double(), 16);
  EXPECT_EQ(window->find("maximum")->as_double(), 512);
  EXPECT_EQ(window->find("default")->as_int(), 64);
  const Json* const mode = kv->find("properties")->find("mode");
  EXPECT_EQ(mode->find("enum")->elements().size(), 9u);
  EXPECT_EQ(schema.find("properties")->find("server"), nullptr);
}

// ---- Documents that are wrong in one place.

Json at_key(std::string_view key, Json value) {
  const size_t dot = key.rfind('.');
  if (dot == std::string_view::npos) return Json::object().set(key, std::move(value));
  return at_key(key.substr(0, dot), Json::object().set(key.substr(dot + 1), std::move(value)));
}

std::string random_word(Rng& rng) {
  std::string word;
  for (uint64_t left = 1 + rng.below(12); left > 0; --left) word += static_cast<char>('a' + rng.below(26));
  return word;
}

// A value of a type that the setting does not take.
Json wrong_type(const Setting& setting, Rng& rng) {
  Config any;
  const control::SettingField field = setting.field(any);
  std::vector<Json> values{Json(), Json::array(), Json::array().push(1), Json::object(), at_key("x", 1)};
  if (!std::holds_alternative<bool*>(field)) values.emplace_back(rng.below(2) == 0);
  const bool takes_text = std::holds_alternative<control::ChoiceField>(field);
  if (takes_text) values.emplace_back(static_cast<int64_t>(rng.below(1000)));
  values.emplace_back(random_word(rng) + "!");  // Neither a choice, nor a size, nor any other type.
  return values[rng.below(static_cast<uint32_t>(values.size()))];
}

// A number outside the range, or a word that is no choice.
Json wrong_value(const Setting& setting, Rng& rng) {
  Config any;
  const control::SettingField field = setting.field(any);
  if (std::holds_alternative<bool*>(field)) return static_cast<int64_t>(rng.below(2));
  if (std::holds_alternative<control::ChoiceField>(field)) return random_word(rng) + "_" + random_word(rng);
  const double beyond = 1e-3 + static_cast<double>(rng.below(1'000'000));
  if (setting.most != 0 && rng.below(2) == 0) return setting.most + beyond;
  if (std::holds_alternative<uint64_t*>(field) && rng.below(2) == 0)
    return std::to_string(rng.below(1'000'000)) + "KiB";
  return setting.least - beyond;
}

Json wrong_document(Rng& rng) {
  std::vector<const Setting*> policy;
  for (const Setting& setting : control::settings()) {
    if (setting.effect == control::SettingEffect::kPolicy) policy.push_back(&setting);
  }
  const Setting& setting = *policy[rng.below(static_cast<uint32_t>(policy.size()))];
  const std::string section(setting.key.substr(0, setting.key.rfind('.')));
  switch (rng.below(5)) {
    case 0: return at_key(setting.key, wrong_type(setting, rng));
    case 1: return at_key(setting.key, wrong_value(setting, rng));
    case 2: return at_key(section + "." + random_word(rng) + "_" + random_word(rng), 1);
    case 3: {
      const double low = static_cast<double>(rng.below(500)) / 1000,
                   high = low + 0.001 + static_cast<double>(rng.below(400)) / 1000;
      Json levels = Json::object().set("L1_int8", rng.below(2) == 0 ? low : 1.0);
      levels.set("L2_int4", levels.find("L1_int8")->as_double() == low ? high : low).set("L3_evict", high);
      return at_key("kv.level_thresholds", std::move(levels));
    }
    default: return at_key(rng.below(2) == 0 ? section : random_word(rng) + "_", Json::array().push(random_word(rng)));
  }
}

TEST(SettingsJson, WrongDocumentsAreRefusedAndChangeNothing) {
  testing::for_each_case(2000, [](Rng& rng) {
    Config config;
    config.policy.kv.recent_window = 16 + static_cast<int>(rng.below(497));
    const std::string before = settings_json(config, SettingScope::kConfig).dump();
    // What is right beside it must not be applied either.
    Json document = wrong_document(rng);
    if (rng.below(2) == 0 && !document.find("quality")) {
      document.set("quality", Json::object().set("max_delta_ppl", 0.25));
    }
    const std::string text = document.dump();
    const std::string error = error_of(text, config);
    EXPECT_NE(error, "") << text;
    EXPECT_LT(error.size(), 400u) << text;
    EXPECT_EQ(settings_json(config, SettingScope::kConfig).dump(), before) << text;
  });
}

TEST(SettingsJson, AnyTextIsTakenOrRefusedWithoutHarm) {
  const std::string right = settings_json({}, SettingScope::kPolicy).dump();
  testing::for_each_case(500, [&](Rng& rng) {
    std::string text = right;
    for (uint64_t left = 1 + rng.below(4); left > 0; --left)
      text[rng.below(static_cast<uint32_t>(text.size()))] = static_cast<char>(rng.below(256));
    Config config;
    const std::string error = error_of(text, config);
    if (!error.empty()) {
      EXPECT_EQ(settings_json(config, SettingScope::kPolicy).dump(), right);
    }
  });
}

}  // namespace
}  // namespace infer::api
