#include "quality/divergence.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace infer::quality {

namespace {

double log_sum(LogSumExp log_sum_exp, std::span<const float> logits) {
  return log_sum_exp(logits.data(), static_cast<int>(logits.size()));
}

}  // namespace

double kl_divergence(LogSumExp log_sum_exp, std::span<const float> reference, std::span<const float> changed) {
  INFER_CHECK(reference.size() == changed.size());
  const double sum_reference = log_sum(log_sum_exp, reference), sum_changed = log_sum(log_sum_exp, changed);
  double divergence = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double log_p = static_cast<double>(reference[i]) - sum_reference;
    if (log_p < -50) continue;  // Less than 1e-21 of a difference of logits.
    divergence += std::exp(log_p) * (log_p - (static_cast<double>(changed[i]) - sum_changed));
  }
  return std::max(0.0, divergence);  // Rounding may leave it a little below.
}

void DivergenceSum::add(std::span<const float> reference, std::span<const float> changed, TokenId target) {
  klds_.push_back(static_cast<float>(kl_divergence(log_sum_exp_, reference, changed)));
  same_top_ += std::max_element(reference.begin(), reference.end()) - reference.begin() ==
               std::max_element(changed.begin(), changed.end()) - changed.begin();
  const auto at = static_cast<size_t>(target);
  const double before = log_sum(log_sum_exp_, reference) - static_cast<double>(reference[at]);
  const double difference = log_sum(log_sum_exp_, changed) - static_cast<double>(changed[at]) - before;
  reference_nll_ += before;
  difference_ += difference;
  difference_squares_ += difference * difference;
}

Divergence DivergenceSum::result() const {
  INFER_CHECK(!klds_.empty());
  const auto count = static_cast<double>(klds_.size());
  Divergence result;
  result.ppl_reference = std::exp(reference_nll_ / count);
  const double mean = difference_ / count;
  result.delta_ppl = result.ppl_reference * std::expm1(mean);
  const double variance = std::max(0.0, difference_squares_ / count - mean * mean);
  result.delta_ppl_stderr = result.ppl_reference * std::exp(mean) * std::sqrt(variance / std::max(1.0, count - 1));
  std::vector<float> sorted = klds_;
  std::sort(sorted.begin(), sorted.end());
  for (const float kld : sorted) result.kld_mean += static_cast<double>(kld) / count;
  result.kld_p999 = static_cast<double>(sorted[static_cast<size_t>(0.999 * (count - 1))]);
  result.kld_max = static_cast<double>(sorted.back());
  result.same_top = static_cast<double>(same_top_) / count;
  return result;
}

}  // namespace infer::quality
