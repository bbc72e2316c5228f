// The control agent without its thread: what was wished for, what is in effect, and what it sees of engine and machine.
//
// It shows decide() what is there and brings what that decides to the target. Invariants: the policy in effect is
// policy_in_effect() of the wished one and of the state; when the target refuses a policy nothing has changed, and what
// was decided is tried again in the next loop. Observers are called by the functions that cause what they are told.
// Thread safety: one thread at a time (control/agent_thread.h). Ownership: borrows all it is given.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/time.h"
#include "control/ab_run.h"
#include "control/config.h"
#include "control/decide.h"
#include "control/evaluations.h"
#include "control/quality_estimate.h"
#include "control/settings.h"
#include "control/tuning.h"
#include "telemetry/metrics.h"
#include "telemetry/recorder.h"
#include "telemetry/sampler.h"

namespace infer::control {

// What is steered. Called by who has the agent, and must not wait for a step.
class AgentTarget {
 public:
  virtual ~AgentTarget() = default;
  // From the next step on, for running requests too.
  virtual Status apply(const Policy& policy) = 0;
  // Half of the requests from now on follow this policy's KV settings instead, until the next apply() or nullopt.
  virtual Status compare_with(const std::optional<Policy>&) {
    return Error{ErrorCode::kUnsupported, "policies cannot be compared here"};
  }
  virtual telemetry::EngineFacts facts() const = 0;
  virtual engine::EngineSnapshot snapshot() const { return facts().snapshot; }
  virtual Capabilities capabilities() const { return {}; }
  // What measures quality while nothing else is to do; null: nothing does. wake(): it has something new to do.
  virtual quality::QualityWork* quality_work() { return nullptr; }
  virtual void wake() {}
  // Who is told between the layers of steps, on the thread that computes them (Engine::set_on_step).
  virtual void set_on_step(std::function<void(Instant now)> /*on_step*/) {}
};

struct Alert {
  std::string_view event;         // Of the table of events: "memory_pressure"; or "critical".
  bool is_raised = false;         // Else it is over.
  std::string message;            // What was seen and done.
  std::string_view reason;        // Of the fallback: "device_error".
  int steps = 0;                  // In effect.
  std::optional<Duration> retry;  // When a step may be given back at the earliest.
  // Worth telling somebody who does not look: many fallbacks, or critical.
  bool notifies = false;
};

class AgentObserver {
 public:
  virtual ~AgentObserver() = default;
  virtual void on_metrics(const telemetry::Metrics& metrics) = 0;  // Each telemetry.push_interval_ms.
  virtual void on_policy(const Policy& in_effect, bool baseline) = 0;
  virtual void on_alert(const Alert& alert, WallTime time) = 0;
  // One that ended well.
  virtual void on_evaluation(const telemetry::EvaluationRecord& record) = 0;
};

// What the next job will be, as far as it was told.
struct RunContext {
  std::optional<int> seq_len, batch;
  std::optional<double> target_ftl_ms, quality_budget;
};

// What the measured speed of steps says about it; nothing before something was measured.
struct RunForecast {
  std::optional<double> first_token_ms;       // Of one such prompt alone.
  std::optional<double> last_first_token_ms;  // Of the last of the batch.
  std::optional<bool> meets_target;
};

struct ConfigChange {
  std::vector<const Setting*> applied;
  std::vector<const Setting*> needs_restart;  // These were not changed.
};

class Agent {
 public:
  Agent(const Config& config, AgentTarget& target, const telemetry::Recorder& recorder, Log& log, Instant now);

  // Observers are called in this order; they outlive the agent.
  void add_observer(AgentObserver& observer) { observers_.push_back(&observer); }
  // Brings the first policy to the target.
  Status start();

  const Config& config() const { return config_; }
  // All optimization is off: somebody said so, or something went wrong.
  bool baseline() const { return is_baseline(policy_config(), state_); }
  Policy policy_in_effect() const { return control::policy_in_effect(policy_config(), state_); }
  const ControlState& state() const { return state_; }
  const QualityMonitor& quality() const { return state_.quality; }

  // Takes over what can change while running. The error is the target's; then nothing has changed.
  Result<ConfigChange> change(const Config& wished);
  Status set_baseline(bool on);
  void set_run_context(const RunContext& context);
  RunForecast forecast() const;
  Result<uint64_t> evaluate(EvaluationKind kind, std::optional<int> windows);
  bool cancel_evaluation();
  const Evaluations& evaluations() const { return evaluations_; }

  // Searches settings in idle time (control/tuning.h).
  Result<uint64_t> tune(const TuningWish& wish, Instant now);
  bool cancel_tuning();
  // The policy from before a choice was applied; false: none was, or another was chosen since.
  Result<bool> undo_tuning();
  bool can_undo_tuning() const { return before_tuning_.has_value(); }
  const Tuning& tuning() const { return tuning_; }

