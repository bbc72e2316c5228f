#include "control/decide.h"

#include <algorithm>

namespace infer::control {

namespace {

// Of memory: shares available of the machine's, of the last ten seconds spent waiting for it, of the own budget.
constexpr double kAvailableEmergency = 0.02, kAvailableShort = 0.05, kAvailableEnough = 0.2;
constexpr double kStallsEmergency = 0.5, kStallsMany = 0.2, kStallsFew = 0.05;
constexpr double kBudgetShort = 0.98, kBudgetEnough = 0.8;
// Degrees; throttled is a processor that is warm and much slower than it could be.
constexpr double kEmergencyHot = 100, kHot = 95, kWarm = 90, kCool = 85, kThrottled = 0.6;
constexpr Duration kRefusedLong = Duration::from_ms(500);
constexpr int kDoublingsMax = 5;

// Of several signs: the worst one that is known.
Sign worse(Sign a, Sign b) { return std::max(a, b); }

// Rising values are worse.
Sign sign_of(const std::optional<double>& value, double clear_below, double shows_from, double emergency_from) {
  if (!value) return Sign::kUnknown;
  if (*value >= emergency_from) return Sign::kEmergency;
  if (*value >= shows_from) return Sign::kShows;
  return *value < clear_below ? Sign::kClear : Sign::kBetween;
}

Sign memory_sign(const Snapshot& seen) {
  const auto used = seen.memory_available ? std::optional(1 - *seen.memory_available) : std::nullopt;
  const Sign machine = sign_of(used, 1 - kAvailableEnough, 1 - kAvailableShort, 1 - kAvailableEmergency);
  const Sign stalls = sign_of(seen.memory_stalls, kStallsFew, kStallsMany, kStallsEmergency);
  const Sign budget = sign_of(seen.budget_used, kBudgetEnough, kBudgetShort, 2);
  return worse(worse(machine, stalls), budget);
}

Sign heat_sign(const Snapshot& seen) {
  const Sign heat = sign_of(seen.cpu_celsius, kCool, kHot, kEmergencyHot);
  const bool throttled =
      seen.cpu_celsius && *seen.cpu_celsius >= kWarm && seen.frequency_share.value_or(1) < kThrottled;
  return throttled ? worse(heat, Sign::kShows) : heat;
}

Sign device_sign(DeviceState state) {
  switch (state) {
    case DeviceState::kNone: return Sign::kUnknown;
    case DeviceState::kReady: return Sign::kClear;
    case DeviceState::kLost:
    case DeviceState::kHot: return Sign::kShows;
  }
  return Sign::kUnknown;
}

Sign fact(bool shows) { return shows ? Sign::kShows : Sign::kClear; }

Sign seen_sign(EventKind kind, const Snapshot& seen) {
  switch (kind) {
    case EventKind::kGpuMissing: return device_sign(seen.capabilities.gpu);
    case EventKind::kNpuMissing: return device_sign(seen.capabilities.npu);
    case EventKind::kQuality: return Sign::kUnknown;  // QualityMonitor's.
    case EventKind::kMemory: return memory_sign(seen);
    case EventKind::kNoAnswer: return fact(seen.engine != engine::EngineCondition::kReady);
    case EventKind::kInt4Unsupported: return fact(!seen.capabilities.int4_works);
    case EventKind::kInt8Unsupported: return fact(!seen.capabilities.int8_works);
    case EventKind::kSlow: return seen.state.speed.sign();
    case EventKind::kCpuHot: return heat_sign(seen);
    case EventKind::kRefused: return fact(seen.refused_for >= kRefusedLong);
  }
  return Sign::kUnknown;
}

Loop loop_of(EventKind kind) {
  switch (kind) {
    case EventKind::kNoAnswer:
    case EventKind::kCpuHot:
    case EventKind::kRefused: return Loop::kFast;
    case EventKind::kMemory:
    case EventKind::kQuality: return Loop::kMid;
    default: return Loop::kSlow;
  }
}

// Emergencies are the fast loop's, whatever they are of.
bool is_due(EventKind kind, Sign sign, const DueLoops& due) {
  return due[static_cast<size_t>(loop_of(kind))] || (sign == Sign::kEmergency && due[0]);
}

class Decider {
 public:
  Decider(const Snapshot& seen, const PolicyConfig& config, Instant now)
      : seen_(seen), config_(config), now_(now), decision_{.state = seen.state, .policy = {}} {}

  Decision decide() {
    if (seen_.due[static_cast<size_t>(Loop::kSlow)]) take_speed();
    for (const EventRow& row : event_table()) {
      if (row.kind == EventKind::kQuality) {
        if (seen_.due[static_cast<size_t>(Loop::kMid)]) judge_quality();
        continue;
      }
      const auto forced = seen_.forced[static_cast<size_t>(row.kind)];
      const Sign sign = forced ? *forced : sign_now(row.kind);
      if (!is_due(row.kind, sign, seen_.due)) continue;
      if (const auto change = advance(row, sign, now_, state().rng, state().events[static_cast<size_t>(row.kind)])) {
        tell_step(*change, std::nullopt);
      }
    }
    end_critical();
    decision_.baseline = is_baseline(config_, state());
    decision_.policy = policy_in_effect(config_, state());
    return std::move(decision_);
  }

 private:
  ControlState& state() { return decision_.state; }
  Sign sign_now(EventKind kind) { return kind == EventKind::kSlow ? state().speed.sign() : seen_sign(kind, seen_); }

  void take_speed() {
    if (seen_.speed) {
      state().speed.observe(seen_.speed->tokens_per_second, seen_.speed->answering, seen_.speed->seconds);
    }
  }

