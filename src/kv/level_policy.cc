#include "kv/level_policy.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "kernels/kernel_table.h"

namespace infer::kv {

namespace {

struct ModeTraits {
  KvMode mode;
  std::string_view name;
  // Of the tiered modes: of F16, behind the window. A page of 4 bits takes 27.7 % at a head dimension of 64, one of 8
  // bits 54.3 %; the rest is for pages that get more attention than others.
  double byte_share;
  bool may_evict;
};

constexpr std::array<ModeTraits, 7> kModes{{
    {KvMode::kF16, "f16", 1.0, false},
    {KvMode::kQ8, "q8", 1.0, false},
    {KvMode::kQ4, "q4", 1.0, false},
    {KvMode::kDynamic, "dynamic", 0.285, false},
    {KvMode::kLatency, "latency_optimized", 0.28, false},
    {KvMode::kThroughput, "throughput_optimized", 0.16, true},
    {KvMode::kQuality, "quality_optimized", 0.50, false},
}};

const ModeTraits& traits(KvMode mode) {
  for (const ModeTraits& each : kModes) {
    if (each.mode == mode) return each;
  }
  INFER_CHECK(false);
}

}  // namespace

std::string_view mode_name(KvMode mode) { return traits(mode).name; }

std::optional<KvMode> mode_from_name(std::string_view name) {
  if (name == "tiered") return KvMode::kDynamic;
  if (name == "disabled") return KvMode::kF16;
  for (const ModeTraits& each : kModes) {
    if (each.name == name) return each.mode;
  }
  return std::nullopt;
}

bool is_tiered(KvMode mode) { return mode != KvMode::kF16 && mode != KvMode::kQ8 && mode != KvMode::kQ4; }

bool apply_preset(std::string_view name, LevelPolicy& policy) {
  struct Preset {
    std::string_view name;
    KvMode mode;
    int recent_window;
  };
  constexpr std::array<Preset, 3> kPresets{
      {{"safe", KvMode::kQuality, 256}, {"balanced", KvMode::kDynamic, 64}, {"aggressive", KvMode::kThroughput, 32}}};
  for (const Preset& preset : kPresets) {
    if (preset.name != name) continue;
    policy.mode = preset.mode;
    policy.recent_window = preset.recent_window;
    return true;
  }
  return false;
}

double byte_share(const LevelPolicy& policy) {
  return policy.byte_share > 0 ? policy.byte_share : traits(policy.mode).byte_share;
}

bool may_evict(const LevelPolicy& policy) {
  return is_tiered(policy.mode) && (policy.may_evict || traits(policy.mode).may_evict);
}

namespace {

// Of a page behind the window, on average.
double lowered_bytes(const LevelPolicy& policy, const PageShape& shape) {
  const auto full = static_cast<double>(shape.page_bytes(Level::k16));
  if (!is_tiered(policy.mode)) return static_cast<double>(shape.page_bytes(fixed_level(policy.mode)));
  if (policy.loss_limit) return full;
  // Without a disk nothing is below 4 bits.
  return std::clamp(byte_share(policy) * static_cast<double>(shape.page_bytes_f16()),
                    static_cast<double>(shape.page_bytes(Level::k4)), full);
}

}  // namespace

uint64_t layer_bytes_max(const LevelPolicy& policy, const PageShape& shape, int pages, int step) {
  const uint64_t full = shape.page_bytes(Level::k16);
  if (policy.mode == KvMode::kF16) return full * static_cast<uint64_t>(pages);
  const int stepped = std::min(pages, pages_for_tokens(step) + 1);
  const int pinned =
      std::min(pages - stepped, pages_for_tokens(policy.recent_window) + 1 + pages_for_tokens(policy.sink_tokens));
  const double lowered = lowered_bytes(policy, shape) * static_cast<double>(pages - stepped - pinned);
  return static_cast<uint64_t>(lowered) + full * static_cast<uint64_t>(pinned + stepped) +
         shape.page_bytes(Level::k8) * static_cast<uint64_t>(stepped);
}

bool is_pinned(const LevelPolicy& policy, int page_index, int length) {
  const int begin = page_index * kernels::kPageTokens, end = begin + kernels::kPageTokens;
  return begin < policy.sink_tokens || end > length - policy.recent_window;
}

Level fixed_level(KvMode mode) {
  INFER_CHECK(!is_tiered(mode));
  return mode == KvMode::kQ4 ? Level::k4 : mode == KvMode::kQ8 ? Level::k8 : Level::k16;
}

Level usual_level(const LevelPolicy& policy, const PageShape& shape) {
  if (!is_tiered(policy.mode)) return fixed_level(policy.mode);
  const double bytes = byte_share(policy) * static_cast<double>(shape.page_bytes_f16());
  const auto halfway = [&shape](Level upper, Level lower) {
    return 0.5 * static_cast<double>(shape.page_bytes(upper) + shape.page_bytes(lower));
  };
  if (bytes >= halfway(Level::k8, Level::k4)) return Level::k8;
  return may_evict(policy) && bytes < halfway(Level::k4, Level::kEvicted) ? Level::kEvicted : Level::k4;
}

}  // namespace infer::kv
