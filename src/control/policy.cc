#include "control/policy.h"

#include <algorithm>

namespace infer::control {

Policy baseline_of(const Policy& policy) {
  Policy baseline = policy;
  baseline.kv.mode = kv::KvMode::kF16;
  baseline.io.enable_iobinding = false;
  baseline.speculate = false;
  baseline.memory_pressure = 0;
  baseline.scheduler = {SchedulerMode::kCpuOnly, Device::kCpu, Device::kCpu};
  return baseline;
}

kv::LevelPolicy level_policy(const Policy& policy, const kv::LevelPolicy& cache) {
  kv::LevelPolicy levels = cache;
  levels.mode = policy.kv.mode;
  levels.recent_window = policy.kv.recent_window;
  levels.thresholds = policy.kv.level_thresholds;
  levels.pressure = std::max(levels.pressure, policy.memory_pressure);
  return levels;
}

}  // namespace infer::control
