#include "api/settings_yaml.h"

#include <gtest/gtest.h>

#include <string>

#include "base/format.h"

namespace infer::api {
namespace {

std::string error_of(std::string_view text) {
  control::Config config;
  const Status status = apply_yaml(text, config);
  if (!status) {
    EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
  }
  return status ? "" : status.error().message;
}

TEST(SettingsYaml, SetsWhatItNames) {
  control::Config config;
  const Status read = apply_yaml(R"(# What this machine does.
infer_os:
  enabled: true
  log_level: debug
  quality:
    max_delta_ppl: 0.25
    min_accept_rate: 0.6
  kv:
    mode: "latency_optimized"
    recent_window: 96
    level_thresholds: {L1_int8: 0.8, L2_int4: 0.6, L3_evict: 0.4}
  io:
    enable_iobinding: false
    dml_pool_bytes: 2GiB
    host_pool_bytes: 4294967296
  scheduler:
    mode: cpu_only
    prefill_device: vulkan
    decode_device: cpu
  loops: {fast_ms: 1, mid_ms: 10, slow_ms: 100}
  telemetry:
    push_interval_ms: 500
    log_file: "telemetry.jsonl"
  server:
    port: 8080
  model:
    path: model.gguf
    memory_limit: 16GB
  deadlines:
    request_ms: 30000
)",
                                 config);
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(config.policy.kv.mode, kv::KvMode::kLatency);
  EXPECT_EQ(config.policy.kv.recent_window, 96);
  EXPECT_EQ(config.policy.kv.level_thresholds.l3_evict, 0.4);
  EXPECT_EQ(config.policy.io.dml_pool_bytes, 2147483648u);
  EXPECT_EQ(config.policy.scheduler.prefill_device, control::Device::kDml);
  EXPECT_EQ(config.telemetry.push_interval_ms, 500);
  EXPECT_EQ(config.telemetry.log_file, "telemetry.jsonl");
  EXPECT_EQ(config.server.port, 8080);
  EXPECT_EQ(config.model.memory_limit, 16'000'000'000u);
  EXPECT_EQ(config.deadlines.request_ms, 30'000);
  EXPECT_EQ(config.log_level, LogLevel::kDebug);
}

TEST(SettingsYaml, NothingIsAlsoAConfiguration) {
  EXPECT_EQ(error_of(""), "");
  EXPECT_EQ(error_of("# only a comment\n"), "");
  EXPECT_EQ(error_of("infer_os:\n"), "");
  EXPECT_EQ(error_of("infer_os: {}\n"), "");
  EXPECT_EQ(error_of("infer_os:\n  kv: {}\n"), "");
}

TEST(SettingsYaml, ErrorsNameTheLineAndTheNearestKnownKey) {
  EXPECT_EQ(error_of("infer_os:\n  kv:\n    mode: dynamic\n    recent_windo: 64\n"),
            "line 4: unknown key \"kv.recent_windo\"; did you mean kv.recent_window?");
  EXPECT_EQ(error_of("infer_os:\n  kv:\n    recent_window: 1024\n"),
            "line 3: recent_window must be between 16 and 512");
  EXPECT_EQ(error_of("infer_os:\n  kv:\n    recent_window: \"64\"\n"),
            "line 3: recent_window must be a whole number, not a text");
  EXPECT_EQ(error_of("infer_os:\n  io:\n    enable_iobinding: yes\n"),
            "line 3: enable_iobinding must be true or false, not a text");
  EXPECT_EQ(error_of("kv:\n  mode: dynamic\n"), "line 1: unknown key \"kv\"; everything lies below infer_os");
  EXPECT_EQ(error_of("infer_os:\n  kv: 5\n"), "line 2: kv must be an object with keys of its own, not a number");
  EXPECT_EQ(error_of("infer_os:\n  kv:\n    mode: disabled\n    mode: dynamic\n"),
            "line 4: \"kv.mode\" is given twice");
  EXPECT_EQ(error_of("infer_os: [1]\n"), "line 1: infer_os must be a map");
  EXPECT_EQ(error_of("- 1\n").substr(0, 7), "line 1:");
  EXPECT_EQ(error_of("infer_os:\n  kv: {mode: [dynamic}\n").substr(0, 7), "line 2:");
  EXPECT_EQ(error_of("infer_os:\n  kv.mode: dynamic\n").substr(0, 20), "line 2: unknown key ");
  EXPECT_NE(error_of("infer_os: {}\n---\ninfer_os: {}\n"), "");
  EXPECT_NE(error_of("infer_os:\n  kv:\n    mode:\n"), "");
  EXPECT_NE(error_of("infer_os: *nowhere\n"), "");
}

TEST(SettingsYaml, TextsThatGrowWhenTheyAreReadEndSoon) {
  std::string bomb = "infer_os:\n  a0: &a0 {x: 1, y: 2}\n";
  for (int i = 1; i < 40; ++i) {
    bomb += format("  a{}: &a{} {{x: *a{}, y: *a{}}}\n", i, i, i - 1, i - 1);
  }
  EXPECT_NE(error_of(bomb), "");
  EXPECT_NE(error_of(std::string(5000, '[')), "");
  EXPECT_NE(error_of("infer_os: " + std::string(3000, '{')), "");
}

}  // namespace
}  // namespace infer::api
