// What the control agent may be told about how to trade speed, memory and quality.
//
// A policy that came through control/settings.h keeps the ranges named here; level thresholds never increase from L1 to
// L3. The parts about devices say what is wished: what a machine does not have is done by the processor.
// Thread safety: plain values and pure functions.
#pragma once

#include <cstdint>

#include "kv/level_policy.h"

namespace infer::control {

struct KvPolicy {
  kv::KvMode mode = kv::KvMode::kDynamic;  // kF16 is "disabled" to the API.
  int recent_window = 64;                  // 16..512 tokens
  kv::LevelThresholds level_thresholds{};  // Each 0..1
};

struct IoPolicy {
  bool enable_iobinding = true;
  uint64_t dml_pool_bytes = uint64_t{2} << 30;   // At least 1 GiB
  uint64_t host_pool_bytes = uint64_t{4} << 30;  // At least 1 GiB
};

enum class SchedulerMode : uint8_t { kHybrid, kGpuOnly, kNpuOnly, kCpuOnly };
enum class Device : uint8_t { kDml, kNpu, kCpu };

struct SchedulerPolicy {
  SchedulerMode mode = SchedulerMode::kHybrid;
  Device prefill_device = Device::kDml;
  Device decode_device = Device::kNpu;
};

struct QualityPolicy {
  double max_delta_ppl = 0.5;    // 0..2, over the perplexity of the 16-bit cache
  double min_accept_rate = 0.5;  // 0..1, of speculated tokens
};

// Where a policy begins (control/preset.h).
enum class Preset : uint8_t { kNone, kAuto, kSmall, kMedium, kLarge, kChat, kBatch, kQuality };

struct Policy {
  Preset preset = Preset::kNone;
  KvPolicy kv;
  IoPolicy io;
  SchedulerPolicy scheduler;
  QualityPolicy quality;
  // No settings of their own: what the agent decides.
  bool speculate = true;       // Off in baseline mode.
  double memory_pressure = 0;  // 0..1, told to the KV cache (kv::LevelPolicy::pressure).
  double running_share = 1;    // 0..1 of the requests that may be computed at the same time.
};

// All optimization off: 16 bits everywhere, one device. The rest is taken over from `policy`.
Policy baseline_of(const Policy& policy);

// How a KV cache follows the policy. What a policy does not say (sinks, weights, limits, pressure) is the cache's own,
// in `cache`.
kv::LevelPolicy level_policy(const Policy& policy, const kv::LevelPolicy& cache);

}  // namespace infer::control
