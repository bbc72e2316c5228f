#include "measure/statistics.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace infer::measure {
namespace {

constexpr double kSigmaPerMad = 1.4826;  // 1 / the 75 % quantile of the normal distribution.

double median_of_sorted(const std::vector<double>& sorted) {
  const size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

}  // namespace

Summary summarize(std::span<const double> samples) {
  if (samples.empty()) return {};
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  Summary summary{.median = median_of_sorted(sorted), .spread = 0, .min = sorted.front(), .max = sorted.back()};
  std::vector<double> deviations;
  for (const double sample : sorted) deviations.push_back(std::fabs(sample - summary.median));
  std::sort(deviations.begin(), deviations.end());
  summary.spread = kSigmaPerMad * median_of_sorted(deviations);
  return summary;
}

}  // namespace infer::measure
