#include <algorithm>
#include <optional>
#include <vector>

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

  double prompt_tokens() const { return static_cast<double>(settings.prompt_tokens) * settings.sequences; }
  double prefills_per_second() const { return result.prefill_tokens_per_second.median / prompt_tokens(); }
  double steps_per_second() const { return result.decode_tokens_per_second.median / settings.sequences; }
  double prefill_ops_per_second() const {
    return static_cast<double>(result.prefill.int8_ops + result.prefill.f32_ops) * prefills_per_second();
  }
  double decode_bytes_per_second() const {
    return static_cast<double>(result.decode_step.read_bytes) * steps_per_second();
  }

  // With limits only.
  double bandwidth_share() const { return decode_bytes_per_second() / limits->read_bytes_per_second; }
  double int8_share() const {
    return static_cast<double>(result.prefill.int8_ops) * prefills_per_second() / limits->int8_ops_per_second;
  }
  double prefill_limit() const { return prompt_tokens() / measure::least_seconds(result.prefill, *limits); }
  double decode_limit() const { return settings.sequences / measure::least_seconds(result.decode_step, *limits); }
  double prefill_share() const { return result.prefill_tokens_per_second.median / prefill_limit(); }
  double decode_share() const { return result.decode_tokens_per_second.median / decode_limit(); }
};

std::string limits_line(const measure::MachineLimits& limits) {
  const std::string bf16 =
      limits.bf16_ops_per_second ? format("{:.1f} Gop/s", *limits.bf16_ops_per_second * 1e-9) : std::string("-");
  return format("limits   read {:.2f} GB/s, int8 {:.1f} Gop/s, bf16 {}, f32 {:.1f} Gop/s\n",
                limits.read_bytes_per_second * 1e-9, limits.int8_ops_per_second * 1e-9, bf16,
                limits.f32_ops_per_second * 1e-9);
}

// "prefill 8 x 512", in a column.
std::string work_label(const char* what, int sequences, int tokens) {
  const std::string count = sequences > 1 ? format("{} x {}", sequences, tokens) : format("{}", tokens);
  return format("{:<8} {:>8}", what, count);
}

std::string as_text(const Report& report) {
  const auto speed = [](const measure::Summary& summary) {
    return format("{:9.2f} tokens/s +/- {:.2f}", summary.median, summary.spread);
  };
  const measure::BenchSettings& settings = report.settings;
  std::string text = format("{}, {} threads, {}, {} tokens in the cache\n", report.loaded.name,
                            report.loaded.model->threads(), report.loaded.model->kernels().name, settings.depth);
  if (report.limits) text += limits_line(*report.limits);
  text += format("{}  {}  {:8.1f} Gop/s", work_label("prefill", settings.sequences, settings.prompt_tokens),
                 speed(report.result.prefill_tokens_per_second), report.prefill_ops_per_second() * 1e-9);
  if (report.limits) {
    text += format("  {:5.1f} % of the limit of {:.1f} tokens/s", 100 * report.prefill_share(), report.prefill_limit());
    if (report.result.prefill.int8_ops > 0) text += format("; int8 at {:.1f} %", 100 * report.int8_share());
  }
  if (settings.generated_tokens > 0) {
    text += format("\n{}  {}  {:8.2f} GB/s ", work_label("decode", settings.sequences, settings.generated_tokens),
                   speed(report.result.decode_tokens_per_second), report.decode_bytes_per_second() * 1e-9);
    if (report.limits) {
      text += format("  {:5.1f} % of the limit of {:.1f} tokens/s; reading at {:.1f} %, {} a step",
                     100 * report.decode_share(), report.decode_limit(), 100 * report.bandwidth_share(),
                     format_bytes(report.result.decode_step.read_bytes));
    }
  }
  return text + format("\noutput {:016x}\n", report.result.output_hash);
}

api::Json limits_json(const Report& report) {
  const measure::MachineLimits& limits = *report.limits;
  return api::Json::object()
      .set("read_bytes_per_second", limits.read_bytes_per_second)
      .set("int8_ops_per_second", limits.int8_ops_per_second)
      .set("bf16_ops_per_second", limits.bf16_ops_per_second ? api::Json(*limits.bf16_ops_per_second) : api::Json())
      .set("f32_ops_per_second", limits.f32_ops_per_second)
      .set("prefill_tokens_per_second", report.prefill_limit())
      .set("decode_tokens_per_second", report.decode_limit())
      .set("prefill_share", report.prefill_share())
      .set("decode_share", report.decode_share())
      .set("decode_share_of_bandwidth", report.bandwidth_share())
      .set("prefill_share_of_int8", report.int8_share());
}