  // Not in baseline mode, where there is nothing to judge. A forced fault is an estimate far above the limit.
  void judge_quality() {
    if (is_baseline(config_, state())) return;
    const double most = policy_in_effect(config_, state()).quality.max_delta_ppl;
    std::optional<double> estimate = seen_.estimate;
    if (const auto forced = seen_.forced[static_cast<size_t>(EventKind::kQuality)]) {
      estimate = *forced >= Sign::kShows ? 2 * most + 1 : 0;
    }
    QualityMonitor& monitor = state().quality;
    std::optional<QualityChange> change;
    if (seen_.exact) {
      change = monitor.observe_exact(*seen_.exact, most, now_);
      // Where there is no estimate, checks take its place.
      if (!change && !estimate) estimate = seen_.exact->delta_ppl;
    }
    for (int i = 0; estimate && !change && i < seen_.estimate_weight; ++i) {
      change = monitor.observe(*estimate, most, now_);
    }
    if (!change) return;
    const Duration retry = change->steps_after > change->steps_before
                               ? back_off_delay(FallbackReason::kQuality, change->steps_after, state().rng)
                               : Duration();
    tell_step({EventKind::kQuality, change->steps_before, change->steps_after, now_ + retry}, change->mean_delta_ppl);
  }

  void tell_step(const StepChange& change, std::optional<double> delta_ppl) {
    const FallbackReason reason = event_row(change.kind).reason;
    const bool taken = change.steps_after > change.steps_before;
    if (taken) state().fallbacks.add(reason, now_);
    decision_.notices.push_back({.what = taken ? Notice::What::kStepTaken : Notice::What::kStepGivenBack,
                                 .kind = change.kind,
                                 .reason = reason,
                                 .steps = change.steps_after,
                                 .retry = taken ? change.retry_at - now_ : Duration(),
                                 .count = state().fallbacks.count(reason, now_),
                                 .delta_ppl = delta_ppl});
    if (taken) count_fallbacks(change.kind, reason);
  }

  void count_fallbacks(EventKind kind, FallbackReason reason) {
    const int of_reason = state().fallbacks.count(reason, now_), all = state().fallbacks.count(now_);
    const int notify_at = back_off_of(reason).notify_at;
    auto& notified = state().notified_at[static_cast<size_t>(reason)];
    if (notify_at > 0 && of_reason >= notify_at && (!notified || now_ - *notified >= kFallbackWindow)) {
      notified = now_;
      decision_.notices.push_back(
          {.what = Notice::What::kManyFallbacks, .kind = kind, .reason = reason, .count = of_reason});
    }
    if (all < kCriticalFallbacks || state().critical) return;
    const bool again =
        state().criticals > 0 && now_ - state().critical_since < quiet_time() + quiet_time() + quiet_time();
    state().criticals = again ? state().criticals + 1 : 1;
    state().critical = true;
    state().critical_since = now_;
    decision_.notices.push_back({.what = Notice::What::kCritical, .kind = kind, .reason = reason, .count = all});
  }

  // Critical lasts so long at least: longer each time that it comes again.
  Duration quiet_time() const {
    const int doublings = std::clamp(decision_.state.criticals - 1, 0, kDoublingsMax);
    return Duration::from_ns(kFallbackWindow.ns() << doublings);
  }

  void end_critical() {
    if (!state().critical || !seen_.due[static_cast<size_t>(Loop::kSlow)]) return;
    if (now_ - state().critical_since < quiet_time() || state().fallbacks.count(now_) > 0) return;
    state().critical = false;
    decision_.notices.push_back({.what = Notice::What::kCriticalOver});
  }

  const Snapshot& seen_;
  const PolicyConfig& config_;
  const Instant now_;
  Decision decision_;
};

}  // namespace

const char* loop_name(Loop loop) {
  switch (loop) {
    case Loop::kFast: return "fast";
    case Loop::kMid: return "mid";
    case Loop::kSlow: return "slow";
  }
  return "";
}

int ControlState::steps(EventKind kind) const {
  return kind == EventKind::kQuality ? quality.steps() : events[static_cast<size_t>(kind)].steps;
}

bool ControlState::is_calm() const {
  return !critical && std::all_of(event_table().begin(), event_table().end(),
                                  [this](const EventRow& row) { return steps(row.kind) == 0; });
}

void start_anew(ControlState& state) {
  state.quality = {};
  state.fallbacks.clear();
  state.critical = false;
  state.criticals = 0;
  state.speed = {};
  state.events[static_cast<size_t>(EventKind::kSlow)] = {};
}

bool is_baseline(const PolicyConfig& config, const ControlState& state) {
  return config.baseline || state.critical || state.steps(EventKind::kNoAnswer) > 0 ||
         state.steps(EventKind::kRefused) > 0;
}

// First what spares memory, time and heat, then what protects quality and keeps to what works: the latter wins.
Policy policy_in_effect(const PolicyConfig& config, const ControlState& state) {
  constexpr EventKind kOrder[] = {
      EventKind::kSlow,       EventKind::kMemory,  EventKind::kCpuHot,          EventKind::kGpuMissing,
      EventKind::kNpuMissing, EventKind::kQuality, EventKind::kInt4Unsupported, EventKind::kInt8Unsupported};
  Policy policy = config.wished;
  for (const EventKind kind : kOrder) policy = with_steps(kind, policy, state.steps(kind));
  if (is_baseline(config, state)) policy = baseline_of(policy);
  if (config.quality_budget) {
    policy.quality.max_delta_ppl = std::min(policy.quality.max_delta_ppl, *config.quality_budget);
  }
  return policy;
}

Decision decide(const Snapshot& snapshot, const PolicyConfig& config, Instant now) {
  return Decider(snapshot, config, now).decide();
}

}  // namespace infer::control
