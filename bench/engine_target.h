// An engine as a control agent steers it in benchmarks: the policy's levels of the KV cache, and whether drafts are
// made. Thread safety: the agent's thread. Ownership: borrows the engine and its idle work.
#pragma once

#include <functional>
#include <utility>

#include "control/agent.h"
#include "engine/engine.h"
#include "quality/quality_work.h"

namespace infer::bench {

class EngineTarget final : public control::AgentTarget {
 public:
  // work: may be null.
  EngineTarget(engine::Engine& engine, quality::QualityWork* work) : engine_(engine), work_(work) {}

  Status apply(const control::Policy& policy) override {
    engine_.change_levels(control::level_policy(policy, {}));
    engine_.set_speculation(policy.speculate, static_cast<float>(policy.quality.min_accept_rate));
    return {};
  }
  telemetry::EngineFacts facts() const override { return {.snapshot = engine_.snapshot()}; }
  engine::EngineSnapshot snapshot() const override { return engine_.snapshot(); }
  quality::QualityWork* quality_work() override { return work_; }
  void wake() override { engine_.wake(); }
  void set_on_step(std::function<void(Instant now)> on_step) override { engine_.set_on_step(std::move(on_step)); }

 private:
  engine::Engine& engine_;
  quality::QualityWork* const work_;
};

}  // namespace infer::bench
