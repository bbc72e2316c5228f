// When the control loops run, and on whose thread.
//
// Each loop is due once a period. While the engine computes, its own thread runs the fast and the mid loop between two
// layers (at_step): they take microseconds, and waking another thread beside those that compute takes these far more
// time than that. The agent's thread then wakes for the slow loop alone, until steps do not come often enough any more:
// so an engine that hangs is found out by the next slow loop. While nothing runs and nothing is wrong (it rests), there
// is only the slow loop.
//
// A loop that comes a whole period too late has missed a run, for each period once; none while it rests.
// Thread safety: one thread at a time; a plain value.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "base/time.h"
#include "control/decide.h"

namespace infer::control {

class LoopSchedule {
 public:
  using Periods = std::array<Duration, kLoops>;
  struct Run {
    DueLoops due{};
    std::array<uint64_t, kLoops> missed{};
  };

  explicit LoopSchedule(Instant now) { next_.fill(now); }

  // What the agent's thread is to run; nullopt: nothing. widest: the longest time between two steps lately.
  std::optional<Run> at_time(Instant now, const Periods& periods, bool rests, Duration widest) {
    if (now < wake_at(rests)) return std::nullopt;
    const Run run = take(now, periods, rests, kLoops);
    if (run.due[static_cast<size_t>(Loop::kSlow)]) steps_come_ = !rests && widest < periods[1];
    return run;
  }
  // What the engine's thread is to run.
  std::optional<Run> at_step(Instant now, const Periods& periods, bool rests) {
    if (now < step_due()) return std::nullopt;
    return take(now, periods, rests, static_cast<size_t>(Loop::kSlow));
  }

  // When the agent's thread has to wake.
  Instant wake_at(bool rests) const {
    const Instant slow = next_[static_cast<size_t>(Loop::kSlow)];
    return rests || steps_come_ ? slow : std::min(slow, step_due());
  }
  // Before it at_step() has nothing to run.
  Instant step_due() const { return std::min(next_[0], next_[1]); }

 private:
  Run take(Instant now, const Periods& periods, bool rests, size_t loops) {
    Run run;
    for (size_t loop = 0; loop < loops; ++loop) {
      if (now < next_[loop]) continue;
      run.due[loop] = true;
      const int64_t missed = (now - next_[loop]).ns() / periods[loop].ns();
      run.missed[loop] = rests ? 0 : static_cast<uint64_t>(missed);
      // In step with the period, unless it was missed.
      next_[loop] = (missed > 0 ? now : next_[loop]) + periods[loop];
    }
    if (periods[0] == periods[1]) next_[0] = next_[1];  // Both at once.
    return run;
  }

  std::array<Instant, kLoops> next_{};
  bool steps_come_ = false;  // Often enough.
};

}  // namespace infer::control
