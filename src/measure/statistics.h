// What a handful of repeated measurements says: the middle and how far they scatter. Both resist a few disturbed runs,
// which on a shared machine are the rule; the best alone is never reported.
// Thread safety: pure functions.
#pragma once

#include <span>

namespace infer::measure {

struct Summary {
  double median = 0;
  double spread = 0;  // Median absolute deviation from the median, times 1.4826: equals sigma for normal noise.
  double min = 0;
  double max = 0;
};

// All zero for no samples. Samples must be finite.
Summary summarize(std::span<const double> samples);

}  // namespace infer::measure
