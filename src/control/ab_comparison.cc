#include "control/ab_comparison.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/format.h"

namespace infer::control {

namespace {

struct Moments {
  double mean = 0, variance = 0, count = 0;
};

Moments moments(std::span<const double> values) {
  Moments found{.count = static_cast<double>(values.size())};
  for (const double each : values) found.mean += each / found.count;
  for (const double each : values) found.variance += (each - found.mean) * (each - found.mean) / (found.count - 1);
  return found;
}

std::vector<double> on_scale(std::span<const double> values, bool by_factor) {
  std::vector<double> scaled(values.begin(), values.end());
  if (!by_factor) return scaled;
  for (double& each : scaled) each = std::log(std::max(each, 1e-12));
  return scaled;
}

AbDifference around(double mean, double half, bool by_factor, size_t a, size_t b) {
  const auto back = [by_factor](double x) { return by_factor ? std::expm1(x) : x; };
  return {back(mean), back(mean - half), back(mean + half), static_cast<int>(a), static_cast<int>(b)};
}

bool enough(std::span<const double> a, std::span<const double> b) {
  return a.size() >= static_cast<size_t>(kAbLeast) && b.size() >= static_cast<size_t>(kAbLeast);
}

std::string factor_text(const AbDifference& found, const char* more, const char* less) {
  return format("{} by {:.1f} % (95 %: {:.1f} to {:.1f} %)", found.mean > 0 ? more : less, 100 * std::fabs(found.mean),
                100 * std::min(std::fabs(found.low), std::fabs(found.high)),
                100 * std::max(std::fabs(found.low), std::fabs(found.high)));
}

std::string open_text(const char* what, const AbDifference& found) {
  return format("no difference in {} found (95 %: {:+.1f} to {:+.1f} %)", what, 100 * found.low, 100 * found.high);
}

std::string speed_text(const AbDifference& found) {
  return found.is_found() ? "B is " + factor_text(found, "faster", "slower") : open_text("speed", found);
}

std::string first_token_text(const AbDifference& found) {
  return found.is_found() ? "its first token comes " + factor_text(found, "later", "earlier")
                          : open_text("the time to the first token", found);
}

std::string quality_text(const AbDifference& found) {
  if (!found.is_found()) {
    return format("no difference in quality found (95 %: {:+.4f} to {:+.4f} perplexity)", found.low, found.high);
  }
  return format("B costs {:.4f} perplexity {} (95 %: {:+.4f} to {:+.4f})", std::fabs(found.mean),
                found.mean > 0 ? "more" : "less", found.low, found.high);
}

}  // namespace

// Hill's expansion in 1/freedom around the normal distribution's 1.95996: within 1 % from 3 on.
double student_975(double freedom) {
  const double z = 1.959963985, n = std::max(1.0, freedom);
  const double z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z;
  return z + (z3 + z) / (4 * n) + (5 * z5 + 16 * z3 + 3 * z) / (96 * n * n) +
         (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * n * n * n);
}

std::optional<AbDifference> paired_difference(std::span<const double> a, std::span<const double> b, bool by_factor) {
  INFER_CHECK(a.size() == b.size());
  if (!enough(a, b)) return std::nullopt;
  std::vector<double> differences = on_scale(b, by_factor);
  const std::vector<double> from = on_scale(a, by_factor);
  for (size_t i = 0; i < from.size(); ++i) differences[i] -= from[i];
  const Moments found = moments(differences);
  const double half = student_975(found.count - 1) * std::sqrt(found.variance / found.count);
  return around(found.mean, half, by_factor, a.size(), b.size());
}

std::optional<AbDifference> separate_difference(std::span<const double> a, std::span<const double> b, bool by_factor) {
  if (!enough(a, b)) return std::nullopt;
  const Moments of_a = moments(on_scale(a, by_factor)), of_b = moments(on_scale(b, by_factor));
  const double share_a = of_a.variance / of_a.count, share_b = of_b.variance / of_b.count, sum = share_a + share_b;
  // Welch and Satterthwaite.
  const double freedom = sum > 0
                             ? sum * sum / (share_a * share_a / (of_a.count - 1) + share_b * share_b / (of_b.count - 1))
                             : of_a.count + of_b.count - 2;
  return around(of_b.mean - of_a.mean, student_975(freedom) * std::sqrt(sum), by_factor, a.size(), b.size());
}

std::optional<AbDifference> measured_difference(const MeasuredMean& a, const MeasuredMean& b) {
  if (a.count < kAbLeast || b.count < kAbLeast) return std::nullopt;
  const double half = student_975(a.count + b.count - 2) * std::hypot(a.standard_error, b.standard_error);
  return around(b.mean - a.mean, half, false, static_cast<size_t>(a.count), static_cast<size_t>(b.count));
}

AbReport compare_arms(const AbArm& a, const AbArm& b, bool in_pairs, std::optional<AbDifference> quality) {
  const auto compare = [in_pairs](const std::vector<double>& of_a, const std::vector<double>& of_b, bool by_factor) {
    return in_pairs ? paired_difference(of_a, of_b, by_factor) : separate_difference(of_a, of_b, by_factor);
  };
  AbReport report{.speed = compare(a.tokens_per_second, b.tokens_per_second, true),
                  .first_token = compare(a.first_token_ms, b.first_token_ms, true),
                  .quality = quality ? quality : compare(a.delta_ppl, b.delta_ppl, false),
                  .verdict = {}};
  const auto add = [&report](const std::string& text) {
    report.verdict += (report.verdict.empty() ? "" : "; ") + text;
  };
  if (report.speed) add(speed_text(*report.speed));
  if (report.first_token) add(first_token_text(*report.first_token));
  if (report.quality) add(quality_text(*report.quality));
  if (report.verdict.empty()) report.verdict = format("too few measurements to tell: {} of each at least", kAbLeast);
  return report;
}

}  // namespace infer::control
