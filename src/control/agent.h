// The control agent without its thread: what was wished for, what is in effect, and what it sees of engine and machine.
//
// Invariants: the policy in effect is the wished one with the steps that the quality monitor has taken back from it, or
// its baseline while baseline mode is on; when the target refuses a policy nothing has changed. Observers are called by
// the functions that cause what they are told. Thread safety: one thread (control/agent_thread.h). Ownership: borrows
// all it is given.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/time.h"
#include "control/config.h"
#include "control/quality_monitor.h"
#include "control/settings.h"
#include "telemetry/metrics.h"
#include "telemetry/recorder.h"
#include "telemetry/sampler.h"

namespace infer::control {

// What is steered. Called on the agent's thread, and must not wait for a step.
class AgentTarget {
 public:
  virtual ~AgentTarget() = default;
  // From the next step on, for running requests too.
  virtual Status apply(const Policy& policy) = 0;
  virtual telemetry::EngineFacts facts() const = 0;
};

struct Alert {
  std::string_view reason;  // "engine_stalled", "memory_pressure", "quality_degradation"
  bool is_raised = false;   // Else it is over.
  std::string message;
};

class AgentObserver {
 public:
  virtual ~AgentObserver() = default;
  virtual void on_metrics(const telemetry::Metrics& metrics) = 0;  // Each telemetry.push_interval_ms.
  virtual void on_policy(const Policy& in_effect, bool baseline) = 0;
  virtual void on_alert(const Alert& alert, WallTime time) = 0;
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
  bool baseline() const { return baseline_; }
  Policy policy_in_effect() const;
  const QualityMonitor& quality() const { return quality_; }

  // Takes over what can change while running. The error is the target's; then nothing has changed.
  Result<ConfigChange> change(const Config& wished);
  Status set_baseline(bool on);
  void set_run_context(const RunContext& context);
  RunForecast forecast() const;

  // Looks for trouble, and takes a sample when its time has come.
  void tick(const telemetry::MachineFacts& machine, Instant now, WallTime time);
  telemetry::Metrics metrics(const telemetry::MachineFacts& machine, Instant now, WallTime time);

  uint64_t policy_changes() const { return policy_changes_; }
  uint64_t alerts() const { return alerts_; }

 private:
  struct Watch {
    std::string_view reason;
    bool is_raised = false;
  };
  Status bring(const Policy& policy, bool baseline);
  Status bring_anew(const Policy& policy, bool baseline);
  void watch_quality(const telemetry::Metrics& metrics, Instant now, WallTime time);
  void look(Watch& watch, bool is_bad, bool is_good, const std::string& message, WallTime time);

  Config config_;
  AgentTarget& target_;
  Log& log_;
  std::vector<AgentObserver*> observers_;
  telemetry::Sampler sampler_;
  Instant next_sample_;
  bool baseline_;
  RunContext run_context_;
  Watch stalled_{"engine_stalled"};
  Watch short_of_memory_{"memory_pressure"};
  Watch degraded_{"quality_degradation"};
  QualityMonitor quality_;
  uint64_t judged_tokens_ = 0;  // Generated when quality was looked at last.
  uint64_t policy_changes_ = 0;
  uint64_t alerts_ = 0;
};

}  // namespace infer::control
