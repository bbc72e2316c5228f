#include "model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "base/format.h"

namespace infer::model {

namespace {

// The pair, as a fraction, that turns `turns` times within the original context.
double pair_of_turns(const RopeConfig& config, double turns) {
  const double wavelength = config.yarn.original_context / turns;
  return config.dims * std::log(wavelength / (2 * std::numbers::pi)) /
         (2 * std::log(static_cast<double>(config.freq_base)));
}

// How much of the scaled frequency pair i takes, 0 to 1; the rest is the frequency as it was trained.
double scaled_share(const RopeConfig& config, int pair) {
  if (config.yarn.original_context == 0) return 1.0;
  const double most = config.dims - 1;
  const double low = std::max(0.0, std::floor(pair_of_turns(config, static_cast<double>(config.yarn.turns_fast))));
  const double high = std::min(most, std::ceil(pair_of_turns(config, static_cast<double>(config.yarn.turns_slow))));
  return std::clamp((pair - low) / std::max(0.001, high - low), 0.0, 1.0);
}

}  // namespace

Result<RopeTable> RopeTable::make(const RopeConfig& config, std::span<const float> factors) {
  RopeTable table;
  table.magnitude_ = static_cast<double>(config.magnitude);
  const int pairs = config.dims / 2;
  INFER_CHECK(factors.empty() || factors.size() == static_cast<size_t>(pairs));
  for (int i = 0; i < pairs; ++i) {
    double frequency = std::pow(static_cast<double>(config.freq_base), -2.0 * i / config.dims);
    if (!factors.empty()) {
      const float factor = factors[static_cast<size_t>(i)];
      if (!std::isfinite(factor) || factor <= 0) {
        return Error{ErrorCode::kCorrupt, format("rotary factor {} must be a number above 0, but is {}", i, factor)};
      }
      frequency /= static_cast<double>(factor);
    }
    const double share = scaled_share(config, i);
    table.frequencies_.push_back(frequency * (share * static_cast<double>(config.position_scale) + 1.0 - share));
  }
  return table;
}

void RopeTable::fill(int position, float* cosine, float* sine) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const double angle = position * frequencies_[i];
    cosine[i] = static_cast<float>(magnitude_ * std::cos(angle));
    sine[i] = static_cast<float>(magnitude_ * std::sin(angle));
  }
}

}  // namespace infer::model
