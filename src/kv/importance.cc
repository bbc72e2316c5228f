#include "kv/importance.h"

#include <algorithm>

namespace infer::kv {

double importance(const ImportanceWeights& weights, const PageStats& stats, int page_index, int pages) {
  const double average = 1.0 / std::max(1, pages);
  const double age = 1.0 - static_cast<double>(page_index + 1) / std::max(1, pages);
  double attention = 0.5, frequency = 0.5, relevance = 0.5;
  if (stats.rows > 0) {
    const auto mass = static_cast<double>(stats.mass);
    attention = mass / (mass + average);
    frequency = static_cast<double>(stats.frequency);
    relevance = static_cast<double>(stats.relevance);
  }
  const double sum =
      weights.attention * attention + weights.frequency * frequency + weights.relevance * relevance - weights.age * age;
  return std::clamp(sum, 0.0, 1.0);
}

}  // namespace infer::kv
