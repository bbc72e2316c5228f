#include "control/fallback.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "control/quality_monitor.h"

namespace infer::control {

namespace {

constexpr Duration kMinute = Duration::from_seconds(60);
constexpr int kDoublingsMax = 5;
constexpr Duration kNone = Duration::from_ns(0);
constexpr auto seconds = [](double s) { return Duration::from_seconds(s); };

constexpr std::array<BackOff, kFallbackReasons> kBackOffs{
    BackOff{2, 120, 1.5, 3},  // Quality,
    BackOff{5, 300, 2.0, 2},  // device,
    BackOff{1, 60, 1.8, 4},   // memory,
    BackOff{3, 180, 2.2, 3},  // timeout,
    BackOff{3, 180, 2.0, 0},  // unknown.
};

constexpr std::array<EventRow, kEventKinds> kEvents{
    EventRow{EventKind::kGpuMissing, "gpu_missing", FallbackReason::kDevice, 1, kNone, seconds(300), false},
    EventRow{EventKind::kNpuMissing, "npu_missing", FallbackReason::kDevice, 1, kNone, seconds(60), false},
    // Its steps and hold times are QualityMonitor's.
    EventRow{EventKind::kQuality, "quality_degradation", FallbackReason::kQuality, kProtectSteps, kNone, seconds(600),
             true},
    EventRow{EventKind::kMemory, "memory_pressure", FallbackReason::kMemory, 3, seconds(2), seconds(60), true},
    EventRow{EventKind::kNoAnswer, "engine_stalled", FallbackReason::kTimeout, 1, kNone, seconds(10), true},
    EventRow{EventKind::kInt4Unsupported, "int4_unsupported", FallbackReason::kDevice, 1, kNone, seconds(60), false},
    EventRow{EventKind::kInt8Unsupported, "int8_unsupported", FallbackReason::kDevice, 1, kNone, seconds(60), false},
    EventRow{EventKind::kSlow, "slow", FallbackReason::kUnknown, 1, kNone, seconds(120), true},
    EventRow{EventKind::kCpuHot, "cpu_hot", FallbackReason::kDevice, 2, seconds(10), seconds(60), true},
    EventRow{EventKind::kRefused, "control_failed", FallbackReason::kUnknown, 1, kNone, seconds(10), true},
};

void raise_thresholds(kv::LevelThresholds& levels, double l1, double l2, double l3) {
  levels.l1_int8 = std::max(levels.l1_int8, l1);
  levels.l2_int4 = std::max(levels.l2_int4, l2);
  levels.l3_evict = std::max(levels.l3_evict, l3);
}

void lower_thresholds(kv::LevelThresholds& levels, double l1, double l2, double l3) {
  levels.l1_int8 = std::min(levels.l1_int8, l1);
  levels.l2_int4 = std::min(levels.l2_int4, l2);
  levels.l3_evict = std::min(levels.l3_evict, l3);
}

Policy without_gpu(Policy policy) {
  policy.kv.recent_window = std::max(policy.kv.recent_window, 128);
  raise_thresholds(policy.kv.level_thresholds, 0.8, 0.6, 0.4);
  SchedulerPolicy& scheduler = policy.scheduler;
  if (scheduler.mode == SchedulerMode::kGpuOnly) scheduler.mode = SchedulerMode::kCpuOnly;
  for (Device* const device : {&scheduler.prefill_device, &scheduler.decode_device}) {
    if (*device == Device::kDml) *device = Device::kCpu;
  }
  return policy;
}

Policy without_npu(Policy policy) {
  policy.kv.recent_window = std::max(policy.kv.recent_window, 96);
  raise_thresholds(policy.kv.level_thresholds, 0.75, 0.55, 0.35);
  SchedulerPolicy& scheduler = policy.scheduler;
  if (scheduler.mode == SchedulerMode::kNpuOnly) scheduler.mode = SchedulerMode::kHybrid;
  for (Device* const device : {&scheduler.prefill_device, &scheduler.decode_device}) {
    if (*device == Device::kNpu) *device = Device::kDml;
  }
  return policy;
}

// Less memory for each request, then fewer requests, then what matters least out of memory.
Policy with_less_memory(Policy policy, int steps) {
  policy.kv.recent_window = std::min(policy.kv.recent_window, 32);
  lower_thresholds(policy.kv.level_thresholds, 0.6, 0.4, 0.2);
  if (policy.kv.mode == kv::KvMode::kF16 || policy.kv.mode == kv::KvMode::kQuality) {
    policy.kv.mode = kv::KvMode::kDynamic;
  }
  policy.memory_pressure = 0.7;
  if (steps >= 2) policy.running_share = std::min(policy.running_share, 0.5);
  if (steps >= 3) {
    policy.kv.mode = kv::KvMode::kThroughput;
    policy.memory_pressure = 0.9;
  }
  return policy;
}

Policy with_less_heat(Policy policy, int steps) {
  policy.speculate = false;  // Drafts that fail are work for nothing.
  if (steps >= 2) policy.running_share = std::min(policy.running_share, 0.5);
  return policy;
}

Policy without_int4(Policy policy) {
  if (policy.kv.mode != kv::KvMode::kF16) policy.kv.mode = kv::KvMode::kQ8;
  return policy;
}

Policy without_int8(Policy policy) {
  policy.kv.mode = kv::KvMode::kF16;
  return policy;
}

Policy faster(Policy policy) {
  if (policy.kv.mode != kv::KvMode::kF16) policy.kv.mode = kv::KvMode::kLatency;
  return policy;
}

}  // namespace

const char* fallback_reason_name(FallbackReason reason) {
  switch (reason) {
    case FallbackReason::kQuality: return "quality_degradation";
    case FallbackReason::kDevice: return "device_error";
    case FallbackReason::kMemory: return "memory_pressure";
    case FallbackReason::kTimeout: return "timeout";
    case FallbackReason::kUnknown: return "unknown";
  }
  return "unknown";
}

const BackOff& back_off_of(FallbackReason reason) { return kBackOffs[static_cast<size_t>(reason)]; }

Duration back_off_delay(FallbackReason reason, int attempt, Rng& rng) {
  const BackOff& back_off = back_off_of(reason);
  const double bare = std::min(back_off.max_s, back_off.initial_s * std::pow(back_off.factor, std::min(attempt, 64)));
  return Duration::from_seconds(bare * (1.1 + 0.2 * rng.uniform()));
}

std::span<const EventRow, kEventKinds> event_table() { return kEvents; }

const EventRow& event_row(EventKind kind) { return kEvents[static_cast<size_t>(kind)]; }

Policy with_steps(EventKind kind, const Policy& policy, int steps) {
  if (steps == 0) return policy;
  switch (kind) {
    case EventKind::kGpuMissing: return without_gpu(policy);
    case EventKind::kNpuMissing: return without_npu(policy);
    case EventKind::kQuality: return protect(policy, steps);
    case EventKind::kMemory: return with_less_memory(policy, steps);
    case EventKind::kInt4Unsupported: return without_int4(policy);
    case EventKind::kSlow: return faster(policy);
    case EventKind::kCpuHot: return with_less_heat(policy, steps);
    case EventKind::kInt8Unsupported: return without_int8(policy);
    case EventKind::kNoAnswer:
    case EventKind::kRefused: return baseline_of(policy);
  }
  INFER_CHECK(false);
}

std::string_view step_name(EventKind kind, int step) {
  switch (kind) {
    case EventKind::kGpuMissing: return "the processor takes over, window 128, thresholds up";
    case EventKind::kNpuMissing: return "other devices take over, window 96, thresholds up";
    case EventKind::kQuality: return protect_step_name(step);
    case EventKind::kMemory:
      return step == 1 ? "window 32, less for each page" : step == 2 ? "half as many requests at once" : "spill";
    case EventKind::kNoAnswer:
    case EventKind::kRefused: return "baseline mode";
    case EventKind::kInt4Unsupported: return "8 bits in place of 4";
    case EventKind::kInt8Unsupported: return "16 bits";
    case EventKind::kSlow: return "latency_optimized";
    case EventKind::kCpuHot: return step == 1 ? "no speculation" : "half as many requests at once";
  }
  return "";
}

namespace {

bool may_take(const EventRow& row, Sign sign, Instant now, const EventState& state) {
  if (state.steps >= row.steps) return false;
  if (sign == Sign::kEmergency)
    return state.steps == 0 || !state.changed_at || now - *state.changed_at >= row.step_time;
  if (state.given_back_at && now - *state.given_back_at < kMinute) return false;
  return state.steps == 0 || now - *state.changed_at >= row.step_time;
}

// The hold time doubles with each step that was given back too early.
Duration hold_of(const EventRow& row, const EventState& state) {
  return Duration::from_ns(row.hold.ns() << std::min(state.attempts, kDoublingsMax));
}

Duration soon_after(const EventRow& row, const EventState& state) {
  return std::max(hold_of(row, state), Duration::from_seconds(10 * back_off_of(row.reason).max_s));
}

bool may_give_back(const EventRow& row, Instant now, const EventState& state) {
  if (state.steps == 0 || now < state.retry_at) return false;
  return now - *state.clear_since >= hold_of(row, state) && now - *state.changed_at >= kMinute;
}

}  // namespace

std::optional<StepChange> advance(const EventRow& row, Sign sign, Instant now, Rng& rng, EventState& state) {
  if (sign == Sign::kShows || sign == Sign::kEmergency) {
    state.clear_since.reset();
    if (!may_take(row, sign, now, state)) return std::nullopt;
    // Soon after one was given back: it was still needed.
    const bool again = state.given_back_at && now - *state.given_back_at < soon_after(row, state);
    if (again && row.is_latched) {
      ++state.attempts;
    } else if (state.steps == 0) {
      state.attempts = 0;
    }
    state.given_back_at.reset();
    StepChange change{row.kind, state.steps, state.steps + 1};
    ++state.steps;
    state.changed_at = now;
    state.retry_at = change.retry_at = now + back_off_delay(row.reason, state.attempts, rng);
    return change;
  }
  if (sign != Sign::kClear) {
    if (sign == Sign::kBetween) state.clear_since.reset();
    return std::nullopt;
  }
  if (!state.clear_since) state.clear_since = now;
  if (!may_give_back(row, now, state)) return std::nullopt;
  const StepChange change{row.kind, state.steps, state.steps - 1};
  --state.steps;
  state.changed_at = state.given_back_at = state.clear_since = now;
  return change;
}

void FallbackLog::add(FallbackReason reason, Instant now) {
  entries_[next_] = {now, reason};
  next_ = (next_ + 1) % kCapacity;
  size_ = std::min(size_ + 1, kCapacity);
}

int FallbackLog::count(FallbackReason reason, Instant now) const {
  int count = 0;
  for (size_t i = 0; i < size_; ++i) {
    const Entry& entry = entries_[(next_ + kCapacity - 1 - i) % kCapacity];
    if (now - entry.at < kFallbackWindow && entry.reason == reason) ++count;
  }
  return count;
}

int FallbackLog::count(Instant now) const {
  int count = 0;
  for (size_t i = 0; i < size_; ++i) {
    if (now - entries_[(next_ + kCapacity - 1 - i) % kCapacity].at < kFallbackWindow) ++count;
  }
  return count;
}

}  // namespace infer::control
