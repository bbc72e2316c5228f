// How long a step takes, learnt from the steps that ran: a fixed part (reading the weights) and a part per token.
//
// Least squares over the past with weights that fade, so that it follows a machine whose other load comes and goes.
// Nothing is predicted before something was measured. Thread safety: plain values.
#pragma once

#include <array>

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

// How long steps of a few tokens take, for each number of them: a line would not do, as the first ones come at the
// price of reading the weights and the kernels take some at a time.
class RowCost {
 public:
  static constexpr int kRowsMax = 64;
  static constexpr int kMemory = 8;  // Measurements that count, about.

  void observe(int rows, Duration time);
  bool known() const { return highest_ > 0; }
  // What a step's rows answer for of the time that it took, in seconds. What is beyond half as much again as such steps
  // take is others' work on a busy machine: it would have held up any step.
  double own_seconds(int rows, Duration time) const;
  // Something is known. Between and beyond what was measured: straight lines; `slope` is that of long steps. Never less
  // for more rows.
  double seconds(int rows) const;
  void set_slope(double per_token) { slope_ = per_token; }

 private:
  std::array<double, kRowsMax + 1> mean_{};  // Faded; 0: not measured.
  std::array<int, kRowsMax + 1> seen_{};     // Measurements, up to kMemory.
  int highest_ = 0;                          // Measured.
  double slope_ = 0;
};

}  // namespace infer::engine
