// Watches what lowering the KV cache costs in perplexity, and steps back from it, one step at a time, while that is too
// much.
//
// When the mean of the last ten estimates was above the limit three times in a row, the next step of protect() is
// taken. Then ten new estimates have to come: a step is judged by what it did before the next one is taken; where the
// mean is only a little above the limit, a minute has to pass as well. Once the
// mean has stayed clearly below the limit for the hold time, the last step is given back. A step that was given back
// and is needed again doubles the hold time, so that a policy that is too much for a model is left alone for longer and
// longer; one that stays away halves it again.
//
// Estimates decide soon, exact checks for certain: steps are enough once the measured cost is below the limit with its
// error, and while checks do not show that, none is given back. What many positions leave above the limit takes the
// next step, be it within the error.
// Thread safety: one thread; a plain value.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/time.h"
#include "control/policy.h"

namespace infer::control {

// The policy with the first `steps` of these taken: (1) lower thresholds up, nothing out of memory; (2) upper ones up,
// 8 bits for most; (3) a window of 128 tokens at least; (4) one device; (5) 16 bits everywhere.
Policy protect(const Policy& policy, int steps);
inline constexpr int kProtectSteps = 5;
// What the step does, for users: "KV cache at 8 bits".
std::string_view protect_step_name(int step);

struct QualityChange {
  int steps_before = 0;
  int steps_after = 0;
  double mean_delta_ppl = 0;
};

class QualityMonitor {
 public:
  static constexpr int kWindow = 10;         // Estimates.
  static constexpr int kTimesInARow = 3;     // Means above the limit,
  static constexpr double kClearly = 0.8;    // or below this share of it.
  static constexpr double kBeyondDoubt = 2;  // Standard errors.
  static constexpr int64_t kMany = 512;      // Positions: in doubt about steps the next one is taken.
  static constexpr double kUrgent = 1.25;    // Of the limit: more cannot wait.
  static constexpr int kEvidence = 120;      // Estimates that a hold time must bring to count.
  static constexpr Duration kHold = Duration::from_seconds(600);
  static constexpr Duration kSettle = Duration::from_seconds(60);  // Before a step is taken again, and after it.
  static constexpr Duration kHoldMax = Duration::from_seconds(9600);

  // delta_ppl: an estimate of the perplexity above that with 16 bits; max: its limit. What changed, if anything did.
  std::optional<QualityChange> observe(double delta_ppl, double max_delta_ppl, Instant now);

  // What was measured on answers under the steps in effect.
  struct Measured {
    double delta_ppl = 0, standard_error = 0;  // Of the perplexity above that with 16 bits.
    int64_t positions = 0;                     // That were compared.
  };
  // One that is beyond doubt above the limit takes the next step at once.
  std::optional<QualityChange> observe_exact(const Measured& measured, double max_delta_ppl, Instant now);

  int steps() const { return steps_; }
  // Whether checks have shown that the steps in effect are enough; nullopt: none has told anything of them lately.
  std::optional<bool> verified(Instant now) const;
  // Mean of the last ten estimates, once there are ten since the last step.
  std::optional<double> mean() const;
  // All steps are given back and all estimates forgotten: somebody chose another policy.
  void reset() { *this = {}; }

 private:
  QualityChange change(int steps, double mean);
  void lengthen_or_shorten_hold(Instant now);
  bool settles(Instant now, bool urgent) const;

  int steps_ = 0;
  std::array<double, kWindow> window_{};
  int estimates_ = 0;  // Since the last step, as far as it matters.
  int above_ = 0;      // Means above the limit in a row.
  int quiet_estimates_ = 0;
  std::optional<Instant> quiet_since_;
  std::optional<Instant> given_back_at_, settles_since_, taken_at_;
  std::optional<Instant> checked_at_;  // Since the last step;
  bool is_enough_ = false;             // what that check said.
  Duration hold_ = kHold;
};

}  // namespace infer::control
