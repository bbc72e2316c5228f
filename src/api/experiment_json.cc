#include "api/experiment_json.h"

#include <string>

#include "api/metrics_json.h"

namespace infer::api {

Json trial_json(const control::Tuner& tuner, const control::TuneTrial& trial) {
  const control::TuneSetting setting = setting_at(tuner.space(), trial.point);
  const quality::TrialFigures& figures = trial.figures;
  return Json::object()
      .set("kv_mode", setting.mode == kv::KvMode::kF16 ? "disabled" : kv::mode_name(setting.mode))
      .set("recent_window", setting.window)
      .set("L1_int8", setting.thresholds.l1_int8)
      .set("L2_int4", setting.thresholds.l2_int4)
      .set("L3_evict", setting.thresholds.l3_evict)
      .set("running_max", setting.sequences)
      .set("threads", setting.threads > 0 ? Json(setting.threads) : Json())
      .set("decode_tokens_per_second", figures.tokens_per_second)
      .set("time_to_first_token_ms", figures.first_token_ms)
      .set("delta_ppl", figures.delta_ppl)
      .set("delta_ppl_stderr", figures.delta_stderr)
      .set("kv_share", figures.kv_share)
      .set("allowed", tuner.allowed(trial));
}

Json tuner_json(const control::Tuner& tuner) {
  Json trials = Json::array(), alternatives = Json::array();
  for (const control::TuneTrial& each : tuner.trials()) trials.push(trial_json(tuner, each));
  for (const control::TuneTrial& each : tuner.alternatives()) alternatives.push(trial_json(tuner, each));
  const auto best = tuner.best();
  return Json::object()
      .set("combinations", static_cast<uint64_t>(tuner.space().settings()))
      .set("max_delta_ppl", tuner.goal().max_delta_ppl)
      .set("choice", best ? trial_json(tuner, *best) : Json())
      .set("reason", tuner.reason())
      .set("alternatives", std::move(alternatives))
      .set("trials", std::move(trials));
}

Json not_searched_json() {
  const auto left_out = [](const char* setting, const char* reason) {
    return Json::object().set("setting", setting).set("reason", reason);
  };
  return Json::array()
      .push(left_out("model.threads", "chosen when a server starts: inferos tune searches it"))
      .push(
          left_out("server.running_max",
                   "chosen when a server starts: inferos tune --use batch searches it; here \"parallel\" says for how "
                   "many answers at once"))
      .push(
          left_out("model.draft_max",
                   "chosen when a server starts, and drafts are made where they gain something: inferos tune measures "
                   "it"));
}

Json tuning_json(const control::Tuning& tuning) {
  Json json = Json::object();
  json.set("status", control::tuning_state_name(tuning.state())).set("id", tuning.number());
  if (const control::Tuner* const tuner = tuning.tuner()) {
    const Json found = tuner_json(*tuner);
    for (const auto& [key, value] : found.members()) json.set(key, value);
    json.set("not_searched", not_searched_json());
  }
  return json;
}

Json difference_json(const std::optional<control::AbDifference>& found) {
  if (!found) return {};
  return Json::object()
      .set("mean", found->mean)
      .set("low", found->low)
      .set("high", found->high)
      .set("found", found->is_found());
}

namespace {

Json arm_json(const control::AbRun& run, int which) {
  const control::AbArm& arm = run.arm(which);
  const auto mean = [](const std::vector<double>& values) {
    double sum = 0;
    for (const double each : values) sum += each;
    return values.empty() ? Json() : Json(sum / static_cast<double>(values.size()));
  };
  const auto quality = run.quality(which);
  return Json::object()
      .set("policy", policy_json(which == 0 ? run.wish().a : run.wish().b))
      .set("answers", static_cast<uint64_t>(arm.tokens_per_second.size()))
      .set("decode_tokens_per_second", mean(arm.tokens_per_second))
      .set("time_to_first_token_ms", mean(arm.first_token_ms))
      .set("delta_ppl", quality ? Json(quality->delta_ppl) : Json())
      .set("delta_ppl_stderr", quality ? Json(quality->delta_ppl_stderr) : Json());
}

}  // namespace

Json comparison_json(const control::AbRun& run) {
  Json json = Json::object();
  json.set("status", control::ab_state_name(run.state())).set("id", run.number());
  if (run.state() == control::AbState::kNone) return json;
  const control::AbReport report = run.report();
  return json.set("a", arm_json(run, 0))
      .set("b", arm_json(run, 1))
      .set("speed", difference_json(report.speed))
      .set("first_token", difference_json(report.first_token))
      .set("quality", difference_json(report.quality))
      .set("verdict", report.verdict);
}

}  // namespace infer::api
