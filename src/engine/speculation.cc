#include "engine/speculation.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace infer::engine {

namespace {

constexpr double kShare = 0.02;       // Of each token, for drafts.
constexpr double kAccountMax = 2;     // So that a good time does not pay for a long bad one,
constexpr double kAccountMin = -2;    // nor does one long step forbid drafts for long.
constexpr double kFading = 0.9;       // Of what was learnt of `a`, with each draft.
constexpr int kProbeTokens = 2;       // Of a draft while drafts are bad.
constexpr int kJudgedFrom = 16;       // Drafted tokens, from which on a rate means something.
constexpr double kWorthwhile = 1.02;  // What a draft must promise: times the speed without.

}  // namespace

void AcceptWindow::add(int drafted, int accepted) {
  for (int i = 0; i < drafted; ++i) accepted_ = accepted_ << 1 | (i < accepted ? 1u : 0u);
  drafted_ = std::min(kTokens, drafted_ + drafted);
}

float AcceptWindow::rate() const {
  if (drafted_ == 0) return 0;
  const uint64_t seen = accepted_ & ((uint64_t{1} << drafted_) - 1);
  return static_cast<float>(std::popcount(seen)) / static_cast<float>(drafted_);
}

double Speculation::expected_tokens(int drafted) const {
  const double a = hits_ / tries_;
  return a * (1 - std::pow(a, drafted)) / (1 - a);  // a + a^2 + ..; a < 1, as tries_ stay above hits_.
}

double Speculation::price(const RowCost& cost, int rows, int drafted) {
  const double before = cost.seconds(rows);
  return (cost.seconds(rows + drafted) - before) / before * rows;
}

int Speculation::best_length(const RowCost& cost, int most, const StepRows& step) const {
  int best = 0;
  double best_rate = kWorthwhile * step.expected / cost.seconds(step.rows);
  for (int length = 1; length <= most && price(cost, step.rows, length) <= account_; ++length) {
    const double rate = (step.expected + expected_tokens(length)) / cost.seconds(step.rows + length);
    if (rate <= best_rate) continue;
    best_rate = rate;
    best = length;
  }
  return best;
}

int Speculation::choose_length(const SpeculationLimits& limits, const RowCost& cost, int most, StepRows& step) {
  if (!limits.enabled || !cost.known()) return 0;
  most = std::min(most, limits.draft_max);
  const bool bad = window_.drafted() >= kJudgedFrom && window_.rate() < limits.min_accept_rate;
  int best = bad ? 0 : best_length(cost, most, step);
  // Not for its gain, but to see whether there is one by now.
  const int probe = std::min(most, kProbeTokens);
  probing_ = best == 0 && probe > 0 && price(cost, step.rows, probe) <= account_;
  if (probing_) best = probe;
  step.rows += best;
  step.expected += best > 0 ? expected_tokens(best) : 0;
  return best;
}

void Speculation::observe(const RowCost& cost, int rows, int drafted, int accepted, double seconds) {
  account_ += kShare;
  if (drafted > 0) {
    account_ += accepted - std::max(0.0, seconds / cost.seconds(rows) - 1) * rows;
    window_.add(drafted, accepted);
    if (probing_ && accepted == drafted) window_.clear();
    hits_ = kFading * hits_ + accepted;
    tries_ = kFading * tries_ + accepted + (accepted < drafted ? 1.0 : 0.05);
  }
  account_ = std::clamp(account_, kAccountMin, kAccountMax);
}

}  // namespace infer::engine
