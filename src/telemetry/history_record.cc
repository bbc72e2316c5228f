#include "telemetry/history_record.h"

#include <numeric>

namespace infer::telemetry {

HistoryRecord history_record(const Metrics& metrics) {
  const engine::EngineSnapshot& engine = metrics.engine.snapshot;
  std::optional<double> resident;
  if (metrics.memory.resident_bytes) resident = static_cast<double>(*metrics.memory.resident_bytes);
  // In the order of kHistoryMetrics.
  return {.time = metrics.time,
          .values = {metrics.tokens_per_second, metrics.requests_per_second, metrics.latency.mean_ms,
                     metrics.latency.p95_ms, metrics.first_token.mean_ms, metrics.first_token.p95_ms,
                     static_cast<double>(engine.running),
                     static_cast<double>(std::accumulate(engine.waiting.begin(), engine.waiting.end(), 0)),
                     static_cast<double>(engine.kv.bytes), metrics.hit_rate, resident, metrics.cpu_utilization,
                     metrics.engine.accept_rate, engine.kv.expected_divergence}};
}

}  // namespace infer::telemetry
