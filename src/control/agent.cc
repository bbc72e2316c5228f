#include "control/agent.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/format.h"

namespace infer::control {

namespace {

// Of the machine's memory, available: below the first it is short, above the second no more.
constexpr double kShort = 0.05, kEnough = 0.08;

Policy in_effect(const Policy& policy, bool baseline, const RunContext& context, int steps_back) {
  Policy effective = baseline ? baseline_of(policy) : protect(policy, steps_back);
  if (context.quality_budget) {
    effective.quality.max_delta_ppl = std::min(effective.quality.max_delta_ppl, *context.quality_budget);
  }
  return effective;
}

}  // namespace

Agent::Agent(const Config& config, AgentTarget& target, const telemetry::Recorder& recorder, Log& log, Instant now)
    : config_(config),
      target_(target),
      log_(log),
      sampler_(recorder, now),
      next_sample_(now),
      baseline_(!config.enabled) {}

Status Agent::start() { return target_.apply(policy_in_effect()); }

Policy Agent::policy_in_effect() const { return in_effect(config_.policy, baseline_, run_context_, quality_.steps()); }

Status Agent::bring(const Policy& policy, bool baseline) {
  const Policy effective = in_effect(policy, baseline, run_context_, quality_.steps());
  INFER_TRY(target_.apply(effective));
  config_.policy = policy;
  baseline_ = baseline;
  ++policy_changes_;
  for (AgentObserver* observer : observers_) observer->on_policy(effective, baseline);
  return {};
}

// Somebody chose: what was found out about the policy before says nothing of it.
Status Agent::bring_anew(const Policy& policy, bool baseline) {
  const QualityMonitor before = std::exchange(quality_, {});
  Status status = bring(policy, baseline);
  if (!status) quality_ = before;
  return status;
}

Result<ConfigChange> Agent::change(const Config& wished) {
  ConfigChange change;
  for (const Setting& setting : settings()) {
    if (setting_value(setting, wished) == setting_value(setting, config_)) continue;
    (setting.effect == SettingEffect::kRestart ? change.needs_restart : change.applied).push_back(&setting);
  }
  const bool touches_policy = std::any_of(change.applied.begin(), change.applied.end(),
                                          [](const Setting* each) { return each->effect == SettingEffect::kPolicy; });
  if (touches_policy) INFER_TRY(bring_anew(wished.policy, baseline_));
  config_.loops.slow_ms = wished.loops.slow_ms;
  config_.telemetry.push_interval_ms = wished.telemetry.push_interval_ms;
  return change;
}

Status Agent::set_baseline(bool on) {
  if (on == baseline_) return {};
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

void Agent::look(Watch& watch, bool is_bad, bool is_good, const std::string& message, WallTime time) {
  const bool is_raised = watch.is_raised ? !is_good : is_bad;
  if (is_raised == watch.is_raised) return;
  watch.is_raised = is_raised;
  if (is_raised) ++alerts_;
  log_.write(is_raised ? LogLevel::kWarning : LogLevel::kInfo,
             format("{}{}: {}", watch.reason, is_raised ? "" : " is over", message));
  for (AgentObserver* observer : observers_) observer->on_alert({watch.reason, is_raised, message}, time);
}

void Agent::tick(const telemetry::MachineFacts& machine, Instant now, WallTime time) {
  const engine::EngineHealth health = target_.facts().snapshot.health;
  look(stalled_, !health.ready(), health.ready(),
       format("the engine is {}; it has not got on for {:.1f} s", engine_condition_name(health.condition),
              health.silence.seconds()),
       time);
  if (machine.memory.available_bytes && machine.memory.total_bytes && *machine.memory.total_bytes > 0) {
    const uint64_t available = *machine.memory.available_bytes, total = *machine.memory.total_bytes;
    const double share = static_cast<double>(available) / static_cast<double>(total);
    look(short_of_memory_, share<kShort, share> kEnough,
         format("{} of {} are available", format_bytes(available), format_bytes(total)), time);
  }
  if (now < next_sample_) return;
  next_sample_ = now + Duration::from_ms(config_.telemetry.push_interval_ms);
  const telemetry::Metrics metrics = sampler_.sample(target_.facts(), machine, now, time, true);
  for (AgentObserver* observer : observers_) observer->on_metrics(metrics);
  watch_quality(metrics, now, time);
}

// Each sample with new tokens is an estimate.
void Agent::watch_quality(const telemetry::Metrics& metrics, Instant now, WallTime time) {
  if (quality_.steps() == 0) look(degraded_, false, true, "somebody chose another policy", time);
  const uint64_t tokens = metrics.engine.snapshot.counters.nll_tokens;
  const std::optional<double> delta = metrics.delta_ppl();
  if (baseline_ || !delta || tokens == judged_tokens_) return;
  judged_tokens_ = tokens;
  const double most = policy_in_effect().quality.max_delta_ppl;
  const QualityMonitor before = quality_;
  const std::optional<QualityChange> change = quality_.observe(*delta, most, now);
  if (!change) return;
  if (const Status status = bring(config_.policy, false); !status) {
    log_.write(LogLevel::kWarning, format("the policy stays as it is: {}", status.error().message));
    quality_ = before;
    return;
  }
  const bool is_raised = change->steps_after > 0;
  const std::string message = format("perplexity {:.3f} above that of 16 bits, {:.3f} are allowed: {}",
                                     change->mean_delta_ppl, most, protect_step_name(change->steps_after));
  if (is_raised == degraded_.is_raised) {
    log_.write(change->steps_after > change->steps_before ? LogLevel::kWarning : LogLevel::kInfo, message);
    for (AgentObserver* observer : observers_) observer->on_alert({degraded_.reason, true, message}, time);
  } else {
    look(degraded_, is_raised, !is_raised, message, time);
  }
}

telemetry::Metrics Agent::metrics(const telemetry::MachineFacts& machine, Instant now, WallTime time) {
  return sampler_.sample(target_.facts(), machine, now, time, false);
}

}  // namespace infer::control
