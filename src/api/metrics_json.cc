#include "api/metrics_json.h"

#include <algorithm>
#include <numeric>

#include "api/evaluation_json.h"
#include "api/settings_json.h"
#include "base/format.h"
#include "telemetry/timestamp.h"

namespace infer::api {

namespace {

using telemetry::LatencySummary;
using telemetry::Metrics;

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json megabytes(const std::optional<uint64_t>& bytes) {
  return bytes ? Json(static_cast<double>(*bytes) / 1e6) : Json();
}
Json gigabytes(const std::optional<uint64_t>& bytes) {
  return bytes ? Json(static_cast<double>(*bytes) / 1e9) : Json();
}

Json latency_json(const LatencySummary& latency) {
  return Json::object()
      .set("mean_ms", or_null(latency.mean_ms))
      .set("median_ms", or_null(latency.median_ms))
      .set("p95_ms", or_null(latency.p95_ms))
      .set("p99_ms", or_null(latency.p99_ms))
      .set("std_ms", or_null(latency.std_ms));
}

Json drafts_json(const engine::EngineSnapshot& engine) {
  Json drafts = Json::object();
  for (size_t i = 0; i < engine.counters.drafts.size(); ++i) {
    const engine::DraftCounters& source = engine.counters.drafts[i];
    drafts.set(engine::draft_source_name(static_cast<engine::DraftSource>(i)),
               Json::object().set("drafted", source.drafted).set("accepted", source.accepted));
  }
  Json model;
  if (engine.draft_model) {
    model = Json::object()
                .set("computed_tokens", engine.draft_model->computed_tokens)
                .set("seconds", engine.draft_model->time.seconds())
                .set("failures", engine.draft_model->failures)
                .set("usable", engine.draft_model->usable)
                .set("kv_bytes", engine.draft_model->kv_bytes);
  }
  return drafts.set("draft_model", std::move(model));
}

// The estimate is of what was generated; null while too little was, or what lowering costs is not known.
Json quality_json(const Metrics& metrics, const control::Policy& policy) {
  Json full = last_evaluation_json(metrics.evaluation);
  Json estimate = Json::object()
                      .set("current", or_null(metrics.ppl))
                      .set("baseline", or_null(metrics.ppl_baseline))
                      .set("delta", or_null(metrics.delta_ppl()));
  estimate.set("expected_divergence_nats", or_null(metrics.engine.snapshot.kv.expected_divergence))
      .set("measurement",
           Json::object()
               .set("method",
                    "likelihood of generated tokens, and the divergence that lowered pages are expected to "
                    "cost by the attention that they get")
               .set("window_size", telemetry::kPplTokensMin)
               .set("update_frequency", "step")
               .set("last_full_evaluation", *full.find("last_run")));
  Json accepted =
      Json::object()
          .set("current", or_null(metrics.engine.accept_rate))
          .set("target", policy.quality.min_accept_rate)
          .set("measurement", Json::object().set("method", "accepted of speculated tokens").set("window_size", 50))
          .set("drafts", drafts_json(metrics.engine.snapshot));
  return Json::object()
      .set("delta_ppl_est", std::move(estimate))
      .set("accept_rate", std::move(accepted))
      .set("full_evaluation", std::move(full))
      .set("spec_accept", or_null(metrics.engine.accept_rate));
}

Json kv_stats_json(const Metrics& metrics) {
  const engine::KvSnapshot& kv = metrics.engine.snapshot.kv;
  const int total = std::accumulate(kv.pages.begin(), kv.pages.end(), 0);
  Json levels = Json::object();
  for (size_t level = 0; level < kv.pages.size(); ++level) levels.set(format("L{}", level), kv.pages[level]);
  Json ratio, saved;
  if (kv.bytes_f16 > 0) {
    ratio = static_cast<double>(kv.bytes) / static_cast<double>(kv.bytes_f16);
    saved = kv.bytes_f16 - std::min(kv.bytes, kv.bytes_f16);
  }
  return Json::object()
      .set("total_chunks", total)
      .set("level_distribution", std::move(levels))
      .set("compression_ratio", std::move(ratio))
      .set("bytes_saved", std::move(saved))
      .set("hit_rate", or_null(metrics.hit_rate))
      .set("lowered", kv.counters.lowered)
      .set("raised", kv.counters.raised)
      .set("evicted", kv.counters.evicted)
      .set("recalled", kv.counters.recalled);
}

Json status_json(const control::Policy& policy, bool baseline) {
  return Json::object()
      .set("kv_quantization_active", policy.kv.mode != kv::KvMode::kF16)
      .set("io_binding_active", false)  // Of devices with buffers of their own, which this build does not drive.
      .set("hybrid_scheduling_active", false)
      .set("baseline", baseline)
      .set("current_policy", policy_json(policy));
}

Json memory_json(const Metrics& metrics) {
  const uint64_t kv = metrics.engine.snapshot.kv.bytes;
  return Json::object()
      .set("kv_cache_usage_mb", static_cast<double>(kv) / 1e6)
      .set("kv_cache_hit_rate", or_null(metrics.hit_rate))
      .set("total_allocated_mb", megabytes(metrics.memory.resident_bytes))
      .set("peak_usage_mb", megabytes(metrics.memory.peak_bytes));
}

Json engine_json(const Metrics& metrics) {
  const engine::EngineSnapshot& engine = metrics.engine.snapshot;
  return Json::object()
      .set("model", metrics.engine.model)
      .set("uptime_seconds", metrics.uptime.seconds())
      .set("running", engine.running)
      .set("waiting", std::accumulate(engine.waiting.begin(), engine.waiting.end(), 0))
      .set("steps", engine.counters.steps)
      .set("generated_tokens", engine.counters.generated_tokens);
}

void add_flat(const Metrics& metrics, Json& json) {
  const telemetry::MemoryFigures& memory = metrics.memory;
  std::optional<uint64_t> used;
  if (memory.total_bytes && memory.available_bytes)
    used = *memory.total_bytes - std::min(*memory.available_bytes, *memory.total_bytes);
  const Json stats = kv_stats_json(metrics);
  json.set("tps", or_null(metrics.tokens_per_second))
      .set("ftl_ms", or_null(metrics.first_token.mean_ms))
      .set("p95_ms", or_null(metrics.latency.p95_ms))
      .set("mem", Json::object()
                      .set("vram_gb", nullptr)
                      .set("system_gb", gigabytes(used))
                      .set("host_gb", gigabytes(memory.resident_bytes))
                      .set("kv_cache_gb", static_cast<double>(metrics.engine.snapshot.kv.bytes) / 1e9)
                      .set("kv_levels", *stats.find("level_distribution")))
      .set("util", Json::object().set("npu", nullptr).set("igpu", nullptr).set("cpu", or_null(metrics.cpu_utilization)))
      .set("kv_stats", stats);
}

}  // namespace

Json policy_json(const control::Policy& policy) {
  control::Config config;
  config.policy = policy;
  return settings_json(config, control::SettingScope::kPolicy);
}

Json metrics_json(const Metrics& metrics, const control::Policy& in_effect, bool baseline) {
  Json json = Json::object();
  json.set("timestamp", telemetry::timestamp(metrics.time))
      .set("measurement_window", Json::object()
                                     .set("duration_seconds", static_cast<int>(telemetry::kMetricsWindow.seconds()))
                                     .set("sample_count", metrics.requests)
                                     .set("measured_seconds", metrics.window.seconds()))
      .set("throughput", Json::object()
                             .set("tokens_per_second", or_null(metrics.tokens_per_second))
                             .set("requests_per_second", or_null(metrics.requests_per_second)))
      .set("latency", latency_json(metrics.latency))
      .set("first_token_latency", latency_json(metrics.first_token))
      .set("quality", quality_json(metrics, in_effect))
      .set("memory", memory_json(metrics))
      .set("device_utilization", Json::object()
                                     .set("npu_utilization", nullptr)
                                     .set("dml_utilization", nullptr)
                                     .set("cpu_utilization", or_null(metrics.cpu_utilization)))
      .set("optimization_status", status_json(in_effect, baseline))
      .set("engine", engine_json(metrics));
  add_flat(metrics, json);
  return json;
}

Json history_json(std::span<const telemetry::HistoryRecord> records, std::string_view metric) {
  Json history = Json::array();
  for (const telemetry::HistoryRecord& record : records) {
    Json entry = Json::object();
    entry.set("timestamp", telemetry::timestamp(record.time)).set("unix_ms", record.time.unix_ms);
    for (size_t i = 0; i < record.values.size(); ++i) {
      if (metric.empty() || metric == telemetry::kHistoryMetrics[i]) {
        entry.set(telemetry::kHistoryMetrics[i], or_null(record.values[i]));
      }
    }
    history.push(std::move(entry));
  }
  return Json::object().set("history", std::move(history));
}

}  // namespace infer::api
