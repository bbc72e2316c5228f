#include "engine/guess_trust.h"

#include <algorithm>
#include <cmath>

namespace infer::engine {

namespace {

constexpr double kLeast = 1e-3, kMost = 0.99;  // No guess settles a power for good.
constexpr double kForgetting = 0.02;           // Of what is believed, with each guess.

double within(double probability) { return std::clamp(probability, kLeast, kMost); }

}  // namespace

double GuessTrust::chance(double probability) const {
  if (std::isnan(probability)) return 0;
  double chance = 0;
  for (size_t i = 0; i < kPowers.size(); ++i) chance += belief_[i] * std::pow(within(probability), kPowers[i]);
  return chance;
}

void GuessTrust::observe(double probability, bool right) {
  if (std::isnan(probability)) return;
  double sum = 0;
  for (size_t i = 0; i < kPowers.size(); ++i) {
    const double foretold = std::pow(within(probability), kPowers[i]);
    belief_[i] *= right ? foretold : 1 - foretold;
    sum += belief_[i];
  }
  for (double& belief : belief_)
    belief = (1 - kForgetting) * belief / sum + kForgetting / static_cast<double>(kPowers.size());
}

void GuessTrust::observe(std::span<const float> probabilities, int accepted) {
  const size_t told = std::min(probabilities.size(), static_cast<size_t>(accepted) + 1);
  for (size_t i = 0; i < told; ++i) observe(probabilities[i], i < static_cast<size_t>(accepted));
}

}  // namespace infer::engine