  // Compares two policies on the requests that come (control/ab_run.h).
  Result<uint64_t> compare(const AbWish& wish, Instant now);
  bool cancel_comparison();
  const AbRun& comparison() const { return comparison_; }

  // For tests: the event looks like this, whatever is seen; nullopt: as it is seen.
  void force(EventKind kind, std::optional<Sign> sign) { forced_[static_cast<size_t>(kind)] = sign; }

  // Runs the loops that are due. The slow one takes samples when their time has come, and starts evaluations.
  void tick(const telemetry::MachineFacts& machine, Instant now, WallTime time, const DueLoops& due = kAllLoops);
  // The fast and the mid loop as far as that takes microseconds: true when nothing is to be done. Else the decision
  // waits for settle(), and until then each glance says so.
  bool glance(const telemetry::MachineFacts& machine, Instant now, const DueLoops& due);
  // Brings what a glance has decided, if one has. Before anything else is asked of the agent.
  void settle(Instant now, WallTime time);
  telemetry::Metrics metrics(const telemetry::MachineFacts& machine, Instant now, WallTime time);
  // Nothing runs and nothing is wrong: the slow loop alone is enough.
  bool may_rest() const { return rests_ && state_.is_calm(); }

  // The same with the engine as it is now.
  bool look_whether_rests();
  // Nothing is wrong or due to be tried again: what the fast loop looks at changes with what the slow one reads.
  bool is_settled() const { return state_.is_calm() && !refused_since_; }

  struct LoopCounts {
    uint64_t runs = 0, overruns = 0;
  };
  void count_loop(Loop loop, uint64_t overruns) {
    ++loops_[static_cast<size_t>(loop)].runs;
    loops_[static_cast<size_t>(loop)].overruns += overruns;
  }
  const std::array<LoopCounts, kLoops>& loops() const { return loops_; }
  uint64_t policy_changes() const { return policy_changes_; }
  uint64_t alerts() const { return alerts_; }
  const std::array<uint64_t, kFallbackReasons>& fallbacks() const { return fallbacks_; }

 private:
  PolicyConfig policy_config() const { return {config_.policy, baseline_, run_context_.quality_budget}; }
  void share_exact_checks();
  // What the target tells, with the expected divergence as exact checks have corrected it.
  telemetry::EngineFacts facts() const;
  std::optional<double> corrected(const std::optional<double>& divergence) const;
  Status bring(const ControlState& state, const Policy& policy, bool baseline);
  Status bring_anew(const Policy& policy, bool baseline);
  Snapshot look(const telemetry::MachineFacts& machine, Instant now, const DueLoops& due);
  void look_at_quality(const engine::EngineSnapshot& engine, Snapshot& seen);
  void look_at_speed(const engine::EngineSnapshot& engine, Instant now, Snapshot& seen);
  void follow(const Decision& decision, Instant now, WallTime time);
  void keep(const Decision& decision);
  void tell_verified(Instant now);
  void tell(const Notice& notice, WallTime time);
  void tell(const Alert& alert, WallTime time);
  void watch_evaluations(const std::string& model, WallTime time);
  void watch_experiments(Instant now);
  void end_comparison(AbState state);
  void take_sample(const telemetry::MachineFacts& machine, Instant now, WallTime time);

  Config config_;
  AgentTarget& target_;
  Log& log_;
  std::vector<AgentObserver*> observers_;
  telemetry::Sampler sampler_;
  Instant next_sample_;
  bool baseline_;  // Somebody said so.
  RunContext run_context_;
  ControlState state_;
  Evaluations evaluations_;
  QualityEstimate estimate_;
  Tuning tuning_;
  std::optional<Policy> before_tuning_;
  AbRun comparison_;
  std::optional<Policy> before_comparison_;
  std::array<std::optional<Sign>, kEventKinds> forced_{};
  std::optional<Instant> refused_since_;
  std::optional<Decision> undone_;  // Of a glance.
  struct SpeedPoint {
    Instant at;
    uint64_t tokens = 0;
    int answering = 0;
  };
  std::optional<SpeedPoint> speed_from_;
  bool rests_ = true;
  bool told_verified_ = false;  // That the steps in effect are enough.
  bool told_degraded_ = false;  // Quality is the reason of an alert that is not over.
  uint64_t policy_changes_ = 0;
  uint64_t alerts_ = 0;
  std::array<uint64_t, kFallbackReasons> fallbacks_{};
  const telemetry::Recorder& recorder_;
  std::array<LoopCounts, kLoops> loops_{};
};

}  // namespace infer::control
