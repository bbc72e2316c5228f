#include "control/settings.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace infer::control {
namespace {

// What is wrong with setting `key` to `value`; "" when nothing is.
std::string complaint(std::string_view key, DocumentValue value, SettingScope scope = SettingScope::kConfig) {
  Config config;
  const DocumentEntry entry{std::string(key), std::move(value)};
  const Status status = apply_document({&entry, 1}, scope, config);
  return status ? "" : status.error().message;
}

TEST(Settings, KeysAreUniqueAndEachDefaultIsAValueThatTheSettingTakes) {
  std::set<std::string_view> keys;
  const Config defaults;
  for (const Setting& setting : settings()) {
    EXPECT_TRUE(keys.insert(setting.key).second) << setting.key;
    EXPECT_FALSE(setting.help.empty()) << setting.key;
    const DocumentValue value = std::visit(
        [](const auto& each) -> DocumentValue {
          if constexpr (std::is_same_v<std::decay_t<decltype(each)>, uint64_t>)
            return static_cast<int64_t>(each);
          else
            return each;
        },
        setting_value(setting, defaults));
    EXPECT_EQ(complaint(setting.key, value), "");
  }
  for (const EnvironmentVariable& variable : environment_variables()) {
    EXPECT_NE(find_setting(variable.key), nullptr) << variable.name;
  }
}

TEST(Settings, RangesAreThoseOfTheSpecificationAndBothEndsBelongToThem) {
  EXPECT_EQ(complaint("kv.recent_window", int64_t{16}), "");
  EXPECT_EQ(complaint("kv.recent_window", int64_t{512}), "");
  EXPECT_EQ(complaint("kv.recent_window", 64.0), "");
  EXPECT_EQ(complaint("kv.recent_window", int64_t{15}), "recent_window must be between 16 and 512");
  EXPECT_EQ(complaint("kv.recent_window", int64_t{513}), "recent_window must be between 16 and 512");
  EXPECT_EQ(complaint("kv.recent_window", 1e300), "recent_window must be between 16 and 512");
  EXPECT_EQ(complaint("kv.recent_window", 64.5), "recent_window must be a whole number, not 64.5");
  EXPECT_EQ(complaint("kv.recent_window", "64"), "recent_window must be a whole number, not a text");
  EXPECT_EQ(complaint("kv.level_thresholds.L1_int8", 1.0), "");
  EXPECT_EQ(complaint("kv.level_thresholds.L1_int8", 1.01), "L1_int8 must be between 0 and 1");
  EXPECT_EQ(complaint("quality.max_delta_ppl", int64_t{2}), "");
  EXPECT_EQ(complaint("quality.max_delta_ppl", 2.1), "max_delta_ppl must be between 0 and 2");
  EXPECT_EQ(complaint("quality.min_accept_rate", -0.1), "min_accept_rate must be between 0 and 1");
  EXPECT_EQ(complaint("io.enable_iobinding", int64_t{1}), "enable_iobinding must be true or false, not a number");
  EXPECT_EQ(complaint("kv.mode", "fast"),
            "kv.mode must be one of dynamic, latency_optimized, throughput_optimized, quality_optimized, disabled, q8, "
            "q4, not "
            "\"fast\"");
  EXPECT_EQ(complaint("kv.mode", NullValue{}).substr(0, 19), "kv.mode must be one");
}

TEST(Settings, SizesAreBytesOrNumbersWithUnitsAndAtLeastAGibibyteForPools) {
  const auto pool = [](DocumentValue value) {
    Config config;
    const DocumentEntry entry{"io.dml_pool_bytes", std::move(value)};
    return apply_document({&entry, 1}, SettingScope::kPolicy, config) ? config.policy.io.dml_pool_bytes : 0;
  };
  EXPECT_EQ(pool(int64_t{1073741824}), 1073741824u);
  EXPECT_EQ(pool("1GiB"), 1073741824u);
  EXPECT_EQ(pool("1.5gb"), 1500000000u);
  EXPECT_EQ(pool("2147483648"), 2147483648u);
  EXPECT_EQ(pool("2000000KB"), 2000000000u);
  EXPECT_EQ(pool(int64_t{1073741823}), 0u);
  EXPECT_EQ(pool("1GB"), 0u);
  EXPECT_EQ(pool("2 GiB"), 0u);
  EXPECT_EQ(pool("GiB"), 0u);
  EXPECT_EQ(pool("1e10"), 0u);
  EXPECT_EQ(pool("-2GiB"), 0u);
  EXPECT_EQ(pool(int64_t{-1}), 0u);
  EXPECT_EQ(pool(1e30), 0u);
  EXPECT_EQ(pool(true), 0u);
  EXPECT_EQ(complaint("io.dml_pool_bytes", "1GB"), "dml_pool_bytes must be at least 1073741824 bytes (1GiB)");
}

TEST(Settings, AliasesOfDevicesAreUnderstoodAndTheirRealNamesWritten) {
  for (const char* const alias : {"gpu", "vulkan", "dml"}) {
    Config config;
    const DocumentEntry entry{"scheduler.decode_device", alias};
    ASSERT_TRUE(apply_document({&entry, 1}, SettingScope::kPolicy, config));
    EXPECT_EQ(config.policy.scheduler.decode_device, Device::kDml);
    EXPECT_EQ(setting_text(*find_setting("scheduler.decode_device"), config), "dml");
  }
}

TEST(Settings, ThresholdsMustNotIncreaseWhicheverOfThemIsNamed) {
  EXPECT_EQ(complaint("kv.level_thresholds.L2_int4", 0.8),
            "level_thresholds must not increase from L1_int8 (0.7) over L2_int4 (0.8) to L3_evict (0.3)");
  EXPECT_NE(complaint("kv.level_thresholds.L1_int8", 0.4), "");
  EXPECT_NE(complaint("kv.level_thresholds.L3_evict", 0.6), "");
  Config config;
  const std::vector<DocumentEntry> together{{"kv.level_thresholds.L2_int4", 0.9}, {"kv.level_thresholds.L1_int8", 0.9}};
  EXPECT_TRUE(apply_document(together, SettingScope::kPolicy, config));
  EXPECT_EQ(config.policy.kv.level_thresholds.l2_int4, 0.9);
}

TEST(Settings, UnknownKeysNameTheLineAndTheNearestKnownKey) {
  EXPECT_EQ(complaint("kv.recent_windo", int64_t{64}),
            "unknown key \"kv.recent_windo\"; did you mean kv.recent_window?");
  EXPECT_EQ(complaint("recent_window", int64_t{64}), "unknown key \"recent_window\"; did you mean kv.recent_window?");
  EXPECT_EQ(complaint("zzzzzzzzzzzzzzzzzzzzzzzzzzz", true), "unknown key \"zzzzzzzzzzzzzzzzzzzzzzzzzzz\"");
  EXPECT_EQ(complaint("kv", int64_t{3}), "kv must be an object with keys of its own, not a number");
  EXPECT_EQ(complaint("kv", SectionValue{}), "");
  EXPECT_NE(complaint("kv.mode", SectionValue{}), "");
  EXPECT_NE(complaint(member_key("", "kv.mode"), "dynamic"), "");
  Config config;
  const DocumentEntry entry{"server.prot", int64_t{1}, 12};
  EXPECT_EQ(apply_document({&entry, 1}, SettingScope::kConfig, config).error().message,
            "line 12: unknown key \"server.prot\"; did you mean server.port?");
}

TEST(Settings, APolicyDocumentKnowsThePolicyOnly) {
  EXPECT_EQ(complaint("server.port", int64_t{80}, SettingScope::kPolicy).substr(0, 25), "unknown key \"server.port\"");
  EXPECT_NE(complaint("server", SectionValue{}, SettingScope::kPolicy), "");
  EXPECT_EQ(complaint("server.port", int64_t{80}), "");
}

TEST(Settings, AnErrorLeavesTheConfigurationAsItWas) {
  Config config;
  const std::vector<DocumentEntry> entries{{"kv.recent_window", int64_t{128}}, {"quality.max_delta_ppl", 9.0}};
  EXPECT_FALSE(apply_document(entries, SettingScope::kPolicy, config));
  EXPECT_EQ(config.policy.kv.recent_window, 64);
}

std::optional<Config> from_environment(const std::map<std::string, std::string>& variables,
                                       std::string* message = nullptr) {
  Config config;
  const Status status = apply_environment(
      [&](const std::string& name) -> std::optional<std::string> {
        const auto at = variables.find(name);
        if (at == variables.end()) return std::nullopt;
        return at->second;
      },
      config);
  if (!status && message) *message = status.error().message;
  return status ? std::optional(config) : std::nullopt;
}

TEST(Settings, EnvironmentVariablesSetWhatTheyAreNamedFor) {
  const auto config = from_environment({{"INFEROS_AGENT_PORT", "8080"},
                                        {"INFEROS_AGENT_TOKEN", "secret"},
                                        {"INFEROS_LOG_LEVEL", "debug"},
                                        {"INFEROS_RANDOM_PORT", "true"},
                                        {"GAIA_OPTIMIZATION_MODE", "none"},
                                        {"GAIA_KV_QUANTIZATION", "disabled"}});
  ASSERT_TRUE(config.has_value());
  EXPECT_EQ(config->server.port, 8080);
  EXPECT_EQ(config->server.token, "secret");
  EXPECT_TRUE(config->server.random_port);
  EXPECT_EQ(config->log_level, LogLevel::kDebug);
  EXPECT_FALSE(config->enabled);
  EXPECT_EQ(config->policy.kv.mode, kv::KvMode::kF16);
}

TEST(Settings, OurOwnVariablesWinOverGaiasAndWrongOnesAreNamed) {
  EXPECT_TRUE(from_environment({{"GAIA_OPTIMIZATION_MODE", "none"}, {"INFEROS_ENABLED", "1"}})->enabled);
  EXPECT_EQ(from_environment({{"GAIA_KV_QUANTIZATION", "enabled"}})->policy.kv.mode, kv::KvMode::kDynamic);
  EXPECT_TRUE(from_environment({{"INFEROS_ENABLED", ""}})->enabled);
  std::string message;
  EXPECT_FALSE(from_environment({{"INFEROS_AGENT_PORT", "70310"}}, &message));
  EXPECT_EQ(message, "INFEROS_AGENT_PORT: port must be between 0 and 65535");
  EXPECT_FALSE(from_environment({{"INFEROS_ENABLED", "maybe"}}, &message));
  EXPECT_EQ(message, "INFEROS_ENABLED: enabled must be true or false, not a text");
  EXPECT_FALSE(from_environment({{"GAIA_OPTIMIZATION_MODE", "fast"}}, &message));
  EXPECT_EQ(message, "GAIA_OPTIMIZATION_MODE: must be inferos or none, not \"fast\"");
}

TEST(Settings, TheReferenceInTheDocumentsIsTheTable) {
  const std::string path = INFER_SOURCE_DIR "/docs/formats/config.md";
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  const std::string page = text.str();
  if (page.find(settings_markdown()) != std::string::npos) return;
  // INFER_RENEW=1 writes the tables between the page's two marks anew; without it the difference is an error.
  const size_t begin = page.find("<!-- settings -->\n"), end = page.find("<!-- end of settings -->");
  ASSERT_TRUE(begin != std::string::npos && end != std::string::npos) << path << " has lost its marks";
  if (!std::getenv("INFER_RENEW")) {
    FAIL() << path << " does not match src/control/settings_table.cc; renew it with\n"
           << "  INFER_RENEW=1 build/release/control_test --gtest_filter='*TheReferenceInTheDocuments*'";
  }
  const std::string mark = "<!-- settings -->\n\n";
  std::ofstream(path, std::ios::binary) << page.substr(0, begin) << mark << settings_markdown() << "\n"
                                        << page.substr(end);
}

TEST(Settings, TheHelpNamesEverySettingWithinAHundredColumns) {
  const std::string help = settings_help();
  for (const Setting& setting : settings()) EXPECT_NE(help.find(setting.key), std::string::npos);
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
}

}  // namespace
}  // namespace infer::control
