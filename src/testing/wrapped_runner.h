// A runner that does what another one does: a base for those that change a part of it.
// Ownership: owns the other one. Thread safety: one thread (the engine's).
#pragma once

#include <memory>
#include <utility>

#include "engine/step_runner.h"

namespace infer::testing {

class WrappedRunner : public engine::StepRunner {
 public:
  explicit WrappedRunner(std::unique_ptr<engine::StepRunner> runner) : runner_(std::move(runner)) {}

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
    return runner_->run(batch, watch, now);
  }
  std::span<const float> logits(int row) const override { return runner_->logits(row); }
  double log_sum_exp(std::span<const float> logits) const override { return runner_->log_sum_exp(logits); }

 private:
  std::unique_ptr<engine::StepRunner> runner_;
};

}  // namespace infer::testing
