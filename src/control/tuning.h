// The agent's side of tuning a running server: hands the tuner's settings to the engine's idle time one after the
// other, and keeps what came out.
//
// Of a server the KV cache's settings are searched; threads and places are chosen at its start (`inferos tune`).
// Thread safety: the agent's thread. Ownership: borrows the work, which may be null: then nothing can be tuned.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "control/policy.h"
#include "control/tuner.h"
#include "quality/quality_work.h"

namespace infer::control {

enum class TuningState : uint8_t { kNone, kRunning, kDone, kCancelled, kOutOfTime, kFailed };
const char* tuning_state_name(TuningState state);  // "none", "running", "done", "cancelled", "out_of_time", "failed"

struct TuningWish {
  TuneGoal goal{};
  int sequences = 1;
  int trials_max = 0;                           // 0: a fifth of all combinations.
  Duration time = Duration::from_seconds(600);  // For all of it; what was found until then counts.
  bool applies = false;                         // What is chosen becomes the policy.
};

class Tuning {
 public:
  explicit Tuning(quality::QualityWork* work) : work_(work) {}

  // kBusy: one runs. kUnsupported: nothing to measure with.
  Result<uint64_t> start(const TuningWish& wish, Instant now);
  // False: none runs.
  bool cancel();
  // Takes what was measured and asks for the next. True: the engine must be woken.
  bool look(Instant now);
  // The policy that shall be applied, once.
  std::optional<Policy> take_choice(const Policy& policy);

  TuningState state() const { return state_; }
  uint64_t number() const { return number_; }
  const TuningWish& wish() const { return wish_; }
  const Tuner* tuner() const { return tuner_ ? &*tuner_ : nullptr; }

 private:
  bool ask();
  void end(TuningState state);

  quality::QualityWork* work_;
  TuningWish wish_;
  std::optional<Tuner> tuner_;
  TuningState state_ = TuningState::kNone;
  uint64_t number_ = 0;
  uint64_t trial_ = 0;  // Under way.
  Instant until_{};
  bool choice_due_ = false;
};

// The policy with the setting's mode, window and thresholds.
Policy with_setting(const Policy& policy, const TuneSetting& setting);

}  // namespace infer::control
