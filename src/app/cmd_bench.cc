#include <algorithm>
#include <optional>

#include "app/commands.h"
#include "app/loading.h"
#include "base/bytes.h"
#include "base/format.h"
#include "measure/bench.h"
#include "measure/machine_limits.h"
#include "os/interrupt.h"
#include "os/process_facts.h"
#include "os/topology.h"

namespace infer::app {
namespace {

struct Report {
  const LoadedModel& loaded;
  measure::BenchSettings settings;
  measure::BenchResult result;
  std::optional<measure::MachineLimits> limits;

  double decode_bytes_per_second() const {
    return static_cast<double>(result.decode_bytes_per_token) * result.decode_tokens_per_second.median;
  }
  double prefill_ops_per_second() const {
    return static_cast<double>(result.prefill_operations_per_token) * result.prefill_tokens_per_second.median;
  }
  double bandwidth_share() const { return decode_bytes_per_second() / limits->read_bytes_per_second; }
  double int8_share() const { return prefill_ops_per_second() / limits->int8_ops_per_second; }
};

std::string as_text(const Report& report) {
  const auto speed = [](const measure::Summary& summary) {
    return format("{:9.2f} tokens/s +/- {:.2f}", summary.median, summary.spread);
  };
  const measure::BenchSettings& settings = report.settings;
  std::string text = format("{}, {} threads, {}, {} tokens in the cache\n", report.loaded.name,
                            report.loaded.model->threads(), report.loaded.model->kernels().name, settings.depth);
  text += format("prefill {:5d}  {}  {:7.1f} Gop/s", settings.prompt_tokens,
                 speed(report.result.prefill_tokens_per_second), report.prefill_ops_per_second() * 1e-9);
  if (report.limits) {
    text +=
        format("  {:5.1f} % of {:.1f} (int8)", 100 * report.int8_share(), report.limits->int8_ops_per_second * 1e-9);
  }
  if (settings.generated_tokens > 0) {
    text += format("\ndecode  {:5d}  {}  {:7.2f} GB/s ", settings.generated_tokens,
                   speed(report.result.decode_tokens_per_second), report.decode_bytes_per_second() * 1e-9);
    if (report.limits) {
      text += format("  {:5.1f} % of {:.2f} (read), {} per token", 100 * report.bandwidth_share(),
                     report.limits->read_bytes_per_second * 1e-9, format_bytes(report.result.decode_bytes_per_token));
    }
  }
  return text + format("\noutput {:016x}\n", report.result.output_hash);
}

api::Json as_json(const Report& report) {
  const measure::BenchResult& result = report.result;
  api::Json json = api::Json::object();
  json.set("model", report.loaded.name)
      .set("isa", report.loaded.model->kernels().name)
      .set("threads", report.loaded.model->threads())
      .set("prompt_tokens", report.settings.prompt_tokens)
      .set("generated_tokens", report.settings.generated_tokens)
      .set("depth", report.settings.depth)
      .set("repetitions", report.settings.repetitions)
      .set("load_ms", report.loaded.load_time.ms())
      .set("prefill_tokens_per_second", result.prefill_tokens_per_second.median)
      .set("prefill_spread", result.prefill_tokens_per_second.spread)
      .set("decode_tokens_per_second", result.decode_tokens_per_second.median)
      .set("decode_spread", result.decode_tokens_per_second.spread)
      .set("time_to_first_token_ms", result.time_to_first_token.ms())
      .set("bytes_per_token", result.decode_bytes_per_token)
      .set("decode_bytes_per_second", report.decode_bytes_per_second())
      .set("operations_per_token", result.prefill_operations_per_token)
      .set("prefill_ops_per_second", report.prefill_ops_per_second())
      .set("kv_bytes", result.kv_bytes)
      .set("kv_bytes_f16", result.kv_bytes_f16)
      .set("output_hash", format("{:016x}", result.output_hash))
      .set("peak_rss_bytes", os::peak_resident_bytes() ? api::Json(*os::peak_resident_bytes()) : api::Json());
  if (report.limits) {
    json.set("limits", api::Json::object()
                           .set("read_bytes_per_second", report.limits->read_bytes_per_second)
                           .set("int8_ops_per_second", report.limits->int8_ops_per_second)
                           .set("f32_ops_per_second", report.limits->f32_ops_per_second)
                           .set("decode_share_of_bandwidth", report.bandwidth_share())
                           .set("prefill_share_of_int8", report.int8_share()));
  }
  return json;
}

}  // namespace

Status bench_command(const BenchOptions& options, Services& services) {
  const os::InterruptGuard guard(services.interrupt());
  const CallContext call = services.call(options.model.deadline);
  const measure::BenchSettings settings{.prompt_tokens = options.prompt_tokens,
                                        .generated_tokens = options.generated_tokens,
                                        .depth = options.depth,
                                        .repetitions = options.repetitions};
  model::ModelOptions model_options = model_options_of(options.model);
  model_options.context = settings.context();
  INFER_ASSIGN(const LoadedModel loaded, load_model(options.model, model_options, false, call, services));
  Report report{.loaded = loaded, .settings = settings, .result = {}, .limits = std::nullopt};
  if (options.limits) {
    const os::Topology topology = os::read_topology();
    const uint64_t cache = std::max(topology.l3_bytes, topology.l2_bytes);
    INFER_ASSIGN(report.limits, measure::measure_machine_limits(loaded.model->kernels(), *loaded.pool, cache, call));
  }
  {
    ProgressBar bar = services.progress("measuring", ProgressUnit::kTokens);
    const auto progress = [&](uint64_t done, uint64_t total) { bar.update(done, total); };
    INFER_ASSIGN(report.result, measure::run_bench(*loaded.model, settings, call, progress));
  }
  return options.json ? services.out().write_json(as_json(report)) : services.out().write(as_text(report));
}

}  // namespace infer::app
