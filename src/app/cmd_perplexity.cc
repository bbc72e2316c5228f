#include <algorithm>

#include "app/commands.h"
#include "app/loading.h"
#include "base/bytes.h"
#include "base/format.h"
#include "os/interrupt.h"
#include "os/process_facts.h"
#include "quality/perplexity.h"

namespace infer::app {
namespace {

// Positions that are scored per step: enough to use the output matrix well, few enough to keep the logits small.
constexpr int kLogitsPerStep = 128;

// Lowered pages show from the step after the one that wrote them.
constexpr int kLoweredStep = 64;

api::Json as_json(const std::optional<quality::Divergence>& divergence) {
  if (!divergence) return {};
  return api::Json::object()
      .set("ppl_f16", divergence->ppl_reference)
      .set("delta_ppl", divergence->delta_ppl)
      .set("delta_ppl_stderr", divergence->delta_ppl_stderr)
      .set("kld_mean", divergence->kld_mean)
      .set("kld_p999", divergence->kld_p999)
      .set("kld_max", divergence->kld_max)
      .set("same_top", divergence->same_top);
}

api::Json as_json(const quality::PerplexityResult& result, const PerplexityCommand& options,
                  const LoadedModel& loaded) {
  const double seconds = result.elapsed.seconds();
  const double tokens = static_cast<double>(result.chunks) * options.context;
  return api::Json::object()
      .set("model", loaded.name)
      .set("ppl", result.ppl)
      .set("ppl_stderr", result.ppl_stderr)
      .set("ctx", options.context)
      .set("chunks", result.chunks)
      .set("tokens_scored", result.tokens_scored)
      .set("tokens_total", result.tokens_total)
      .set("kv", kv_name(options.model))
      .set("kv_bytes", result.kv_bytes)
      .set("kv_bytes_f16", result.kv_bytes_f16)
      .set("divergence", as_json(result.divergence))
      .set("expected_loss", result.expected_loss)
      .set("expected_kld", result.expected_divergence ? api::Json(*result.expected_divergence) : api::Json())
      .set("seconds", seconds)
      .set("tokens_per_second", seconds > 0 ? tokens / seconds : 0)
      .set("threads", loaded.model->threads())
      .set("isa", loaded.model->kernels().name)
      .set("peak_rss_bytes", os::peak_resident_bytes() ? api::Json(*os::peak_resident_bytes()) : api::Json());
}

}  // namespace

Status perplexity_command(const PerplexityCommand& options, Services& services) {
  const os::InterruptGuard guard(services.interrupt());
  const CallContext call = services.call(options.model.deadline);
  INFER_ASSIGN(const std::string text, read_text({.text = std::nullopt, .file = options.file}, false));
  model::ModelOptions model_options = model_options_of(options.model);
  model_options.context = options.context;
  model_options.logits_per_step = std::min(kLogitsPerStep, options.context);
  model_options.sequences = options.divergence ? 2 : 1;
  INFER_ASSIGN(const LoadedModel loaded, load_model(options.model, model_options, true, call, services));

  ProgressBar bar = services.progress("measuring", ProgressUnit::kChunks);
  const auto progress = [&](int done, int chunks, double ppl) {
    bar.set_what(format("perplexity {:.4f}", ppl));
    bar.update(static_cast<uint64_t>(done), static_cast<uint64_t>(chunks));
  };
  const bool lowered = options.model.levels.mode != kv::KvMode::kF16;
  const quality::PerplexityOptions measured{.context = options.context,
                                            .chunks = options.chunks,
                                            .tokens_per_step = options.decode ? 1
                                                               : lowered      ? kLoweredStep
                                                                              : 0,
                                            .divergence = options.divergence};
  INFER_ASSIGN(const quality::PerplexityResult result,
               quality::measure_perplexity(*loaded.model, *loaded.tokenizer, text, measured, call, progress));
  bar.finish();
  finish_storing_weights(*loaded.model, call, services);
  if (options.json) return services.out().write_json(as_json(result, options, loaded));
  INFER_TRY(services.out().write(
      format("perplexity {:.4f} +/- {:.4f}  ({} windows of {} tokens, {} scored, {:.1f} s)\n", result.ppl,
             result.ppl_stderr, result.chunks, options.context, result.tokens_scored, result.elapsed.seconds())));
  if (lowered) {
    INFER_TRY(services.out().write(format("KV cache {} ({:.1f} % of F16)\n", format_bytes(result.kv_bytes),
                                          100.0 * static_cast<double>(result.kv_bytes) /
                                              static_cast<double>(std::max<uint64_t>(1, result.kv_bytes_f16)))));
  }
  if (!result.divergence) return {};
  const quality::Divergence& d = *result.divergence;
  return services.out().write(format(
      "against 16 bits: perplexity {:+.4f} +/- {:.4f} ({:+.4f} %), divergence {:.2e} (99.9 %: {:.2e}), same most "
      "likely token {:.2f} %\n",
      d.delta_ppl, d.delta_ppl_stderr, 100 * d.delta_ppl / d.ppl_reference, d.kld_mean, d.kld_p999, 100 * d.same_top));
}

}  // namespace infer::app
