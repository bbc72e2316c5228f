#include "telemetry/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "os/process_facts.h"
#include "os/topology.h"

namespace infer::telemetry {

namespace {

// The value that `share` of all do not exceed: the nearest rank, so that it is one that was measured.
double quantile(const std::vector<Duration>& sorted, double share) {
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1].ms();
}

double median(const std::vector<Duration>& sorted) {
  const size_t half = sorted.size() / 2;
  return sorted.size() % 2 != 0 ? sorted[half].ms() : (sorted[half - 1].ms() + sorted[half].ms()) / 2;
}

uint64_t all_ended(const engine::EngineCounters& counters) {
  return std::accumulate(counters.ended.begin(), counters.ended.end(), uint64_t{0});
}

}  // namespace

LatencySummary summarize(std::vector<Duration> values) {
  LatencySummary summary{
      .count = values.size(), .mean_ms = {}, .median_ms = {}, .p95_ms = {}, .p99_ms = {}, .std_ms = {}};
  if (values.empty()) return summary;
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const Duration value : values) sum += value.ms();
  const double mean = sum / count;
  for (const Duration value : values) squares += (value.ms() - mean) * (value.ms() - mean);
  summary.mean_ms = mean;
  summary.median_ms = median(values);
  summary.p95_ms = quantile(values, 0.95);
  summary.p99_ms = quantile(values, 0.99);
  if (values.size() > 1) summary.std_ms = std::sqrt(squares / (count - 1));
  return summary;
}

double usable_cores() {
  const os::Topology topology = os::read_topology();
  const double cores = topology.logical_cpus;
  return topology.cpu_quota ? std::min(cores, *topology.cpu_quota) : cores;
}

MachineFacts read_machine_facts(double cores) { return MachineReader(cores).read(Instant()); }

MachineFacts MachineReader::read(Instant now) {
  const os::MemoryFacts memory = memory_.read(now);
  return {.memory = {.resident_bytes = memory.resident_bytes,
                     .peak_bytes = memory.peak_bytes,
                     .total_bytes = memory.total_bytes,
                     .available_bytes = memory.available_bytes},
          .cpu_time = os::cpu_time_used(),
          .cores = cores_,
          .state = state_.read(now)};
}

Sampler::Point Sampler::point_of(const EngineFacts& engine, const MachineFacts& machine, Instant now) {
  const engine::EngineCounters& counters = engine.snapshot.counters;
  return {.at = now,
          .generated_tokens = counters.generated_tokens,
          .requests_ended = all_ended(counters),
          .prompt_tokens = counters.prompt_tokens,
          .cached_tokens = counters.cached_tokens,
          .nll = counters.nll,
          .nll_tokens = counters.nll_tokens,
          .cpu_time = machine.cpu_time};
}

// The last point that is a window old, or the oldest there is.
Sampler::Point Sampler::begin_of_window(Instant now) const {
  Point begin = points_.front();
  for (const Point& point : points_) {
    if (now - point.at < kMetricsWindow) break;
    begin = point;
  }
  return begin;
}

Metrics Sampler::sample(const EngineFacts& engine, const MachineFacts& machine, Instant now, WallTime time, bool keep) {
  const Point end = point_of(engine, machine, now);
  if (points_.empty()) points_.push_back(end);
  const Point begin = begin_of_window(now);
  Metrics metrics{.time = time,
                  .window = end.at - begin.at,
                  .requests = 0,
                  .tokens_per_second = {},
                  .requests_per_second = {},
                  .latency = {},
                  .first_token = {},
                  .hit_rate = {},
                  .ppl = {},
                  .ppl_baseline = {},
                  .cpu_utilization = {},
                  .engine = engine,
                  .memory = machine.memory,
                  .uptime = now - start_};
  if (const double seconds = metrics.window.seconds(); seconds > 0) {
    metrics.tokens_per_second = static_cast<double>(end.generated_tokens - begin.generated_tokens) / seconds;
    metrics.requests_per_second = static_cast<double>(end.requests_ended - begin.requests_ended) / seconds;
    metrics.cpu_utilization = std::min(1.0, (end.cpu_time - begin.cpu_time).seconds() / seconds / machine.cores);
  }
  if (const uint64_t prompt = end.prompt_tokens - begin.prompt_tokens; prompt > 0) {
    metrics.hit_rate = static_cast<double>(end.cached_tokens - begin.cached_tokens) / static_cast<double>(prompt);
  }
  if (const uint64_t tokens = end.nll_tokens - begin.nll_tokens; tokens >= kPplTokensMin) {
    metrics.ppl = std::exp((end.nll - begin.nll) / static_cast<double>(tokens));
    if (const std::optional<double> divergence = engine.snapshot.kv.expected_divergence) {
      metrics.ppl_baseline = *metrics.ppl * std::exp(-*divergence);
    }
  }
  std::vector<Duration> latencies, first_tokens;
  for (const RequestTimes& times : recorder_.window().since(Instant::from_ns(now.ns() - kMetricsWindow.ns()))) {
    ++metrics.requests;
    if (times.latency) latencies.push_back(*times.latency);
    if (times.first_token) first_tokens.push_back(*times.first_token);
  }
  metrics.latency = summarize(std::move(latencies));
  metrics.first_token = summarize(std::move(first_tokens));
  if (keep && points_.back().at < now) {
    points_.push_back(end);
    while (points_.size() > 1 && now - points_[1].at >= kMetricsWindow) points_.pop_front();
  }
  return metrics;
}

}  // namespace infer::telemetry
