// Policies by name: by the size of the model and by what it is used for.
//
// A preset sets what it names of a policy and leaves the rest. Those by size go by the number of parameters (up to 5
// billion, up to 10, above); `auto` is the one of the model's size.
// Thread safety: constant data and pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "control/policy.h"

namespace infer::control {

struct PresetRow {
  Preset preset;
  std::string_view name;
  std::string_view for_what;
  int recent_window;
  std::optional<kv::LevelThresholds> thresholds;
  std::optional<kv::KvMode> mode;
  std::optional<SchedulerMode> scheduler;
  std::optional<double> max_delta_ppl;
};

// All but none and auto.
std::span<const PresetRow> presets();
// Null for none and auto.
const PresetRow* find_preset(Preset preset);
Preset preset_for_size(uint64_t parameters);

// Sets what the preset that the policy names sets. parameters: of the model, for auto; 0: unknown, then auto sets
// nothing.
void apply_preset(uint64_t parameters, Policy& policy);

// Why: "small: models up to 5 billion parameters, this one has 4.2 million".
std::string preset_reason(Preset preset, uint64_t parameters);

}  // namespace infer::control
