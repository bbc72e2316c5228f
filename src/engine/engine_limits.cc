#include "engine/engine_limits.h"

#include <string_view>

#include "base/format.h"

namespace infer::engine {

namespace {

Status at_least(std::string_view name, int64_t value, int64_t least) {
  if (value >= least) return {};
  return Error{ErrorCode::kInvalidArgument, format("{} must be at least {}, but is {}", name, least, value)};
}

}  // namespace

Status EngineLimits::validate() const {
  INFER_TRY(at_least("running requests", running_max, 1));
  INFER_TRY(at_least("waiting requests", waiting_max, 1));
  INFER_TRY(at_least("waiting tokens", waiting_tokens_max, 1));
  INFER_TRY(at_least("tokens per step", tokens_per_step, running_max));
  INFER_TRY(at_least("the time of a step in ns", step_target.ns(), 1));
  INFER_TRY(at_least("prompt tokens of a step", chunk_min, 1));
  INFER_TRY(at_least("the aging time in ns", aging.ns(), 1));
  INFER_TRY(at_least("tokens that wait for their reader", static_cast<int64_t>(stream_tokens), 1));
  INFER_TRY(at_least("failed steps", failures_max, 1));
  INFER_TRY(at_least("drafted tokens", speculation.draft_max, 0));
  if (!(speculation.min_accept_rate >= 0 && speculation.min_accept_rate <= 1)) {
    return Error{ErrorCode::kInvalidArgument,
                 format("the least accept rate must be between 0 and 1, but is {:g}", speculation.min_accept_rate)};
  }
  if (!(likelihood_share >= 0 && likelihood_share <= 1)) {
    return Error{ErrorCode::kInvalidArgument,
                 format("the share of time for likelihoods must be between 0 and 1, but is {:g}", likelihood_share)};
  }
  return watchdog.validate();
}

}  // namespace infer::engine
