// The whole configuration of a server and its agent: what control/settings.h describes key by key.
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <string>

#include "base/log.h"
#include "control/policy.h"

namespace infer::control {

struct LoopConfig {
  int fast_ms = 1;
  int mid_ms = 10;
  int slow_ms = 100;
};

struct TelemetryConfig {
  int push_interval_ms = 1000;      // Between two samples: events, history and log lines.
  std::string log_file;             // JSON Lines; "": none.
  uint64_t log_bytes = 10'000'000;  // Of one file, before the next is begun.
  int log_files = 5;                // Kept, the current one included.
  bool history = true;
  std::string history_file;  // "": in the user's state folder.
  int history_days = 30;
  uint64_t history_bytes = 256'000'000;
};

struct ServerConfig {
  std::string host = "127.0.0.1";
  int port = 7031;
  bool random_port = false;
  std::string token;  // "": one is made at start.
  int io_threads = 1;
  int running_max = 8;
  int waiting_max = 256;
};

struct ModelConfig {
  std::string path;  // "": the one that is built in.
  int context = 0;   // 0: the model's own, within the engine's limit.
  int threads = 0;   // 0: one per physical core.
  uint64_t memory_limit = 0;
  bool kv_floats = false;
  std::string spill_folder;
  uint64_t spill_limit = uint64_t{4} << 30;
  std::string prefix_folder;  // "": none.
  uint64_t prefix_limit = uint64_t{4} << 30;
  std::string draft_path;  // "": none.
  int draft_max = 15;      // Tokens of one draft, whoever makes it.
};

struct DeadlineConfig {
  int request_ms = 600'000;
  int first_token_ms = 0;  // 0: none.
  int stall_ms = 0;        // 0: none.
};

struct NotifyConfig {
  std::string webhook{};  // "": none.
  int webhook_ms = 10'000;
  int webhook_attempts = 3;
};

// Measurements of quality in idle time.
struct EvaluationConfig {
  std::string dataset{};  // A text file; "": the text that is built in.
  int full_hour = 6;      // Of each day, in local time; -1: never.
  int light_hours = 4;    // Between two light ones; 0: none.
  int full_windows = 32;  // Of the text, at most; a window has 512 tokens where the model takes as many.
  int light_windows = 4;
  double exact_share = 0.02;  // Of all time, for exact checks.
};

struct Config {
  bool enabled = true;  // False: the agent starts in baseline mode.
  LogLevel log_level = LogLevel::kInfo;
  Policy policy;
  uint64_t model_parameters = 0;  // Of the model, as its file says; 0: unknown. Not a setting.
  LoopConfig loops;
  TelemetryConfig telemetry;
  ServerConfig server;
  ModelConfig model;
  DeadlineConfig deadlines;
  EvaluationConfig evaluation;
  NotifyConfig notify;
};

}  // namespace infer::control
