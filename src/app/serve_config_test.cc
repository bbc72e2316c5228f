#include "app/serve_config.h"

#include <gtest/gtest.h>

#include <fstream>
#include <vector>

#include "testing/test_folder.h"

namespace infer::app {
namespace {

std::optional<std::string> no_variable(const std::string&) { return std::nullopt; }

ServeCommand parsed(std::vector<const char*> words) {
  words.insert(words.begin(), {"inferos", "serve"});
  const auto invocation = parse_command_line(static_cast<int>(words.size()), words.data());
  EXPECT_TRUE(invocation.has_value()) << invocation.error().message;
  return std::get<ServeCommand>(*invocation);
}

TEST(ServeConfig, WithoutAnythingTheDefaultsHold) {
  const auto set = configure_serve(parsed({}), no_variable);
  ASSERT_TRUE(set.has_value()) << set.error().message;
  EXPECT_EQ(set->command.host, "127.0.0.1");
  EXPECT_EQ(set->command.port, 7031);
  EXPECT_EQ(set->command.parallel, 8);
  EXPECT_EQ(set->command.deadline, Duration::from_seconds(600));
  EXPECT_EQ(set->command.model.levels.mode, kv::KvMode::kDynamic);
  EXPECT_EQ(set->command.model.levels.recent_window, 64);
}

TEST(ServeConfig, TheFileSaysWhatFlagsDoNot) {
  const testing::TestFolder folder;
  const std::string path = folder.file("config.yaml");
  std::ofstream(path) << "infer_os:\n  server: {port: 1234, running_max: 3}\n  kv: {mode: quality_optimized}\n  model: "
                         "{context: 2048}\n";
  const auto set = configure_serve(parsed({"--config", path.c_str(), "--parallel", "8", "--kv", "q8"}), no_variable);
  ASSERT_TRUE(set.has_value()) << set.error().message;
  EXPECT_EQ(set->command.port, 1234);
  EXPECT_EQ(set->command.parallel, 8);  // Given, though it is the default.
  EXPECT_EQ(set->config.server.running_max, 8);
  EXPECT_EQ(set->command.model.context, 2048);
  EXPECT_EQ(set->config.policy.kv.mode, kv::KvMode::kQ8);
  EXPECT_EQ(set->command.model.levels.mode, kv::KvMode::kQ8);
}

TEST(ServeConfig, FlagsWinOverVariablesAndAreJudgedLikeTheFile) {
  const auto random = [](const std::string& name) -> std::optional<std::string> {
    if (name == "INFEROS_RANDOM_PORT") return "true";
    if (name == "INFEROS_ENABLED") return "false";
    return std::nullopt;
  };
  EXPECT_EQ(configure_serve(parsed({}), random)->command.port, 0);
  EXPECT_EQ(configure_serve(parsed({"--port", "99"}), random)->command.port, 99);
  // Baseline mode: the policy is kept for later, the cache starts with 16 bits.
  EXPECT_EQ(configure_serve(parsed({}), random)->command.model.levels.mode, kv::KvMode::kF16);
  EXPECT_EQ(configure_serve(parsed({}), random)->config.policy.kv.mode, kv::KvMode::kDynamic);
  EXPECT_EQ(configure_serve(parsed({"--kv-window", "5"}), no_variable).error().message,
            "recent_window must be between 16 and 512");
}

TEST(ServeConfig, ACacheInFloatsIsOneOfTheFlagsModesAndAMatterOfTheModelInTheFile) {
  const auto by_flag = configure_serve(parsed({"--kv", "f32"}), no_variable);
  ASSERT_TRUE(by_flag.has_value()) << by_flag.error().message;
  EXPECT_TRUE(by_flag->command.model.kv_floats);
  EXPECT_EQ(by_flag->command.model.levels.mode, kv::KvMode::kF16);
  EXPECT_EQ(kv_name(by_flag->command.model), "f32");

  const testing::TestFolder folder;
  const std::string path = folder.file("config.yaml");
  std::ofstream(path) << "infer_os:\n  kv: {mode: dynamic}\n  model: {kv_floats: true}\n";
  const auto by_file = configure_serve(parsed({"--config", path.c_str()}), no_variable);
  ASSERT_TRUE(by_file.has_value()) << by_file.error().message;
  EXPECT_TRUE(by_file->command.model.kv_floats);
  EXPECT_EQ(by_file->command.model.levels.mode, kv::KvMode::kDynamic);
  EXPECT_FALSE(
      configure_serve(parsed({"--config", path.c_str(), "--kv", "f16"}), no_variable)->command.model.kv_floats);
}

TEST(ServeConfig, WhatTheCacheIsToldByFlagsAloneStays) {
  const auto set = configure_serve(parsed({"--kv-limit", "1MB", "--kv-sinks", "7"}), no_variable);
  ASSERT_TRUE(set.has_value());
  EXPECT_EQ(set->command.model.levels.memory_limit_bytes, 1'000'000u);
  EXPECT_TRUE(set->command.model.levels.may_evict);
  EXPECT_EQ(set->command.model.levels.sink_tokens, 7);
}

}  // namespace
}  // namespace infer::app
