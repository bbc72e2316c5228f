// What is known of a server at one instant. What was not measured is nullopt, and nothing is estimated.
// Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "engine/engine_snapshot.h"
#include "engine/request.h"
#include "telemetry/evaluation_record.h"
#include "telemetry/histogram.h"
#include "telemetry/recorder.h"

namespace infer::telemetry {

inline constexpr Duration kMetricsWindow = Duration::from_seconds(60);
inline constexpr uint64_t kPplTokensMin = 100;

struct LatencySummary {
  size_t count = 0;
  std::optional<double> mean_ms, median_ms, p95_ms, p99_ms, std_ms;  // Standard deviation from two samples on.
};

// Where the engine and its surroundings tell what they know.
struct EngineFacts {
  engine::EngineSnapshot snapshot;
  std::optional<double> accept_rate{};  // Of speculated tokens, the last 50; none: nothing was speculated.
  std::string model{};
  int tokens_per_step = 0;
};

struct MemoryFigures {
  std::optional<uint64_t> resident_bytes, peak_bytes;    // Of this process.
  std::optional<uint64_t> total_bytes, available_bytes;  // Of the machine.
};

// Of evaluations, by whoever starts them.
struct EvaluationFacts {
  std::optional<EvaluationRecord> last;  // That ended well since the start.
  std::optional<WallTime> next;          // The next full one.
  std::string_view status = "none";      // Of the last that was started.
};

struct Metrics {
  WallTime time;
  Duration window;      // Measured so far, at most kMetricsWindow and a sample more.
  size_t requests = 0;  // That ended in it.
  std::optional<double> tokens_per_second, requests_per_second;
  LatencySummary latency, first_token;
  std::optional<double> hit_rate;  // Share of prompt tokens of the window that were taken over.
  // Perplexity of what was generated in the window, under the model before sampling settings, and what it would be with
  // the KV cache at 16 bits: less by the divergence that lowering is expected to cost. From kPplTokensMin tokens on.
  std::optional<double> ppl, ppl_baseline;
  std::optional<double> cpu_utilization;  // Of the cores that the process may use, 0..1, over the window.
  EngineFacts engine;
  MemoryFigures memory;
  Duration uptime;
  EvaluationFacts evaluation{};

  std::optional<double> delta_ppl() const {
    return ppl && ppl_baseline ? std::optional(*ppl - *ppl_baseline) : std::nullopt;
  }
};

}  // namespace infer::telemetry
