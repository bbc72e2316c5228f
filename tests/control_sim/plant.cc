#include "plant.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"

namespace infer::sim {

using control::EventKind;
using control::Policy;
using kv::KvMode;

namespace {

constexpr double kForever = 1e9;

// Of what 16 bits take, and of the greatest loss.
double bytes_of(KvMode mode) {
  switch (mode) {
    case KvMode::kF16: return 1;
    case KvMode::kQ8:
    case KvMode::kQuality: return 0.5;
    case KvMode::kThroughput: return 0.2;
    default: return 0.3;
  }
}

double loss_of(KvMode mode) {
  switch (mode) {
    case KvMode::kF16: return 0;
    case KvMode::kQ8:
    case KvMode::kQuality: return 0.05;
    case KvMode::kDynamic: return 0.4;
    case KvMode::kLatency: return 0.6;
    case KvMode::kThroughput: return 0.8;
    case KvMode::kQ4: return 1;
  }
  return 1;
}

}  // namespace

Plant::Plant(uint64_t seed) : rng_(seed) {
  constexpr KvMode kModes[] = {KvMode::kF16,        KvMode::kQ8,      KvMode::kQ4,     KvMode::kDynamic,
                               KvMode::kThroughput, KvMode::kLatency, KvMode::kQuality};
  Policy& policy = config_.wished;
  policy.kv.mode = kModes[rng_.below(7)];
  policy.kv.recent_window = 16 + static_cast<int>(rng_.below(497));
  policy.kv.level_thresholds.l1_int8 = rng_.uniform();
  policy.kv.level_thresholds.l2_int4 = policy.kv.level_thresholds.l1_int8 * rng_.uniform();
  policy.kv.level_thresholds.l3_evict = policy.kv.level_thresholds.l2_int4 * rng_.uniform();
  policy.quality.max_delta_ppl = 0.1 + rng_.uniform();
  base_memory_ = 0.2 + 0.25 * rng_.uniform();
  base_delta_ = 0.7 * policy.quality.max_delta_ppl * rng_.uniform();
  const bool lasts = rng_.below(20) == 0;
  const uint32_t count = rng_.below(8);
  for (uint32_t i = 0; i < count; ++i) {
    Fault fault{.kind = static_cast<EventKind>(rng_.below(control::kEventKinds)),
                .begin_s = rng_.uniform() * 900,
                .end_s = 0,
                .strength = 0.05 + 0.95 * rng_.uniform()};
    const double most = rng_.below(2) == 0 ? 10 : 600;
    fault.end_s = lasts ? kForever : fault.begin_s + 1 + rng_.uniform() * most;
    faults_.push_back(fault);
  }
  checks_ = rng_.below(2) == 0;
}

double Plant::faults_end_s() const {
  double end = 0;
  for (const Fault& fault : faults_) end = std::max(end, fault.end_s);
  return end;
}

double Plant::quiet_since_s(double now_s) const {
  double since = 0;
  for (const Fault& fault : faults_) {
    for (const double at : {fault.begin_s, fault.end_s}) {
      if (at <= now_s) since = std::max(since, at);
    }
  }
  return since;
}

double Plant::strength(EventKind kind, double now_s) const {
  double most = 0;
  for (const Fault& fault : faults_) {
    if (fault.kind == kind && now_s >= fault.begin_s && now_s < fault.end_s) most = std::max(most, fault.strength);
  }
  return most;
}

double Plant::memory_used(const Policy& policy, double now_s) const {
  const double cache = 0.3 * bytes_of(policy.kv.mode) * policy.running_share + 0.0001 * policy.kv.recent_window;
  const double fault = strength(EventKind::kMemory, now_s);
  return base_memory_ + cache + (fault > 0 ? 0.15 + 0.6 * fault : 0);
}

double Plant::delta_ppl(const Policy& policy, double now_s) const {
  const double worse = 1 + 60 * strength(EventKind::kQuality, now_s);
  const double window = policy.kv.recent_window >= 128 ? 0.8 : 1;
  const double levels = 1 - 0.3 * policy.kv.level_thresholds.l2_int4;
  const double noise = 0.9 + 0.2 * Rng(static_cast<uint64_t>(now_s * 1000)).uniform();
  return base_delta_ * loss_of(policy.kv.mode) * worse * window * levels * noise;
}

control::Snapshot Plant::look(const control::ControlState& state, const Policy& policy, double now_s) {
  control::Snapshot seen{.state = state};
  if (is_active(EventKind::kNoAnswer, now_s)) seen.engine = engine::EngineCondition::kSilent;
  seen.capabilities.int4_works = !is_active(EventKind::kInt4Unsupported, now_s);
  seen.capabilities.int8_works = !is_active(EventKind::kInt8Unsupported, now_s);
  seen.capabilities.gpu =
      is_active(EventKind::kGpuMissing, now_s) ? control::DeviceState::kLost : control::DeviceState::kReady;
  seen.capabilities.npu = !is_active(EventKind::kNpuMissing, now_s)       ? control::DeviceState::kReady
                          : strength(EventKind::kNpuMissing, now_s) > 0.5 ? control::DeviceState::kHot
                                                                          : control::DeviceState::kLost;
  seen.memory_available = std::clamp(1 - memory_used(policy, now_s), 0.0, 1.0);
  seen.memory_stalls = *seen.memory_available < 0.03 ? 0.3 : 0.0;
  const double heat = strength(EventKind::kCpuHot, now_s);
  seen.cpu_celsius = 60 + (heat > 0 ? 25 + 20 * heat : 0) + (policy.speculate ? 5 : 0) + 10 * policy.running_share;
  seen.frequency_share = *seen.cpu_celsius >= 90 ? 0.5 : 1.0;
  if (seen.engine == engine::EngineCondition::kReady) {
    seen.estimate = delta_ppl(policy, now_s);
    if (checks_) check_answers(state, policy, now_s, seen);
    const double slow = is_active(EventKind::kSlow, now_s) ? 0.5 - 0.4 * strength(EventKind::kSlow, now_s) : 1;
    const double mode = policy.kv.mode == KvMode::kLatency ? 1.2 : policy.kv.mode == KvMode::kF16 ? 0.8 : 1;
    seen.speed = control::SpeedReading{30 * slow * mode, 1, 1};
  }
  return seen;
}

// An answer each twenty seconds, since the levels changed; its figure is the worse the fewer there are.
void Plant::check_answers(const control::ControlState& state, const Policy& policy, double now_s,
                          control::Snapshot& seen) {
  constexpr double kEach = 20;
  constexpr int64_t kPositions = 32, kLeast = 64, kMost = 2048;
  if (state.quality.steps() != checked_steps_) positions_ = 0;
  checked_steps_ = state.quality.steps();
  if (now_s < checked_s_ + kEach) return;
  checked_s_ = now_s;
  positions_ = std::min(positions_ + kPositions, kMost);
  if (positions_ < kLeast) return;
  const double share = 0.5 / std::sqrt(static_cast<double>(positions_) / static_cast<double>(kLeast));
  const double cost = delta_ppl(policy, now_s);
  seen.exact = {.delta_ppl = cost * (1 + share * (2 * rng_.uniform() - 1)),
                .standard_error = cost * share / std::sqrt(3.0),
                .positions = positions_};
}

std::string Plant::description() const {
  std::string text =
      format("{}, window {}, at most {:.2f}; memory {:.2f}, delta {:.2f}", kv::mode_name(config_.wished.kv.mode),
             config_.wished.kv.recent_window, config_.wished.quality.max_delta_ppl, base_memory_, base_delta_);
  for (const Fault& fault : faults_) {
    text += format("\n  {:.0f}..{:.0f} s {} ({:.2f})", fault.begin_s, fault.end_s, control::event_row(fault.kind).name,
                   fault.strength);
  }
  return text;
}

}  // namespace infer::sim
