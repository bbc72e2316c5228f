#include "model/rope_table.h"

#include <cmath>

#include "base/check.h"
#include "base/format.h"

namespace infer::model {

Result<RopeTable> RopeTable::make(const RopeConfig& config, std::span<const float> factors) {
  RopeTable table;
  const int pairs = config.dims / 2;
  INFER_CHECK(factors.empty() || factors.size() == static_cast<size_t>(pairs));
  for (int i = 0; i < pairs; ++i) {
    double frequency = std::pow(static_cast<double>(config.freq_base), -2.0 * i / config.dims);
    frequency *= static_cast<double>(config.position_scale);
    if (!factors.empty()) {
      const float factor = factors[static_cast<size_t>(i)];
      if (!std::isfinite(factor) || factor <= 0) {
        return Error{ErrorCode::kCorrupt,
                     format("rope_freqs.weight[{}] must be a number above 0, but is {}", i, factor)};
      }
      frequency /= static_cast<double>(factor);
    }
    table.frequencies_.push_back(frequency);
  }
  return table;
}

void RopeTable::fill(int position, float* cosine, float* sine) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const double angle = position * frequencies_[i];
    cosine[i] = static_cast<float>(std::cos(angle));
    sine[i] = static_cast<float>(std::sin(angle));
  }
}

}  // namespace infer::model
