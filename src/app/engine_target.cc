#include "app/engine_target.h"

namespace infer::app {

Status EngineTarget::apply(const control::Policy& policy) {
  engine_.change_levels(control::level_policy(policy, cache_));
  return {};
}

telemetry::EngineFacts EngineTarget::facts() const {
  return {.snapshot = engine_.snapshot(),
          .accept_rate = {},
          .model = model_,
          .tokens_per_step = engine_.limits().tokens_per_step};
}

}  // namespace infer::app
