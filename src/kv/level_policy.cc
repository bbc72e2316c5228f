#include "kv/level_policy.h"

#include <array>
#include <utility>

#include "kernels/kernel_table.h"

namespace infer::kv {

namespace {

constexpr std::array<std::pair<std::string_view, KvMode>, 3> kModes{
    {{"f16", KvMode::kF16}, {"q8", KvMode::kQ8}, {"q4", KvMode::kQ4}}};

}  // namespace

std::string_view mode_name(KvMode mode) {
  for (const auto& [name, each] : kModes) {
    if (each == mode) return name;
  }
  return "?";
}

std::optional<KvMode> mode_from_name(std::string_view name) {
  for (const auto& [each, mode] : kModes) {
    if (each == name) return mode;
  }
  return std::nullopt;
}

Level wanted_level(const LevelPolicy& policy, int page_index, int length) {
  const int begin = page_index * kernels::kPageTokens, end = begin + kernels::kPageTokens;
  if (begin < policy.sink_tokens || end > length - policy.recent_window) return Level::k16;
  switch (policy.mode) {
    case KvMode::kF16: return Level::k16;
    case KvMode::kQ8: return Level::k8;
    case KvMode::kQ4: return Level::k4;
  }
  return Level::k16;
}

}  // namespace infer::kv
