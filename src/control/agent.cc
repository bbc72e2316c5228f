#include "control/agent.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/format.h"

namespace infer::control {

Agent::Agent(const Config& config, AgentTarget& target, const telemetry::Recorder& recorder, Log& log, Instant now)
    : config_(config),
      target_(target),
      log_(log),
      sampler_(recorder, now),
      next_sample_(now),
      baseline_(!config.enabled),
      evaluations_(target.quality_work()),
      tuning_(target.quality_work()),
      recorder_(recorder) {
  share_exact_checks();
}

telemetry::EngineFacts Agent::facts() const {
  telemetry::EngineFacts facts = target_.facts();
  facts.snapshot.kv.expected_divergence = corrected(facts.snapshot.kv.expected_divergence);
  return facts;
}

std::optional<double> Agent::corrected(const std::optional<double>& divergence) const {
  const quality::QualityWork* const work = evaluations_.work();
  if (!divergence || work == nullptr) return divergence;
  return *divergence * work->exact().divergence_ratio;
}

Status Agent::start() { return target_.apply(policy_in_effect()); }

void Agent::share_exact_checks() {
  if (quality::QualityWork* const work = target_.quality_work()) work->set_exact_share(config_.evaluation.exact_share);
}

// ---- What is wished for.

Status Agent::bring(const ControlState& state, const Policy& policy, bool baseline) {
  const PolicyConfig wished{policy, baseline, run_context_.quality_budget};
  const Policy effective = control::policy_in_effect(wished, state);
  INFER_TRY(target_.apply(effective));
  // What was compared is not in effect any more.
  if (comparison_.state() == AbState::kRunning) end_comparison(AbState::kDisturbed);
  config_.policy = policy;
  baseline_ = baseline;
  state_ = state;
  ++policy_changes_;
  for (AgentObserver* observer : observers_) observer->on_policy(effective, is_baseline(wished, state));
  return {};
}

Status Agent::bring_anew(const Policy& policy, bool baseline) {
  ControlState state = state_;
  start_anew(state);
  return bring(state, policy, baseline);
}

Result<ConfigChange> Agent::change(const Config& wished) {
  ConfigChange change;
  for (const Setting& setting : settings()) {
    if (setting_value(setting, wished) == setting_value(setting, config_)) continue;
    (setting.effect == SettingEffect::kRestart ? change.needs_restart : change.applied).push_back(&setting);
  }
  const bool touches_policy = std::any_of(change.applied.begin(), change.applied.end(),
                                          [](const Setting* each) { return each->effect == SettingEffect::kPolicy; });
  if (touches_policy) {
    INFER_TRY(bring_anew(wished.policy, baseline_));
    before_tuning_.reset();
  }
  if (config_.log_level != wished.log_level) log_.set_level(config_.log_level = wished.log_level);
  config_.loops = wished.loops;
  config_.telemetry.push_interval_ms = wished.telemetry.push_interval_ms;
  const std::string dataset = std::exchange(config_.evaluation, wished.evaluation).dataset;
  config_.evaluation.dataset = dataset;
  share_exact_checks();
  return change;
}

Status Agent::set_baseline(bool on) {
  if (on == baseline_ && !state_.critical) return {};
  return bring_anew(config_.policy, on);
}

void Agent::set_run_context(const RunContext& context) { run_context_ = context; }

RunForecast Agent::forecast() const {
  RunForecast forecast;
  const telemetry::EngineFacts facts = target_.facts();
  const engine::CostLine& cost = facts.snapshot.cost;
  if (!cost.known() || !run_context_.seq_len || facts.tokens_per_step <= 0) return forecast;
  const double tokens = *run_context_.seq_len;
  const int steps = (*run_context_.seq_len + facts.tokens_per_step - 1) / facts.tokens_per_step;
  const double one = (cost.fixed * steps + cost.per_token * tokens) * 1e3;
  forecast.first_token_ms = one;
  forecast.last_first_token_ms = one * run_context_.batch.value_or(1);
  if (run_context_.target_ftl_ms) forecast.meets_target = *forecast.last_first_token_ms <= *run_context_.target_ftl_ms;
  return forecast;
}

Result<uint64_t> Agent::evaluate(EvaluationKind kind, std::optional<int> windows) {
  INFER_ASSIGN(const uint64_t number, evaluations_.start(kind, windows, "request", config_.evaluation));
  target_.wake();
  return number;
}

bool Agent::cancel_evaluation() {
  const bool cancelled = evaluations_.cancel();
  if (cancelled) target_.wake();
  return cancelled;
}

// ---- Experiments.

Result<uint64_t> Agent::tune(const TuningWish& wish, Instant now) {
  INFER_ASSIGN(const uint64_t number, tuning_.start(wish, now));
  target_.wake();
  return number;
}

bool Agent::cancel_tuning() {
  const bool cancelled = tuning_.cancel();
  if (cancelled) target_.wake();
  return cancelled;
}

Result<bool> Agent::undo_tuning() {
  if (!before_tuning_) return false;
  INFER_TRY(bring_anew(*before_tuning_, baseline_));
  before_tuning_.reset();
  return true;
}

Result<uint64_t> Agent::compare(const AbWish& wish, Instant now) {
  INFER_TRY(comparison_.check_start());
  if (baseline()) return Error{ErrorCode::kBusy, "baseline mode is on, where all policies are the same: end it first"};
  const Policy before = config_.policy;
  (void)recorder_.take_arm_times();  // Of an earlier one.
  INFER_TRY(bring_anew(wish.a, baseline_));
  if (const Status split = target_.compare_with(wish.b); !split) {
    INFER_TRY(bring_anew(before, baseline_));
    return split.error();
  }
  before_comparison_ = before;
  return comparison_.start(wish, now);
}

bool Agent::cancel_comparison() {
  if (comparison_.state() != AbState::kRunning) return false;
  end_comparison(AbState::kCancelled);
  return true;
}

// The policy from before comes back, unless another one has been chosen.
void Agent::end_comparison(AbState state) {
  comparison_.end(state);
  const std::optional<Policy> before = std::exchange(before_comparison_, std::nullopt);
  if (state == AbState::kDisturbed || !before) return;
  if (const Status back = bring_anew(*before, baseline_); !back) {
    log_.write(LogLevel::kWarning, format("the policy stays as it was compared: {}", back.error().message));
  }
}

void Agent::watch_experiments(Instant now) {
  if (tuning_.look(now)) target_.wake();
  if (const auto choice = tuning_.take_choice(config_.policy)) {
    const Policy before = config_.policy;
    if (const Status applied = bring_anew(*choice, baseline_); !applied) {
      log_.write(LogLevel::kWarning, format("what tuning chose is not applied: {}", applied.error().message));
    } else {
      before_tuning_ = before;
      log_.write(LogLevel::kInfo, format("tuned: {}", tuning_.tuner()->reason()));
    }
  }
  if (comparison_.state() != AbState::kRunning) return;
  for (const telemetry::Recorder::ArmTimes& times : recorder_.take_arm_times()) comparison_.add(times);
  if (const quality::QualityWork* const work = evaluations_.work()) comparison_.set_findings(work->exact().arms);
  if (const auto state = comparison_.ended(now)) end_comparison(*state);
}

// ---- The loops.

void Agent::tick(const telemetry::MachineFacts& machine, Instant now, WallTime time, const DueLoops& due) {
  follow(decide(look(machine, now, due), policy_config(), now), now, time);
  if (!due[static_cast<size_t>(Loop::kSlow)]) return;
  tell_verified(now);
  watch_evaluations(target_.facts().model, time);
  watch_experiments(now);
  if (now >= next_sample_) take_sample(machine, now, time);
}

namespace {

bool is_at_rest(const engine::EngineSnapshot& engine) {
  return engine.running == 0 && std::accumulate(engine.waiting.begin(), engine.waiting.end(), 0) == 0;
}

}  // namespace

bool Agent::look_whether_rests() {
  rests_ = is_at_rest(target_.snapshot());
  return may_rest();
}

bool Agent::glance(const telemetry::MachineFacts& machine, Instant now, const DueLoops& due) {
  if (undone_) return false;
  Decision decision = decide(look(machine, now, due), policy_config(), now);
  if (!decision.notices.empty()) {
    undone_ = std::move(decision);
    return false;
  }
  keep(decision);
  return true;
}

void Agent::settle(Instant now, WallTime time) {
  if (const auto decision = std::exchange(undone_, std::nullopt)) follow(*decision, now, time);
}

Snapshot Agent::look(const telemetry::MachineFacts& machine, Instant now, const DueLoops& due) {
  const engine::EngineSnapshot engine = target_.snapshot();
  const telemetry::MemoryFigures& memory = machine.memory;
  Snapshot seen{.state = state_,
                .due = due,
                .engine = engine.health.condition,
                .refused_for = refused_since_ ? now - *refused_since_ : Duration(),
                .capabilities = target_.capabilities(),
                .memory_stalls = machine.state.memory_stalls,
                .cpu_celsius = machine.state.cpu_celsius,
                .frequency_share = machine.state.frequency_share,
                .forced = forced_};
  const auto share = [](uint64_t part, uint64_t whole) {
    return static_cast<double>(part) / static_cast<double>(whole);
  };
  if (memory.available_bytes && memory.total_bytes && *memory.total_bytes > 0) {
    seen.memory_available = share(*memory.available_bytes, *memory.total_bytes);
  }
  if (config_.model.memory_limit > 0 && memory.resident_bytes) {
    seen.budget_used = share(*memory.resident_bytes, config_.model.memory_limit);
  }
  rests_ = is_at_rest(engine);
  if (due[static_cast<size_t>(Loop::kMid)]) look_at_quality(engine, seen);
  if (due[static_cast<size_t>(Loop::kSlow)]) look_at_speed(engine, now, seen);
  return seen;
}

void Agent::look_at_quality(const engine::EngineSnapshot& engine, Snapshot& seen) {
  constexpr int64_t kComparedMin = 64;  // Positions.
  if (const auto reading = estimate_.observe(engine.counters.nll, engine.counters.nll_tokens,
                                             engine.counters.judged_tokens, corrected(engine.kv.planned_divergence))) {
    seen.estimate = reading->delta_ppl;
    seen.estimate_weight = reading->weight;
  }
  if (const auto findings = evaluations_.take_findings(); findings && findings->sums.rows >= kComparedMin) {
    const quality::ExactFigures figures = quality::exact_figures(findings->sums);
    seen.exact = {figures.delta_ppl, figures.delta_ppl_stderr, figures.rows};
  }
}

// Of half a second at least, with the same answers and without prompts from its begin to its end.
void Agent::look_at_speed(const engine::EngineSnapshot& engine, Instant now, Snapshot& seen) {
  constexpr double kLeast = 0.5;
  const bool only_answers =
      engine.answering > 0 && engine.running == engine.answering &&
      std::all_of(engine.prompt_tokens.begin(), engine.prompt_tokens.end(), [](int64_t due) { return due == 0; });
  if (!only_answers) {
    speed_from_.reset();
    return;
  }
  const uint64_t tokens = engine.counters.generated_tokens;
  if (speed_from_ && speed_from_->answering == engine.answering) {
    const double seconds = (now - speed_from_->at).seconds();
    if (seconds < kLeast) return;
    seen.speed = {static_cast<double>(tokens - speed_from_->tokens) / seconds, engine.answering, seconds};
  }
  speed_from_ = {now, tokens, engine.answering};
}

// Nothing changes but what is remembered.
void Agent::keep(const Decision& decision) {
  state_ = decision.state;
  refused_since_.reset();
}

// Brings what was decided. Where the target refuses, it was not decided.
void Agent::follow(const Decision& decision, Instant now, WallTime time) {
  if (decision.notices.empty()) return keep(decision);
  if (const Status status = bring(decision.state, config_.policy, baseline_); !status) {
    if (!refused_since_) {
      refused_since_ = now;
      log_.write(LogLevel::kWarning, format("the policy stays as it is: {}", status.error().message));
    }
    return;
  }
  refused_since_.reset();
  for (const Notice& notice : decision.notices) tell(notice, time);
}

// ---- What is told.

void Agent::tell(const Notice& notice, WallTime time) {
  const EventRow& row = event_row(notice.kind);
  const char* const reason = fallback_reason_name(notice.reason);
  Alert alert{
      .event = row.name, .is_raised = true, .message = {}, .reason = reason, .steps = notice.steps, .retry = {}};
  switch (notice.what) {
    case Notice::What::kStepTaken:
      ++fallbacks_[static_cast<size_t>(notice.reason)];
      alert.message = std::string(step_name(notice.kind, notice.steps));
      alert.retry = notice.retry;
      break;
    case Notice::What::kStepGivenBack:
      alert.is_raised = notice.steps > 0;
      alert.message = notice.steps > 0 ? std::string(step_name(notice.kind, notice.steps)) : "as the policy says";
      break;
    case Notice::What::kManyFallbacks:
      alert.message = format("{} fallbacks for {} within five minutes", notice.count, reason);
      alert.notifies = true;
      break;
    case Notice::What::kCritical:
      alert.event = "critical";
      alert.message = format("{} fallbacks within five minutes: all optimization is off", notice.count);
      alert.notifies = true;
      break;
    case Notice::What::kCriticalOver:
      alert = {.event = "critical", .is_raised = false, .message = "no fallbacks any more", .reason = "", .retry = {}};
      alert.notifies = true;
      break;
  }
  if (notice.delta_ppl) {
    alert.message = format("perplexity {:.3f} above that of 16 bits, {:.3f} are allowed: {}", *notice.delta_ppl,
                           policy_in_effect().quality.max_delta_ppl, alert.message);
  }
  if (notice.kind == EventKind::kQuality) {
    told_degraded_ = alert.is_raised;
    estimate_.pass_over();
  }
  tell(alert, time);
}

void Agent::tell(const Alert& alert, WallTime time) {
  if (alert.is_raised) ++alerts_;
  log_.write(alert.is_raised ? LogLevel::kWarning : LogLevel::kInfo,
             format("{}{}: {}", alert.event, alert.is_raised ? "" : " is over", alert.message));
  for (AgentObserver* observer : observers_) observer->on_alert(alert, time);
}

// Once for each step: that no further one is needed, which is known for certain.
void Agent::tell_verified(Instant now) {
  const bool is_enough = state_.quality.steps() > 0 && state_.quality.verified(now).value_or(false);
  if (is_enough && !told_verified_) {
    log_.write(LogLevel::kInfo, format("{}: checks of answers find less than the {:.3f} that are allowed, with step {}",
                                       event_row(EventKind::kQuality).name, policy_in_effect().quality.max_delta_ppl,
                                       state_.quality.steps()));
  }
  told_verified_ = is_enough;
}

void Agent::take_sample(const telemetry::MachineFacts& machine, Instant now, WallTime time) {
  next_sample_ = now + Duration::from_ms(config_.telemetry.push_interval_ms);
  telemetry::Metrics metrics = sampler_.sample(facts(), machine, now, time, true);
  metrics.evaluation = evaluations_.facts();
  for (AgentObserver* observer : observers_) observer->on_metrics(metrics);
  // Steps that were taken back by somebody's choice.
  if (!told_degraded_ || state_.quality.steps() > 0) return;
  told_degraded_ = false;
  tell({.event = event_row(EventKind::kQuality).name,
        .is_raised = false,
        .message = "somebody chose another policy",
        .reason = fallback_reason_name(FallbackReason::kQuality),
        .retry = {}},
       time);
}

void Agent::watch_evaluations(const std::string& model, WallTime time) {
  if (evaluations_.start_due(config_.evaluation, time)) target_.wake();
  const auto ended = evaluations_.take_ended(model, time);
  if (!ended) return;
  const telemetry::EvaluationRecord& record = ended->record;
  if (ended->state != quality::EvaluationState::kDone) {
    log_.write(ended->state == quality::EvaluationState::kFailed ? LogLevel::kWarning : LogLevel::kInfo,
               format("{} evaluation {}", record.kind, quality::evaluation_state_name(ended->state)));
    return;
  }
  log_.write(LogLevel::kInfo, format("{} evaluation of {}: perplexity {:.4f}, {:+.4f} against 16 bits (+/- {:.4f})",
                                     record.kind, record.policy, record.ppl, record.delta_ppl, record.delta_stderr));
  for (AgentObserver* observer : observers_) observer->on_evaluation(record);
}

telemetry::Metrics Agent::metrics(const telemetry::MachineFacts& machine, Instant now, WallTime time) {
  telemetry::Metrics metrics = sampler_.sample(facts(), machine, now, time, false);
  metrics.evaluation = evaluations_.facts();
  return metrics;
}

}  // namespace infer::control
