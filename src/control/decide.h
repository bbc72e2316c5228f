// The control loops as one pure function: what is seen, what is wished for and the time give what is to be done.
//
// Three loops, each with what can wait so long: the fast one meets emergencies (an engine that hangs, a machine short
// of memory or too hot), the mid one judges quality and memory, the slow one devices, kernels and speed, and ends
// what is over. What was decided before is part of what is seen (ControlState), so that the same inputs always give the
// same decision: a simulation of years takes seconds. Nothing is allocated while nothing changes.
// Thread safety: plain values and pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "control/fallback.h"
#include "control/normal_speed.h"
#include "control/policy.h"
#include "control/quality_monitor.h"
#include "engine/watchdog.h"

namespace infer::control {

enum class Loop : uint8_t { kFast, kMid, kSlow };
inline constexpr size_t kLoops = 3;
const char* loop_name(Loop loop);  // "fast", "mid", "slow"
using DueLoops = std::array<bool, kLoops>;
inline constexpr DueLoops kAllLoops{true, true, true};

enum class DeviceState : uint8_t { kNone, kReady, kLost, kHot };

// What the target can do, by its own tests.
struct Capabilities {
  bool int8_works = true, int4_works = true;  // Kernels of the KV cache.
  DeviceState gpu = DeviceState::kNone, npu = DeviceState::kNone;
};

struct SpeedReading {
  double tokens_per_second = 0;
  int answering = 0;
  double seconds = 0;
};

// What the loops remember.
struct ControlState {
  std::array<EventState, kEventKinds> events{};
  QualityMonitor quality{};
  NormalSpeed speed{};
  FallbackLog fallbacks{};
  std::array<std::optional<Instant>, kFallbackReasons> notified_at{};
  bool critical = false;
  Instant critical_since{};
  int criticals = 0;  // In a row, without a long quiet time between.
  Rng rng{1};         // For jitter.

  int steps(EventKind kind) const;
  // Whether any step is in effect.
  bool is_calm() const;
};
// Somebody chose another policy: what was found out about the one before says nothing of it.
void start_anew(ControlState& state);

struct Snapshot {
  ControlState state{};
  DueLoops due = kAllLoops;
  engine::EngineCondition engine = engine::EngineCondition::kReady;
  Duration refused_for{};  // That the target has not taken what was decided.
  Capabilities capabilities{};
  // Of the machine, where it tells: shares 0..1.
  std::optional<double> memory_available{}, memory_stalls{}, cpu_celsius{}, frequency_share{};
  std::optional<double> budget_used{};  // Of the memory that this process may take.
  // What is new since the last decision.
  std::optional<double> estimate{};  // Of perplexity above that with 16 bits,
  int estimate_weight = 1;           // and how many estimates it stands for.
  std::optional<QualityMonitor::Measured> exact{};
  std::optional<SpeedReading> speed{};
  // Faults that tests put in place of what is seen.
  std::array<std::optional<Sign>, kEventKinds> forced{};
};

struct PolicyConfig {
  Policy wished{};
  bool baseline = false;  // Baseline mode was asked for.
  std::optional<double> quality_budget{};
};

struct Notice {
  enum class What : uint8_t { kStepTaken, kStepGivenBack, kManyFallbacks, kCritical, kCriticalOver };
  What what;
  EventKind kind{};                   // Of the steps,
  FallbackReason reason{};            // and why.
  int steps = 0;                      // Now in effect.
  Duration retry{};                   // Until a step may be given back.
  int count = 0;                      // Fallbacks within the window.
  std::optional<double> delta_ppl{};  // Of quality.
};

struct Decision {
  ControlState state;
  Policy policy;                  // In effect from now on,
  bool baseline = false;          // which is the baseline.
  std::vector<Notice> notices{};  // Empty: nothing has changed.
};

// The policy that such a state means.
Policy policy_in_effect(const PolicyConfig& config, const ControlState& state);
bool is_baseline(const PolicyConfig& config, const ControlState& state);

Decision decide(const Snapshot& snapshot, const PolicyConfig& config, Instant now);

}  // namespace infer::control
