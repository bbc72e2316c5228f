// How fast answers usually come, and whether they come much slower now.
//
// Speed depends on how many answers are computed side by side, so each such number (by powers of two) has a usual speed
// of its own, faded over ten minutes; the present one is faded over ten seconds. While it is slow, the usual speed
// stays as it was. Thread safety: one thread; a plain value.
#pragma once

#include <array>
#include <cstddef>

#include "control/fallback.h"

namespace infer::control {

class NormalSpeed {
 public:
  static constexpr double kSlow = 0.5, kFast = 0.8;  // Of the usual speed.

  // tokens_per_second: over the last `seconds`, in which `answering` answers and no prompts were computed.
  void observe(double tokens_per_second, int answering, double seconds);
  Sign sign() const;

 private:
  struct Mean {
    double speed = 0, seconds = 0;
    void add(double value, double for_seconds, double fade_seconds);
  };
  std::array<Mean, 8> usual_{};
  Mean present_;
  size_t group_ = 0;
};

}  // namespace infer::control
