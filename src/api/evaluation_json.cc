#include "api/evaluation_json.h"

#include <string>

#include "telemetry/timestamp.h"

namespace infer::api {

namespace {

Json time_json(const std::optional<WallTime>& time) { return time ? Json(telemetry::timestamp(*time)) : Json(); }

Json progress_json(const control::Evaluations& evaluations) {
  const quality::EvaluationProgress progress = evaluations.work()->progress();
  if (progress.state == quality::EvaluationState::kNone) return {};
  Json json = Json::object()
                  .set("id", progress.number)
                  .set("kind", control::evaluation_kind_name(evaluations.kind()))
                  .set("status", quality::evaluation_state_name(progress.state))
                  .set("policy", control::levels_text(progress.levels))
                  .set("windows", progress.windows)
                  .set("windows_done", progress.windows_done)
                  .set("progress", static_cast<double>(progress.windows_done) / progress.windows)
                  .set("work_seconds", progress.worked.seconds());
  if (progress.state == quality::EvaluationState::kFailed) json.set("error", error_code_name(progress.error));
  if (!progress.has_figures) return json;
  const quality::Divergence& figures = progress.figures;
  return json.set("baseline_ppl", figures.ppl_reference)
      .set("current_ppl", figures.ppl_reference + figures.delta_ppl)
      .set("delta_ppl", figures.delta_ppl)
      .set("delta_ppl_stderr", figures.delta_ppl_stderr)
      .set("kld_mean", figures.kld_mean)
      .set("kld_p999", figures.kld_p999)
      .set("same_top", figures.same_top);
}

Json exact_json(const quality::ExactFindings& findings) {
  Json json = Json::object()
                  .set("checks", findings.checks)
                  .set("all_checks", findings.all_checks)
                  .set("work_seconds", findings.worked.seconds());
  if (findings.sums.tokens == 0) return json;
  const quality::ExactFigures figures = quality::exact_figures(findings.sums);
  json.set("tokens", figures.tokens)
      .set("baseline_ppl", figures.ppl_reference)
      .set("own_delta_ppl", figures.own_delta_ppl)
      .set("own_delta_ppl_stderr", figures.own_delta_ppl_stderr);
  if (figures.rows == 0) return json;
  return json.set("positions_compared", figures.rows)
      .set("delta_ppl", figures.delta_ppl)
      .set("delta_ppl_stderr", figures.delta_ppl_stderr)
      .set("kld_mean", figures.kld_mean)
      .set("kld_stderr", figures.kld_stderr)
      .set("same_top", figures.same_top)
      .set("same_top_stderr", figures.same_top_stderr);
}

}  // namespace

Json evaluation_json(const telemetry::EvaluationRecord& record) {
  return Json::object()
      .set("timestamp", telemetry::timestamp(record.time))
      .set("kind", record.kind)
      .set("trigger", record.trigger)
      .set("model", record.model)
      .set("policy", record.policy)
      .set("dataset", record.dataset)
      .set("positions", record.positions)
      .set("work_seconds", record.seconds)
      .set("baseline_ppl", record.ppl_f16)
      .set("current_ppl", record.ppl)
      .set("delta_ppl", record.delta_ppl)
      .set("delta_ppl_stderr", record.delta_stderr)
      .set("kld_mean", record.kld_mean)
      .set("kld_p999", record.kld_p999)
      .set("same_top", record.same_top);
}

Json alert_json(const control::Alert& alert, WallTime time) {
  return Json::object()
      .set("timestamp", telemetry::timestamp(time))
      .set("event", alert.event)
      .set("reason", alert.event)
      .set("fallback_reason", alert.reason)
      .set("active", alert.is_raised)
      .set("steps", alert.steps)
      .set("next_retry_seconds", alert.retry ? Json(alert.retry->seconds()) : Json())
      .set("notifies", alert.notifies)
      .set("message", alert.message);
}

Json evaluations_json(const control::Evaluations& evaluations) {
  Json json = Json::object();
  json.set("current", nullptr).set("exact_checks", nullptr);
  if (evaluations.work() != nullptr) {
    json.set("current", progress_json(evaluations)).set("exact_checks", exact_json(evaluations.work()->exact()));
  }
  return json.set("next", Json::object()
                              .set("full", time_json(evaluations.schedule().next_full()))
                              .set("light", time_json(evaluations.schedule().next_light())));
}

Json last_evaluation_json(const telemetry::EvaluationFacts& evaluation) {
  Json json = Json::object();
  for (const char* const key : {"last_run", "dataset", "baseline_ppl", "current_ppl", "delta_ppl"})
    json.set(key, nullptr);
  if (const auto& last = evaluation.last) {
    json.set("last_run", telemetry::timestamp(last->time))
        .set("dataset", last->dataset)
        .set("baseline_ppl", last->ppl_f16)
        .set("current_ppl", last->ppl)
        .set("delta_ppl", last->delta_ppl);
  }
  return json.set("next_scheduled", time_json(evaluation.next)).set("status", evaluation.status);
}

}  // namespace infer::api
