// A model whose steps begin with what a test does: hang, let time pass, submit; and end with what it notes.
// Thread safety: set the functions while no step runs. Ownership: borrows the model.
#pragma once

#include <algorithm>
#include <functional>

#include "engine/step_runner.h"
#include "testing/wrapped_runner.h"

namespace infer::testing {

class HookedRunner final : public WrappedRunner {
 public:
  explicit HookedRunner(model::Model& model) : WrappedRunner(engine::make_model_runner(model)) {}

  Status run(const model::StepBatch& batch, model::StepWatch& watch, Instant now) override {
    if (before_step) before_step(batch);
    const Status status = WrappedRunner::run(batch, watch, now);
    if (after_step) after_step(batch);
    return status;
  }
  double log_sum_exp(std::span<const float> logits) const override {
    if (is_unasked) return 0;
    if (is_sure) return static_cast<double>(*std::max_element(logits.begin(), logits.end()));
    return WrappedRunner::log_sum_exp(logits);
  }

  std::function<void(const model::StepBatch& batch)> before_step, after_step;
  bool is_unasked = false;  // Nobody wants to know how likely tokens were.
  bool is_sure = false;     // Its likeliest tokens have all of the probability, as random weights never say.
};

}  // namespace infer::testing
