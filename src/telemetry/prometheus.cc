#include "telemetry/prometheus.h"

#include <cmath>
#include <initializer_list>
#include <numeric>
#include <utility>

#include "base/format.h"

namespace infer::telemetry {

namespace {

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

std::string number_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return format("{}", value);
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

// A page of metric families, each begun once.
class Page {
 public:
  void begin(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    text_ += format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  void sample(double value, Labels labels = {}, std::string_view suffix = "") {
    text_.append(name_).append(suffix);
    char before = '{';
    for (const auto& [name, label] : labels) {
      text_ += before;
      text_.append(name).append("=\"").append(escaped(label)).append("\"");
      before = ',';
    }
    if (before == ',') text_ += '}';
    text_.append(" ").append(number_text(value)).append("\n");
  }
  void counter(std::string_view name, std::string_view help, uint64_t value) {
    begin(name, "counter", help);
    sample(static_cast<double>(value));
  }
  // Nothing when it is not known.
  void gauge(std::string_view name, std::string_view help, std::optional<double> value) {
    if (!value) return;
    begin(name, "gauge", help);
    sample(*value);
  }
  void histogram(std::string_view name, std::string_view help, const HistogramCounts& counts) {
    begin(name, "histogram", help);
    uint64_t below = 0;
    for (size_t i = 0; i < counts.bounds.size(); ++i) {
      below += counts.counts[i];
      sample(static_cast<double>(below), {{"le", number_text(counts.bounds[i])}}, "_bucket");
    }
    const auto total = static_cast<double>(counts.total());
    sample(total, {{"le", "+Inf"}}, "_bucket");
    sample(counts.sum_seconds, {}, "_sum");
    sample(total, {}, "_count");
  }
  std::string take() { return std::move(text_); }

 private:
  std::string name_;
  std::string text_;
};

template <class T>
std::optional<double> known(const std::optional<T>& value) {
  return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
}

double waiting(const engine::EngineSnapshot& engine) {
  return std::accumulate(engine.waiting.begin(), engine.waiting.end(), 0);
}

std::optional<double> pages_used_ratio(const engine::EngineSnapshot& engine) {
  if (engine.pages_max <= 0) return std::nullopt;
  return static_cast<double>(engine.pages_max - engine.pages_free) / static_cast<double>(engine.pages_max);
}

void add_requests(Page& page, const Metrics& metrics, const Recorder& recorder) {
  const engine::EngineSnapshot& engine = metrics.engine.snapshot;
  page.gauge("inferos_requests_running", "Requests that have pages.", engine.running);
  page.gauge("inferos_requests_waiting", "Requests that wait for pages.", waiting(engine));
  page.gauge(
      "inferos_queue_tokens", "Prompt tokens that wait to be computed.",
      static_cast<double>(std::accumulate(engine.prompt_tokens.begin(), engine.prompt_tokens.end(), int64_t{0})));
  page.begin("inferos_requests_total", "counter", "Requests that ended, by how.");
  for (size_t i = 0; i < engine::kFinishReasonCount; ++i) {
    page.sample(static_cast<double>(engine.counters.ended[i]),
                {{"outcome", engine::finish_reason_name(static_cast<engine::FinishReason>(i))}});
  }
  page.begin("inferos_admission_rejections_total", "counter", "Requests refused before they were computed, by reason.");
  const auto rejections = recorder.rejections();
  for (size_t i = 0; i < rejections.size(); ++i) {
    page.sample(static_cast<double>(rejections[i]), {{"reason", rejection_name(static_cast<Rejection>(i))}});
  }
  page.begin("inferos_deadline_misses_total", "counter", "Requests that a time limit ended, by limit.");
  const auto limits = recorder.passed_limits();
  for (size_t i = 1; i < limits.size(); ++i) {
    page.sample(static_cast<double>(limits[i]),
                {{"limit", engine::passed_limit_name(static_cast<engine::PassedLimit>(i))}});
  }
  page.histogram("inferos_request_duration_seconds", "From submission to the end of an answer.", recorder.latency());
  page.histogram("inferos_time_to_first_token_seconds", "From submission to the first token.", recorder.first_token());
  page.histogram("inferos_queue_seconds", "From submission to the first pages.", recorder.queue());
  page.histogram("inferos_time_per_output_token_seconds", "Of an answer, from its first token on.",
                 recorder.token_time());
}

void add_drafts(Page& page, const engine::EngineSnapshot& engine) {
  const auto samples = [&](auto count) {
    for (size_t i = 0; i < engine.counters.drafts.size(); ++i) {
      page.sample(static_cast<double>(count(engine.counters.drafts[i])),
                  {{"source", engine::draft_source_name(static_cast<engine::DraftSource>(i))}});
    }
  };
  page.begin("inferos_drafted_tokens_total", "counter", "Tokens that were drafted and verified, by who drafted them.");
  samples([](const engine::DraftCounters& draft) { return draft.drafted; });
  page.begin("inferos_draft_accepted_tokens_total", "counter", "Of those, accepted.");
  samples([](const engine::DraftCounters& draft) { return draft.accepted; });
  if (!engine.draft_model) return;
  const engine::DraftModelSnapshot& model = *engine.draft_model;
  page.counter("inferos_draft_model_computed_tokens_total", "Tokens that went through the draft model.",
               model.computed_tokens);
  page.begin("inferos_draft_model_seconds_total", "counter", "Time that the draft model took.");
  page.sample(model.time.seconds(), {});
  page.counter("inferos_draft_model_failures_total", "Steps of the draft model that failed.", model.failures);
  page.gauge("inferos_draft_model_usable", "0 when it failed too often in a row.", model.usable ? 1 : 0);
  page.gauge("inferos_draft_model_kv_cache_bytes", "Memory of the draft model's KV cache in use.",
             static_cast<double>(model.kv_bytes));
}

void add_tokens(Page& page, const Metrics& metrics) {
  const engine::EngineCounters& counters = metrics.engine.snapshot.counters;
  page.counter("inferos_prompt_tokens_total", "Prompt tokens of requests that got pages.", counters.prompt_tokens);
  page.counter("inferos_prefix_cache_tokens_total", "Of those, taken over from earlier requests.",
               counters.cached_tokens);
  page.counter("inferos_generation_tokens_total", "Tokens generated.", counters.generated_tokens);
  page.counter("inferos_computed_tokens_total", "Tokens that went through the model.", counters.computed_tokens);
  page.counter("inferos_steps_total", "Steps computed.", counters.steps);
  page.counter("inferos_steps_abandoned_total", "Steps given up for a limit or a cancellation.",
               counters.steps_abandoned);
  page.counter("inferos_steps_failed_total", "Steps that failed.", counters.steps_failed);
  page.counter("inferos_requests_parked_total", "Requests that gave their pages up and waited again.", counters.parks);
  page.gauge("inferos_generation_tokens_per_second", "Over the last minute.", metrics.tokens_per_second);
  page.gauge("inferos_speculative_accept_ratio", "Of speculated tokens, accepted.", metrics.engine.accept_rate);
  add_drafts(page, metrics.engine.snapshot);
}

void add_prefix_store(Page& page, const engine::PrefixStoreSnapshot& store) {
  page.counter("inferos_prefix_store_restored_tokens_total", "Prompt tokens that came back from disk.",
               store.restored_tokens);
  page.counter("inferos_prefix_store_files_written_total", "Files of 64 tokens written.", store.counters.written);
  page.counter("inferos_prefix_store_written_bytes_total", "Bytes of them.", store.counters.written_bytes);
  page.counter("inferos_prefix_store_files_read_total", "Files read that were good.", store.counters.read);
  page.counter("inferos_prefix_store_read_bytes_total", "Bytes of them.", store.counters.read_bytes);
  page.counter("inferos_prefix_store_files_refused_total", "Files that were damaged or foreign.",
               store.counters.refused);
  page.counter("inferos_prefix_store_files_removed_total", "Files removed for lack of room.", store.counters.removed);
  page.counter("inferos_prefix_store_failures_total", "Errors of the disk, a full one among them.",
               store.counters.failed);
  page.gauge("inferos_prefix_store_bytes", "Of all files in the folder.", static_cast<double>(store.counters.bytes));
  page.gauge("inferos_prefix_store_files", "Files of this model.", static_cast<double>(store.files));
}

void add_memory(Page& page, const Metrics& metrics) {
  const engine::EngineSnapshot& engine = metrics.engine.snapshot;
  page.gauge("inferos_kv_cache_usage_ratio", "Pages of the KV cache that are in use.", pages_used_ratio(engine));
  page.gauge("inferos_prefix_cache_nodes", "Pages that later requests can take over.",
             static_cast<double>(engine.prefix_nodes));
  const engine::KvSnapshot& kv = engine.kv;
  page.gauge("inferos_kv_cache_bytes", "Memory of the KV cache in use.", static_cast<double>(kv.bytes));
  page.gauge("inferos_kv_cache_f16_bytes", "What the same pages would take with 16 bits.",
             static_cast<double>(kv.bytes_f16));
  page.begin("inferos_kv_cache_pages", "gauge", "Pages of the KV cache by level.");
  for (size_t level = 0; level < kv.pages.size(); ++level) {
    page.sample(kv.pages[level], {{"level", format("L{}", level)}});
  }
  page.gauge("inferos_quality_expected_divergence_nats", "What lowered pages are expected to cost, by token.",
             kv.expected_divergence);
  page.gauge("inferos_quality_perplexity", "Of what was generated in the last minute.", metrics.ppl);
  page.gauge("inferos_quality_delta_perplexity", "Of that, what is expected to be due to lowered pages.",
             metrics.delta_ppl());
  page.gauge("inferos_memory_available_bytes", "What the machine has left.", known(metrics.memory.available_bytes));
  page.gauge("process_resident_memory_bytes", "Of this process, in memory.", known(metrics.memory.resident_bytes));
  page.gauge("inferos_memory_peak_bytes", "The most of this process so far.", known(metrics.memory.peak_bytes));
  page.gauge("inferos_cpu_utilization_ratio", "Of the cores that may be used, over the last minute.",
             metrics.cpu_utilization);
}

void add_agent(Page& page, const Metrics& metrics, const AgentCounters& agent) {
  page.begin("inferos_build_info", "gauge", "The model that is served.");
  page.sample(1, {{"model", metrics.engine.model}});
  page.gauge("inferos_uptime_seconds", "Since the start.", metrics.uptime.seconds());
  page.gauge("inferos_baseline_mode", "1 while all optimization is switched off.", agent.baseline ? 1 : 0);
  page.counter("inferos_policy_changes_total", "Policies applied.", agent.policy_changes);
  page.counter("inferos_alerts_total", "Alerts raised.", agent.alerts);
  const auto family = [&](const char* name, const char* type, const char* help, const char* label, const auto& counts) {
    page.begin(name, type, help);
    for (const AgentCounters::Count& each : counts) {
      if (!each.name.empty()) page.sample(static_cast<double>(each.value), {{label, std::string(each.name)}});
    }
  };
  family("inferos_fallbacks_total", "counter", "Steps back from the policy.", "reason", agent.fallbacks);
  family("inferos_steps_back", "gauge", "Steps back from the policy in effect.", "event", agent.steps_back);
  family("inferos_loop_runs_total", "counter", "Runs of the control loops.", "loop", agent.loop_runs);
  family("inferos_loop_overruns_total", "counter", "Runs of the control loops that were missed.", "loop",
         agent.loop_overruns);
  page.counter("inferos_history_records_total", "Samples written to the history.", agent.history_written);
  page.counter("inferos_history_dropped_total", "Samples that were not, because the disk was behind.",
               agent.history_dropped);
}

std::string vllm_text(const Metrics& metrics, const Recorder& recorder) {
  Page page;
  const engine::EngineSnapshot& engine = metrics.engine.snapshot;
  const engine::EngineCounters& counters = engine.counters;
  const auto ended = [&](engine::FinishReason reason) {
    return static_cast<double>(counters.ended[static_cast<size_t>(reason)]);
  };
  page.gauge("vllm:num_requests_running", "Requests that have pages.", engine.running);
  page.gauge("vllm:num_requests_waiting", "Requests that wait for pages.", waiting(engine));
  page.gauge("vllm:kv_cache_usage_perc", "Pages of the KV cache that are in use, 1 is all.", pages_used_ratio(engine));
  page.counter("vllm:prompt_tokens_total", "Prompt tokens of requests that got pages.", counters.prompt_tokens);
  page.counter("vllm:generation_tokens_total", "Tokens generated.", counters.generated_tokens);
  page.counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up.", counters.prompt_tokens);
  page.counter("vllm:prefix_cache_hits_total", "Prompt tokens taken over.", counters.cached_tokens);
  page.begin("vllm:request_success_total", "counter", "Requests that ended, by how.");
  page.sample(ended(engine::FinishReason::kStop), {{"finished_reason", "stop"}});
  page.sample(ended(engine::FinishReason::kLength), {{"finished_reason", "length"}});
  page.sample(ended(engine::FinishReason::kCancelled), {{"finished_reason", "abort"}});
  page.histogram("vllm:time_to_first_token_seconds", "From submission to the first token.", recorder.first_token());
  page.histogram("vllm:request_time_per_output_token_seconds", "Of an answer, from its first token on.",
                 recorder.token_time());
  page.histogram("vllm:e2e_request_latency_seconds", "From submission to the end of an answer.", recorder.latency());
  page.histogram("vllm:request_queue_time_seconds", "From submission to the first pages.", recorder.queue());
  return page.take();
}

std::string llamacpp_text(const Metrics& metrics) {
  Page page;
  const engine::EngineSnapshot& engine = metrics.engine.snapshot;
  const engine::EngineCounters& counters = engine.counters;
  page.counter("llamacpp:prompt_tokens_total", "Prompt tokens computed.",
               counters.prompt_tokens - counters.cached_tokens);
  page.counter("llamacpp:tokens_predicted_total", "Tokens generated.", counters.generated_tokens);
  page.counter("llamacpp:n_decode_total", "Steps computed.", counters.steps);
  page.gauge("llamacpp:predicted_tokens_seconds", "Tokens generated in a second, over the last minute.",
             metrics.tokens_per_second);
  page.gauge("llamacpp:requests_processing", "Requests that have pages.", engine.running);
  page.gauge("llamacpp:requests_deferred", "Requests that wait for pages.", waiting(engine));
  return page.take();
}

}  // namespace

std::optional<MetricNames> metric_names(std::string_view word) {
  if (word == "inferos") return MetricNames::kInferos;
  if (word == "vllm") return MetricNames::kVllm;
  if (word == "llamacpp") return MetricNames::kLlamaCpp;
  return std::nullopt;
}

std::string prometheus_text(const Metrics& metrics, const Recorder& recorder, const AgentCounters& agent,
                            MetricNames names) {
  if (names == MetricNames::kVllm) return vllm_text(metrics, recorder);
  if (names == MetricNames::kLlamaCpp) return llamacpp_text(metrics);
  Page page;
  add_requests(page, metrics, recorder);
  add_tokens(page, metrics);
  if (metrics.engine.snapshot.prefix_store) add_prefix_store(page, *metrics.engine.snapshot.prefix_store);
  add_memory(page, metrics);
  add_agent(page, metrics, agent);
  return page.take();
}

}  // namespace infer::telemetry
