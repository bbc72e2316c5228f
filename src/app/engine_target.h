// The engine as the control agent sees it: policies become levels of the KV cache, what it publishes becomes facts.
//
// Thread safety: the agent's thread. Ownership: borrows the engine.
#pragma once

#include <string>

#include "control/agent.h"
#include "engine/engine.h"
#include "kv/level_policy.h"

namespace infer::app {

class EngineTarget final : public control::AgentTarget {
 public:
  // `cache` has what no policy says: sinks, weights, limits.
  EngineTarget(engine::Engine& engine, const kv::LevelPolicy& cache, std::string model)
      : engine_(engine), cache_(cache), model_(std::move(model)) {}

  Status apply(const control::Policy& policy) override;
  telemetry::EngineFacts facts() const override;

 private:
  engine::Engine& engine_;
  const kv::LevelPolicy cache_;
  const std::string model_;
};

}  // namespace infer::app
