#include "control/preset.h"

#include <algorithm>
#include <array>

#include "base/format.h"

namespace infer::control {

namespace {

constexpr uint64_t kSmallMost = 5'000'000'000, kMediumMost = 10'000'000'000;

constexpr std::array kPresets{
    PresetRow{Preset::kSmall, "small", "models up to 5 billion parameters", 128, kv::LevelThresholds{0.8, 0.6, 0.4},
              std::nullopt, SchedulerMode::kCpuOnly, std::nullopt},
    PresetRow{Preset::kMedium, "medium", "models of 5 to 10 billion parameters", 64, kv::LevelThresholds{0.7, 0.5, 0.3},
              std::nullopt, SchedulerMode::kHybrid, std::nullopt},
    PresetRow{Preset::kLarge, "large", "models above 10 billion parameters", 32, kv::LevelThresholds{0.6, 0.4, 0.2},
              std::nullopt, SchedulerMode::kHybrid, std::nullopt},
    PresetRow{Preset::kChat, "chat", "answers that somebody waits for", 128, std::nullopt, kv::KvMode::kLatency,
              std::nullopt, 0.3},
    PresetRow{Preset::kBatch, "batch", "many texts at once", 32, std::nullopt, kv::KvMode::kThroughput, std::nullopt,
              0.5},
    PresetRow{Preset::kQuality, "quality", "texts where each word counts", 256, std::nullopt, kv::KvMode::kQuality,
              std::nullopt, 0.1},
};

std::string count_text(uint64_t parameters) {
  const auto count = static_cast<double>(parameters);
  return count >= 1e9 ? format("{:.1f} billion", count * 1e-9) : format("{:.1f} million", count * 1e-6);
}

}  // namespace

std::span<const PresetRow> presets() { return kPresets; }

const PresetRow* find_preset(Preset preset) {
  const auto row =
      std::find_if(kPresets.begin(), kPresets.end(), [&](const auto& each) { return each.preset == preset; });
  return row == kPresets.end() ? nullptr : &*row;
}

Preset preset_for_size(uint64_t parameters) {
  if (parameters <= kSmallMost) return Preset::kSmall;
  return parameters <= kMediumMost ? Preset::kMedium : Preset::kLarge;
}

void apply_preset(uint64_t parameters, Policy& policy) {
  const bool by_size = policy.preset == Preset::kAuto && parameters > 0;
  const PresetRow* const row = find_preset(by_size ? preset_for_size(parameters) : policy.preset);
  if (row == nullptr) return;
  policy.kv.recent_window = row->recent_window;
  if (row->thresholds) policy.kv.level_thresholds = *row->thresholds;
  if (row->mode) policy.kv.mode = *row->mode;
  if (row->scheduler) policy.scheduler.mode = *row->scheduler;
  if (row->max_delta_ppl) policy.quality.max_delta_ppl = *row->max_delta_ppl;
}

std::string preset_reason(Preset preset, uint64_t parameters) {
  const bool by_size = preset == Preset::kAuto && parameters > 0;
  const PresetRow* const row = find_preset(by_size ? preset_for_size(parameters) : preset);
  if (row == nullptr) return "no preset";
  const std::string why = format("{}: for {}", row->name, row->for_what);
  return by_size ? format("{}; this one has {}", why, count_text(parameters)) : why;
}

}  // namespace infer::control
