// How long a step takes, learnt from the steps that ran: a fixed part (reading the weights) and a part per token.
//
// Least squares over the past with weights that fade, so that it follows a machine whose other load comes and goes.
// Nothing is predicted before something was measured. Thread safety: plain values.
#pragma once

#include <optional>

#include "base/time.h"

namespace infer::engine {

// seconds = fixed + tokens * per_token. Both zero: nothing is known.
struct CostLine {
  double fixed = 0;
  double per_token = 0;

  bool known() const { return fixed > 0 || per_token > 0; }
  Duration time(double tokens) const { return Duration::from_seconds(fixed + tokens * per_token); }
  // The most tokens that a step can have and be done within `time`: 0 when not even one is, `most` when nothing is
  // known.
  int tokens_within(Duration time, int most) const;
};

class StepCost {
 public:
  // A step of `tokens` tokens was computed in `time`. A step of zero or less time teaches nothing.
  void observe(int tokens, Duration time);
  CostLine line() const;

 private:
  // Faded sums over steps: of 1, n, n^2, t, n*t.
  double weight_ = 0, n_ = 0, nn_ = 0, t_ = 0, nt_ = 0;
};

}  // namespace infer::engine
