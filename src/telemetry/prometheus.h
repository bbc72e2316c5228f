// Metrics in Prometheus' text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/): base units
// (seconds, bytes, ratios), `_total` on counters, one `# HELP` and `# TYPE` each.
// Thread safety: pure functions.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "telemetry/metrics.h"
#include "telemetry/recorder.h"

namespace infer::telemetry {

// Whose names are used, so that dashboards made for another server work: only what that server has.
enum class MetricNames : uint8_t { kInferos, kVllm, kLlamaCpp };
std::optional<MetricNames> metric_names(std::string_view word);  // "inferos", "vllm", "llamacpp"

// What the agent adds to the metrics of a server.
struct AgentCounters {
  uint64_t policy_changes = 0;
  uint64_t alerts = 0;
  struct Count {
    std::string_view name;
    uint64_t value = 0;
  };
  std::array<Count, 5> fallbacks{};                   // By reason.
  std::array<Count, 3> loop_runs{}, loop_overruns{};  // By loop.
  std::array<Count, 10> steps_back{};                 // In effect, by event.
  uint64_t history_written = 0;
  uint64_t history_dropped = 0;
  bool baseline = false;
};

inline constexpr std::string_view kPrometheusContentType = "text/plain; version=0.0.4; charset=utf-8";

std::string prometheus_text(const Metrics& metrics, const Recorder& recorder, const AgentCounters& agent,
                            MetricNames names);

}  // namespace infer::telemetry
