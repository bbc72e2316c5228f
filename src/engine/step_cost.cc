#include "engine/step_cost.h"

#include <algorithm>

namespace infer::engine {

namespace {

// A step counts for half after 34 more.
constexpr double kFading = 0.98;
// A time that is not measured again counts for half after 350 steps of fewer rows.
constexpr double kForgetting = 0.998;
// A step answers for this part of what such steps take at most.
constexpr double kOwnPart = 1.5;

}  // namespace

int CostLine::tokens_within(Duration time, int most) const {
  if (!known()) return most;
  const double left = time.seconds() - fixed;
  if (left <= 0) return 0;
  if (per_token <= 0) return most;
  return static_cast<int>(std::min(static_cast<double>(most), left / per_token));
}

void StepCost::observe(int tokens, Duration time) {
  if (tokens < 1 || time.ns() <= 0) return;
  const double n = tokens, t = time.seconds();
  weight_ = kFading * weight_ + 1;
  n_ = kFading * n_ + n;
  nn_ = kFading * nn_ + n * n;
  t_ = kFading * t_ + t;
  nt_ = kFading * nt_ + n * t;
}

CostLine StepCost::line() const {
  if (weight_ <= 0) return {};
  const double spread = weight_ * nn_ - n_ * n_;
  if (spread > 1e-6 * n_ * n_) {
    const double slope = (weight_ * nt_ - n_ * t_) / spread;
    const double fixed = (t_ - slope * n_) / weight_;
    if (slope >= 0 && fixed >= 0) return {fixed, slope};
    // More tokens for less time is noise: a flat line. So is a negative start: a line through the origin.
    if (slope < 0) return {t_ / weight_, 0};
  }
  return {0, nt_ / nn_};
}

void RowCost::observe(int rows, Duration time) {
  if (rows < 1 || rows > kRowsMax || time.ns() <= 0) return;
  double& mean = mean_[static_cast<size_t>(rows)];
  int& seen = seen_[static_cast<size_t>(rows)];
  seen = std::min(seen + 1, kMemory);
  // A step that others' work made long tells little: it counts as twice as long at most.
  const double seconds = mean > 0 ? std::min(time.seconds(), 2 * mean) : time.seconds();
  mean += (seconds - mean) / seen;
  // What was not measured for long is no longer believed, or one long step would keep its length from being tried
  // again.
  for (int i = rows + 1; i <= highest_; ++i) mean_[static_cast<size_t>(i)] *= kForgetting;
  highest_ = std::max(highest_, rows);
}

double RowCost::own_seconds(int rows, Duration time) const {
  const double mean = rows >= 1 && rows <= kRowsMax ? mean_[static_cast<size_t>(rows)] : 0;
  return mean > 0 ? std::min(time.seconds(), kOwnPart * mean) : time.seconds();
}

double RowCost::seconds(int rows) const {
  int below = 0, above = 0;
  double least = 0;
  for (int i = 1; i <= highest_; ++i) {
    const double mean = mean_[static_cast<size_t>(i)];
    if (mean <= 0) continue;
    if (i <= rows) {
      below = i;
      least = std::max(least, mean);
    } else if (above == 0) {
      above = i;
    }
  }
  if (below == rows) return least;
  if (below == 0) return mean_[static_cast<size_t>(above)];  // Fewer are hardly quicker.
  if (above == 0) return least + (rows - below) * slope_;
  const double end = std::max(least, mean_[static_cast<size_t>(above)]);
  return least + (end - least) * (rows - below) / (above - below);
}

}  // namespace infer::engine
