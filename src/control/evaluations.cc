#include "control/evaluations.h"

#include <algorithm>

#include "base/format.h"
#include "os/local_time.h"

namespace infer::control {

using quality::EvaluationProgress;
using quality::EvaluationState;

std::string levels_text(const kv::LevelPolicy& levels) {
  if (levels.mode == kv::KvMode::kF16) return "disabled";
  return format("{}, window {}, levels {}/{}/{}", kv::mode_name(levels.mode), levels.recent_window,
                levels.thresholds.l1_int8, levels.thresholds.l2_int4, levels.thresholds.l3_evict);
}

Result<uint64_t> Evaluations::start(EvaluationKind kind, std::optional<int> windows, std::string_view trigger,
                                    const EvaluationConfig& config) {
  if (work_ == nullptr || work_->text().windows() == 0) {
    return Error{ErrorCode::kUnsupported,
                 "there is no text long enough for this model's context: name one with quality.dataset"};
  }
  const int wished = windows.value_or(kind == EvaluationKind::kFull ? config.full_windows : config.light_windows);
  const int some = windows ? wished : std::min(wished, work_->text().windows());
  INFER_ASSIGN(const uint64_t number, work_->start(some));
  kind_ = kind;
  trigger_ = trigger;
  return number;
}

bool Evaluations::cancel() {
  if (work_ == nullptr || !work_->is_busy()) return false;
  work_->cancel();
  return true;
}

bool Evaluations::start_due(const EvaluationConfig& config, WallTime now) {
  if (work_ == nullptr) return false;
  const auto due = schedule_.take_due(config, now, os::utc_offset_seconds(now));
  // One that still runs stands for the one that is due.
  return due && start(*due, std::nullopt, "schedule", config).has_value();
}

std::optional<Evaluations::Ended> Evaluations::take_ended(std::string_view model, WallTime now) {
  if (work_ == nullptr) return std::nullopt;
  const EvaluationProgress progress = work_->progress();
  const bool has_ended = progress.state != EvaluationState::kNone && progress.state != EvaluationState::kRunning;
  if (!has_ended || progress.number == told_) return std::nullopt;
  told_ = progress.number;
  Ended ended{.state = progress.state,
              .record = {.time = now,
                         .kind = evaluation_kind_name(kind_),
                         .trigger = trigger_,
                         .model = std::string(model),
                         .policy = levels_text(progress.levels),
                         .dataset = work_->text().name,
                         .positions = progress.positions,
                         .seconds = progress.worked.seconds()}};
  if (progress.state != EvaluationState::kDone) return ended;
  const quality::Divergence& figures = progress.figures;
  telemetry::EvaluationRecord& record = ended.record;
  record.ppl_f16 = figures.ppl_reference;
  record.ppl = figures.ppl_reference + figures.delta_ppl;
  record.delta_ppl = figures.delta_ppl;
  record.delta_stderr = figures.delta_ppl_stderr;
  record.kld_mean = figures.kld_mean;
  record.kld_p999 = figures.kld_p999;
  record.same_top = figures.same_top;
  last_ = record;
  return ended;
}

telemetry::EvaluationFacts Evaluations::facts() const {
  if (work_ == nullptr) return {};
  return {
      .last = last_, .next = schedule_.next_full(), .status = quality::evaluation_state_name(work_->progress().state)};
}

std::optional<quality::ExactFindings> Evaluations::take_findings() {
  if (work_ == nullptr) return std::nullopt;
  const quality::ExactFindings findings = work_->exact();
  if (findings.all_checks == checks_ || findings.checks == 0) return std::nullopt;
  checks_ = findings.all_checks;
  return findings;
}

}  // namespace infer::control
