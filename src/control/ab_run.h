// Two policies compared on the requests of a running server: each that starts is given one of them by lot.
//
// Speed and first token are those of the requests; quality comes from exact checks of answers by each. It ends after so
// many answers or so much time, and when another policy takes effect meanwhile: what was seen until then stays.
// Thread safety: the agent's thread; a plain value.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "control/ab_comparison.h"
#include "control/policy.h"
#include "quality/exact_check.h"
#include "telemetry/recorder.h"

namespace infer::control {

enum class AbState : uint8_t { kNone, kRunning, kDone, kCancelled, kOutOfTime, kDisturbed };
const char* ab_state_name(AbState state);  // "none", "running", "done", "cancelled", "out_of_time", "disturbed"

struct AbWish {
  Policy a{}, b{};
  int answers = 200;  // Of both together.
  Duration time = Duration::from_seconds(3600);
};

class AbRun {
 public:
  // kBusy: one runs.
  Status check_start() const;
  // After check_start(). Returns its number.
  uint64_t start(const AbWish& wish, Instant now);
  void add(const telemetry::Recorder::ArmTimes& times);
  void set_findings(const std::array<quality::ExactSums, 2>& findings) { findings_ = findings; }
  // How it has ended by now.
  std::optional<AbState> ended(Instant now) const;
  void end(AbState state) { state_ = state; }

  AbState state() const { return state_; }
  uint64_t number() const { return number_; }
  const AbWish& wish() const { return wish_; }
  const AbArm& arm(int which) const { return arms_[static_cast<size_t>(which)]; }
  // Of exact checks; nullopt: no answer by it was checked.
  std::optional<quality::ExactFigures> quality(int which) const;
  AbReport report() const;

 private:
  AbWish wish_;
  AbState state_ = AbState::kNone;
  uint64_t number_ = 0;
  Instant until_{};
  std::array<AbArm, 2> arms_{};
  std::array<quality::ExactSums, 2> findings_{};
};

}  // namespace infer::control