api::Json as_json(const Report& report) {
  const measure::BenchResult& result = report.result;
  const model::Model& model = *report.loaded.model;
  api::Json json = api::Json::object();
  json.set("model", report.loaded.name)
      .set("isa", model.kernels().name)
      .set("threads", model.threads())
      .set("prompt_tokens", report.settings.prompt_tokens)
      .set("generated_tokens", report.settings.generated_tokens)
      .set("depth", report.settings.depth)
      .set("decode_depth", report.settings.decode_depth())
      .set("sequences", report.settings.sequences)
      .set("repetitions", report.settings.repetitions)
      .set("load_ms", report.loaded.load_time.ms())
      .set("weights", weights_source_name(*report.loaded.model))
      .set("prefill_tokens_per_second", result.prefill_tokens_per_second.median)
      .set("prefill_spread", result.prefill_tokens_per_second.spread)
      .set("decode_tokens_per_second", result.decode_tokens_per_second.median)
      .set("decode_spread", result.decode_tokens_per_second.spread)
      .set("time_to_first_token_ms", result.time_to_first_token.ms())
      .set("bytes_per_token", result.decode_step.read_bytes / static_cast<uint64_t>(report.settings.sequences))
      .set("bytes_per_step", result.decode_step.read_bytes)
      .set("decode_bytes_per_second", report.decode_bytes_per_second())
      .set("operations_per_token", model.operations_per_token(false))
      .set("prefill_ops_per_second", report.prefill_ops_per_second())
      .set("kv_bytes", result.kv_bytes)
      .set("kv_bytes_f16", result.kv_bytes_f16)
      .set("output_hash", format("{:016x}", result.output_hash))
      .set("peak_rss_bytes", os::peak_resident_bytes() ? api::Json(*os::peak_resident_bytes()) : api::Json());
  if (report.limits) json.set("limits", limits_json(report));
  return json;
}

Result<measure::MachineLimits> measure_limits(const LoadedModel& loaded, const CallContext& call) {
  const os::Topology topology = os::read_topology();
  const uint64_t cache = std::max(topology.l3_bytes, topology.l2_bytes);
  return measure::measure_machine_limits(loaded.model->kernels(), *loaded.pool, loaded.model->weight_panels(), cache,
                                         call);
}

}  // namespace

Status bench_command(const BenchOptions& options, Services& services) {
  const os::InterruptGuard guard(services.interrupt());
  const CallContext call = services.call(options.model.deadline);
  const measure::BenchSettings settings{.prompt_tokens = options.prompt_tokens,
                                        .generated_tokens = options.generated_tokens,
                                        .depth = options.depth,
                                        .repetitions = options.repetitions,
                                        .sequences = options.sequences,
                                        .after_prompt = options.after_prompt};
  model::ModelOptions model_options = model_options_of(options.model);
  model_options.context = settings.context();
  model_options.sequences = settings.sequences;
  model_options.logits_per_step = settings.sequences;
  model_options.tokens_per_step = std::max(model_options.tokens_per_step, settings.sequences);
  INFER_ASSIGN(const LoadedModel loaded, load_model(options.model, model_options, false, call, services));
  finish_storing_weights(*loaded.model, call, services);
  if (const Status settled = loaded.model->finish_settling_weights(call); !settled) {
    INFER_TRY(call.check("loading the weights"));
    services.err().remark(settled.error().message);
  }
  Report report{.loaded = loaded, .settings = settings, .result = {}, .limits = std::nullopt};
  std::vector<measure::MachineLimits> limits;
  const auto measure_limits_too = [&]() -> Status {
    INFER_ASSIGN(const measure::MachineLimits now, measure_limits(loaded, call));
    limits.push_back(now);
    return {};
  };
  {
    ProgressBar bar = services.progress("measuring", ProgressUnit::kTokens);
    const auto progress = [&](uint64_t done, uint64_t total) { bar.update(done, total); };
    const measure::BenchPause pause = options.limits ? measure::BenchPause(measure_limits_too) : nullptr;
    INFER_ASSIGN(report.result, measure::run_bench(*loaded.model, settings, call, progress, pause));
  }
  if (options.limits) report.limits = measure::median_limits(limits);
  return options.json ? services.out().write_json(as_json(report)) : services.out().write(as_text(report));
}

}  // namespace infer::app
