#include "app/engine_target.h"

#include <cmath>

namespace infer::app {

Status EngineTarget::apply(const control::Policy& policy) {
  levels_ = control::level_policy(policy, cache_);
  engine_.change_levels(levels_);
  engine_.set_speculation(policy.speculate, static_cast<float>(policy.quality.min_accept_rate));
  const double places = policy.running_share * engine_.limits().running_max;
  engine_.set_running_max(static_cast<int>(std::lround(places)));
  return {};
}

Status EngineTarget::compare_with(const std::optional<control::Policy>& other) {
  engine_.change_levels(levels_, other ? std::optional(control::level_policy(*other, cache_)) : std::nullopt);
  return {};
}

telemetry::EngineFacts EngineTarget::facts() const {
  const engine::EngineSnapshot snapshot = engine_.snapshot();
  return {.snapshot = snapshot,
          .accept_rate = snapshot.accept_window > 0 ? std::optional<double>(snapshot.accept_rate) : std::nullopt,
          .model = model_,
          .tokens_per_step = engine_.limits().tokens_per_step};
}

}  // namespace infer::app
