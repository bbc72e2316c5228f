// In which steps the likelihood of an answer's token is measured: in all where that costs next to nothing, in fewer
// where steps are so short that it would show.
//
// It takes a pass over the vocabulary on one thread while all others wait: nothing beside a large model's step, a
// hundredth of that of a very small one. So it gets a share of the time of steps, less of it while requests wait for
// their turn, but one step in kEveryMax at least: who judges quality goes by the last hundred tokens
// (control/quality_estimate.h), and a quarter of them says enough.
// Thread safety: one thread; a plain value.
#pragma once

#include <algorithm>
#include <cmath>

#include "base/time.h"

namespace infer::engine {

class LikelihoodShare {
 public:
  static constexpr double kMost = 0.02;            // Of the time of steps,
  static constexpr double kWhileOthersWait = 0.2;  // and this part of that.
  static constexpr int kEveryMax = 4;
  static constexpr int kKnownFrom = 64;  // Measurements, until which all are made.

  // most: 0..1.
  explicit LikelihoodShare(double most = kMost) : most_(most) {}

  // A step with answers has been computed: whether one of its tokens is measured.
  bool next(Duration step, bool others_wait) {
    step_ns_ += (static_cast<double>(step.ns()) - step_ns_) * rate();
    if (++passed_over_ < every(others_wait)) return false;
    passed_over_ = 0;
    return true;
  }
  // What measuring one took.
  void observe(Duration taken) {
    known_ = std::min(known_ + 1, kKnownFrom);
    taken_ns_ += (static_cast<double>(taken.ns()) - taken_ns_) * rate();
  }

  // One step in so many.
  int every(bool others_wait) const {
    const double most = (others_wait ? kWhileOthersWait : 1) * most_ * step_ns_;
    if (known_ < kKnownFrom || taken_ns_ <= most) return 1;
    return taken_ns_ < kEveryMax * most ? static_cast<int>(std::ceil(taken_ns_ / most)) : kEveryMax;
  }

 private:
  // Means of the last few dozens; of all before there are as many.
  double rate() const { return 1.0 / std::max(1, known_); }

  double most_;
  double step_ns_ = 0, taken_ns_ = 0;
  int known_ = 0, passed_over_ = 0;
};

}  // namespace infer::engine
