// A model whose steps begin with what a test does: hang, let time pass, submit; and end with what it notes.
// Thread safety: set the functions while no step runs. Ownership: borrows the model.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>

#include "engine/step_runner.h"

namespace infer::testing {

class HookedRunner final : public engine::StepRunner {
 public:
  explicit HookedRunner(model::Model& model) : runner_(engine::make_model_runner(model)) {}

  int context() const override { return runner_->context(); }
  int width() const override { return runner_->width(); }
  int vocabulary() const override { return runner_->vocabulary(); }
  int tokens_per_step() const override { return runner_->tokens_per_step(); }
  int logits_per_step() const override { return runner_->logits_per_step(); }
  uint64_t fingerprint() const override { return runner_->fingerprint(); }
  int64_t pages_for(int tokens) const override { return runner_->pages_for(tokens); }
  kv::PagePool& pages() override { return runner_->pages(); }
  kv::SequenceCache make_sequence() override { return runner_->make_sequence(); }
  kv::LevelPolicy levels() const override { return runner_->levels(); }
  void set_levels(const kv::LevelPolicy& levels) override { runner_->set_levels(levels); }
  Status run(const model::StepBatch& batch, model::StepWatch& watch, Instant now) override {
    if (before_step) before_step(batch);
    const Status status = runner_->run(batch, watch, now);
    if (after_step) after_step(batch);
    return status;
  }
  std::span<const float> logits(int row) const override { return runner_->logits(row); }
  double log_sum_exp(std::span<const float> logits) const override {
    if (is_unasked) return 0;
    if (is_sure) return static_cast<double>(*std::max_element(logits.begin(), logits.end()));
    return runner_->log_sum_exp(logits);
  }

  std::function<void(const model::StepBatch& batch)> before_step, after_step;
  bool is_unasked = false;  // Nobody wants to know how likely tokens were.
  bool is_sure = false;     // Its likeliest tokens have all of the probability, as random weights never say.

 private:
  std::unique_ptr<engine::StepRunner> runner_;
};

}  // namespace infer::testing
