#include <optional>
#include <vector>

#include "api/experiment_json.h"
#include "app/commands.h"
#include "app/trial_bench.h"
#include "base/format.h"
#include "control/ab_comparison.h"
#include "control/settings.h"
#include "measure/statistics.h"
#include "os/interrupt.h"

namespace infer::app {
namespace {

struct Setting {
  kv::LevelPolicy levels;
  int threads = 0;
};

Result<Setting> parse_setting(const std::string& text) {
  INFER_ASSIGN(const auto entries, control::parse_assignments(text));
  control::Config config;
  INFER_TRY(control::apply_document(entries, control::SettingScope::kConfig, config));
  for (const control::DocumentEntry& entry : entries) {
    if (entry.key.starts_with("kv.") || entry.key == "preset" || entry.key == "model.threads") continue;
    return Error{ErrorCode::kInvalidArgument,
                 format("{} makes no difference here; kv.*, preset and model.threads are compared", entry.key)};
  }
  return Setting{control::level_policy(config.policy, {}), config.model.threads};
}

std::string arm_text(const char* name, const std::string& setting, const control::AbArm& arm) {
  const auto median = [](const std::vector<double>& values) { return measure::summarize(values).median; };
  return format("{}  {:9.1f} tokens/s  first token {:7.1f} ms  perplexity {:+.4f}  {}\n", name,
                median(arm.tokens_per_second), median(arm.first_token_ms), median(arm.delta_ppl), setting);
}

api::Json arm_json(const std::string& setting, const control::AbArm& arm) {
  const auto list = [](const std::vector<double>& values) {
    api::Json json = api::Json::array();
    for (const double each : values) json.push(each);
    return json;
  };
  return api::Json::object()
      .set("settings", setting)
      .set("decode_tokens_per_second", list(arm.tokens_per_second))
      .set("time_to_first_token_ms", list(arm.first_token_ms))
      .set("delta_ppl", list(arm.delta_ppl));
}

void add(const quality::TrialFigures& figures, control::AbArm& arm) {
  arm.tokens_per_second.push_back(figures.tokens_per_second);
  arm.first_token_ms.push_back(figures.first_token_ms);
  arm.delta_ppl.push_back(figures.delta_ppl);
}

}  // namespace

Status ab_command(const AbCommand& options, Services& services) {
  const os::InterruptGuard guard(services.interrupt());
  const CallContext call = services.call(options.model.deadline);
  auto a = parse_setting(options.a), b = parse_setting(options.b);
  if (!a) return std::move(a).error().with_context("ab: A");
  if (!b) return std::move(b).error().with_context("ab: B");
  if (a->threads != b->threads) {
    return Error{ErrorCode::kInvalidArgument,
                 "ab: model.threads must be the same in A and B, so that both run on the same loaded model; tune tries "
                 "numbers of threads"};
  }
  TrialBench bench(options.model,
                   {.text = options.text,
                    .prompt = options.prompt_tokens,
                    .decoded = options.generated_tokens,
                    .sequences_max = options.sequences},
                   services);
  control::AbArm arms[2];
  // One that does not count: the first touches memory and caches for the first time.
  INFER_TRY(bench.run(a->levels, options.sequences, a->threads, 0, call));
  ProgressBar bar = services.progress("comparing", ProgressUnit::kTasks);
  for (int pair = 0; pair < options.pairs; ++pair) {
    // A goes first in one pair, B in the next.
    for (int turn = 0; turn < 2; ++turn) {
      const int which = (pair + turn) % 2;
      const Setting& setting = which == 0 ? *a : *b;
      auto figures = bench.run(setting.levels, options.sequences, setting.threads, pair, call);
      if (!figures) return std::move(figures).error();
      add(*figures, arms[which]);
    }
    bar.update(static_cast<uint64_t>(pair) + 1, static_cast<uint64_t>(options.pairs));
  }
  bar.finish();
  const control::AbReport report = control::compare_arms(arms[0], arms[1], true);
  if (!options.json) {
    return services.out().write(arm_text("A", options.a, arms[0]) + arm_text("B", options.b, arms[1]) + report.verdict +
                                "\n");
  }
  return services.out().write_json(api::Json::object()
                                       .set("model", bench.model_name())
                                       .set("pairs", options.pairs)
                                       .set("a", arm_json(options.a, arms[0]))
                                       .set("b", arm_json(options.b, arms[1]))
                                       .set("speed", api::difference_json(report.speed))
                                       .set("first_token", api::difference_json(report.first_token))
                                       .set("quality", api::difference_json(report.quality))
                                       .set("verdict", report.verdict));
}

}  // namespace infer::app
