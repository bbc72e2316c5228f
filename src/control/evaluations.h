// The agent's side of measuring quality: starts evaluations when they are due or asked for, and tells of those that
// ended; knows when exact checks found something new.
//
// Thread safety: the agent's thread. Ownership: borrows the work, which may be null: then nothing is measured.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "control/config.h"
#include "control/evaluation_schedule.h"
#include "quality/quality_work.h"
#include "telemetry/evaluation_record.h"
#include "telemetry/metrics.h"

namespace infer::control {

// "dynamic, window 64, levels 0.7/0.5/0.3": what of a policy matters to quality.
std::string levels_text(const kv::LevelPolicy& levels);

class Evaluations {
 public:
  explicit Evaluations(quality::QualityWork* work) : work_(work) {}

  // kUnsupported: there is no text that fits this model. Others: as QualityWork::start.
  Result<uint64_t> start(EvaluationKind kind, std::optional<int> windows, std::string_view trigger,
                         const EvaluationConfig& config);
  // False: none runs.
  bool cancel();
  // True when an evaluation was begun: the engine must be woken.
  bool start_due(const EvaluationConfig& config, WallTime now);
  // What has ended since the last call, well or not: the record has figures only if it ended well.
  struct Ended {
    quality::EvaluationState state;
    telemetry::EvaluationRecord record;
  };
  std::optional<Ended> take_ended(std::string_view model, WallTime now);
  // The findings, where there are more than at the last call.
  std::optional<quality::ExactFindings> take_findings();

  telemetry::EvaluationFacts facts() const;
  const quality::QualityWork* work() const { return work_; }
  const EvaluationSchedule& schedule() const { return schedule_; }
  EvaluationKind kind() const { return kind_; }  // Of the last that was started.

 private:
  quality::QualityWork* work_;
  EvaluationSchedule schedule_;
  EvaluationKind kind_ = EvaluationKind::kLight;
  std::string trigger_;
  uint64_t told_ = 0;  // Number of the last evaluation whose end was told.
  uint64_t checks_ = 0;
  std::optional<telemetry::EvaluationRecord> last_;  // That ended well.
};

}  // namespace infer::control
