// How often durations fell into ranges, counted by many threads at once without a lock.
//
// A count and the sum are separate atomics: a reader may see one event in one and not yet in the other, never a torn
// number. Thread safety: all of it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "base/time.h"

namespace infer::telemetry {

struct HistogramCounts {
  std::vector<double> bounds;    // Upper bounds in seconds, increasing; one more range lies above the last.
  std::vector<uint64_t> counts;  // [bounds + 1], each of its range alone.
  double sum_seconds = 0;

  uint64_t total() const;
};

class DurationHistogram {
 public:
  static constexpr size_t kBoundsMax = 24;

  // Increasing, at most kBoundsMax. A value that equals a bound belongs below it, as Prometheus has it.
  explicit DurationHistogram(std::initializer_list<double> bounds_seconds);

  void observe(Duration value);
  HistogramCounts counts() const;

 private:
  std::array<int64_t, kBoundsMax> bounds_ns_{};
  size_t bounds_ = 0;
  std::array<std::atomic<uint64_t>, kBoundsMax + 1> counts_{};
  std::atomic<int64_t> sum_ns_{0};
};

}  // namespace infer::telemetry
