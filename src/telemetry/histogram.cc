#include "telemetry/histogram.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace infer::telemetry {

uint64_t HistogramCounts::total() const { return std::accumulate(counts.begin(), counts.end(), uint64_t{0}); }

DurationHistogram::DurationHistogram(std::initializer_list<double> bounds_seconds) {
  INFER_CHECK(bounds_seconds.size() <= kBoundsMax && std::is_sorted(bounds_seconds.begin(), bounds_seconds.end()));
  for (const double bound : bounds_seconds) bounds_ns_[bounds_++] = std::llround(bound * 1e9);
}

void DurationHistogram::observe(Duration value) {
  const int64_t* const end = bounds_ns_.data() + bounds_;
  const auto at =
      static_cast<size_t>(std::lower_bound<const int64_t*>(bounds_ns_.data(), end, value.ns()) - bounds_ns_.data());
  counts_[at].fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(value.ns(), std::memory_order_relaxed);
}

HistogramCounts DurationHistogram::counts() const {
  HistogramCounts result;
  for (size_t i = 0; i < bounds_; ++i)
    result.bounds.push_back(static_cast<double>(bounds_ns_[i]) / 1e9);  // As it was written.
  for (size_t i = 0; i <= bounds_; ++i) result.counts.push_back(counts_[i].load(std::memory_order_relaxed));
  result.sum_seconds = static_cast<double>(sum_ns_.load(std::memory_order_relaxed)) * 1e-9;
  return result;
}

}  // namespace infer::telemetry
