#include "control/normal_speed.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace infer::control {

namespace {

constexpr double kUsualFade = 600, kPresentFade = 10;   // Seconds.
constexpr double kUsualKnown = 60, kPresentKnown = 10;  // Of measurement.

}  // namespace

void NormalSpeed::Mean::add(double value, double for_seconds, double fade_seconds) {
  // At first the plain mean.
  const double memory = std::min(seconds, fade_seconds);
  speed = (speed * memory + value * for_seconds) / (memory + for_seconds);
  seconds += for_seconds;
}

void NormalSpeed::observe(double tokens_per_second, int answering, double seconds) {
  if (answering < 1 || seconds <= 0) return;
  const auto group =
      std::min<size_t>(static_cast<size_t>(std::bit_width(static_cast<unsigned>(answering))) - 1, usual_.size() - 1);
  if (group != group_) {
    present_ = {};
    group_ = group;
  }
  present_.add(tokens_per_second, seconds, kPresentFade);
  if (sign() != Sign::kShows) usual_[group_].add(tokens_per_second, seconds, kUsualFade);
}

Sign NormalSpeed::sign() const {
  const Mean& usual = usual_[group_];
  if (usual.seconds < kUsualKnown || present_.seconds < kPresentKnown) return Sign::kUnknown;
  if (present_.speed < kSlow * usual.speed) return Sign::kShows;
  return present_.speed > kFast * usual.speed ? Sign::kClear : Sign::kBetween;
}

}  // namespace infer::control
