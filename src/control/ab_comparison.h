// Two settings compared: by how much B differs from A, with the interval in which the difference lies at 95 %.
//
// Speeds and times are compared by their logarithms, so that a difference is a factor; quality by perplexity. Measured
// in pairs, one right after the other, what a machine does meanwhile cancels out; of separate requests (Welch) it does
// not. An interval with 0 in it is no difference found, and says how large one could still be.
// Thread safety: pure functions.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace infer::control {

// B against A: of quantities compared by factors 0.05 is 5 % more.
struct AbDifference {
  double mean = 0, low = 0, high = 0;
  int count_a = 0, count_b = 0;
  bool is_found() const { return low > 0 || high < 0; }
};

inline constexpr int kAbLeast = 4;  // Of each, for a difference to be told.

// Both of the same length, place by place a pair; above 0 where `by_factor`. nullopt: fewer than kAbLeast.
std::optional<AbDifference> paired_difference(std::span<const double> a, std::span<const double> b, bool by_factor);
// Of separate measurements.
std::optional<AbDifference> separate_difference(std::span<const double> a, std::span<const double> b, bool by_factor);

// Of two means that were measured with their standard errors.
struct MeasuredMean {
  double mean = 0, standard_error = 0;
  int count = 0;
};
std::optional<AbDifference> measured_difference(const MeasuredMean& a, const MeasuredMean& b);

// Of one setting, in the order in which it was measured.
struct AbArm {
  std::vector<double> tokens_per_second, first_token_ms;
  std::vector<double> delta_ppl;  // Above 16 bits.
};

struct AbReport {
  std::optional<AbDifference> speed, first_token;  // By factors.
  std::optional<AbDifference> quality;             // Perplexity.
  std::string verdict;                             // In plain words.
};
// quality: where it was measured otherwise than in the arms.
AbReport compare_arms(const AbArm& a, const AbArm& b, bool in_pairs, std::optional<AbDifference> quality = {});

// The 97.5 % point of Student's distribution.
double student_975(double freedom);

}  // namespace infer::control
