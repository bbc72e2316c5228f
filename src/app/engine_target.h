// The engine as the control agent sees it: policies become levels of the KV cache, what it publishes becomes facts.
//
// Thread safety: the agent's thread. Ownership: borrows the engine and its work.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "control/agent.h"
#include "engine/engine.h"
#include "kv/level_policy.h"
#include "quality/quality_work.h"

namespace infer::app {

class EngineTarget final : public control::AgentTarget {
 public:
  // `cache` has what no policy says: sinks, weights, limits.
  EngineTarget(engine::Engine& engine, const kv::LevelPolicy& cache, std::string model,
               quality::QualityWork* work = nullptr, const control::Capabilities& capabilities = {})
      : engine_(engine), cache_(cache), model_(std::move(model)), work_(work), capabilities_(capabilities) {}

  Status apply(const control::Policy& policy) override;
  Status compare_with(const std::optional<control::Policy>& other) override;
  telemetry::EngineFacts facts() const override;
  engine::EngineSnapshot snapshot() const override { return engine_.snapshot(); }
  control::Capabilities capabilities() const override { return capabilities_; }
  quality::QualityWork* quality_work() override { return work_; }
  void wake() override { engine_.wake(); }
  void set_on_step(std::function<void(Instant now)> on_step) override { engine_.set_on_step(std::move(on_step)); }

 private:
  engine::Engine& engine_;
  const kv::LevelPolicy cache_;
  const std::string model_;
  quality::QualityWork* const work_;
  const control::Capabilities capabilities_;
  kv::LevelPolicy levels_{};  // In effect.
};

}  // namespace infer::app
