// How likely a guess of a draft model is right, by the probability that the model gives it.
//
// Not that probability itself: where the likeliest token is taken, a guess at 30 % may nearly always be right, and a
// model that was trained on something else is wrong where it is sure. The chance is taken as a power of the
// probability; each of some powers is believed as far as it has foretold what became of guesses, and what was long ago
// is forgotten. Thread safety: a plain value.
#pragma once

#include <array>
#include <span>

namespace infer::engine {

class GuessTrust {
 public:
  // Between 0 and 1.
  double chance(double probability) const;
  // A guess with this probability was verified.
  void observe(double probability, bool right);
  // Those of one draft, the first `accepted` of which were right; what came behind a wrong one tells nothing.
  void observe(std::span<const float> probabilities, int accepted);

 private:
  static constexpr std::array<double, 8> kPowers{0.1, 0.2, 0.35, 0.6, 1, 1.8, 4, 12};

  std::array<double, kPowers.size()> belief_{0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125};  // Sum: 1.
};

}  // namespace infer::engine
