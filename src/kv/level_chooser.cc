#include "kv/level_chooser.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace infer::kv {

namespace {

size_t index_of(Level level) { return static_cast<size_t>(level); }
Level below(Level level) { return static_cast<Level>(static_cast<int>(level) + 1); }
Level within(Level level, const PageChoice& page) { return std::clamp(level, page.highest, page.lowest); }

// Importance and pressure's level, unless the page's own is nearly as good.
Level steady_level(const PageChoice& page, const LevelLimits& limits) {
  const auto importance = static_cast<double>(page.importance);
  const auto level = [&](double shift) {
    return within(level_by_importance(importance + shift, limits.pressure, limits.thresholds), page);
  };
  const Level plain = level(0);
  if (plain == page.level) return plain;
  const Level kept = level(plain > page.level ? kImportanceHysteresis : -kImportanceHysteresis);
  return kept == page.level ? kept : plain;
}

double price_of(const PageChoice& page, Level to, const LevelLimits& limits) {
  const Level from = static_cast<Level>(static_cast<int>(to) - 1);
  const double loss = static_cast<double>(page.loss[index_of(to)]) - static_cast<double>(page.loss[index_of(from)]);
  const uint64_t upper = limits.page_bytes[index_of(from)], lower = limits.page_bytes[index_of(to)];
  INFER_DCHECK(upper > lower);
  return std::max(0.0, loss) / static_cast<double>(upper - lower) * (to > page.level ? kPriceHysteresis : 1.0);
}

bool is_against(const PageChoice& page, Level to, const LevelThresholds& thresholds) {
  const auto importance = static_cast<double>(page.importance);
  return to == Level::k4 ? importance >= thresholds.l2_int4
                         : to == Level::kEvicted && importance >= thresholds.l3_evict;
}

}  // namespace

Level level_by_importance(double importance, double pressure, const LevelThresholds& thresholds) {
  if (pressure > 0.8 && importance < thresholds.l3_evict) return Level::kEvicted;
  if (pressure > 0.6 && importance < thresholds.l2_int4) return Level::k4;
  if (importance < thresholds.l1_int8) return Level::k8;
  return Level::k16;
}

LevelChooser::LevelChooser(size_t pages) { steps_.reserve(pages * (kLevelCount - 1)); }

void LevelChooser::list_steps(uint32_t index, const PageChoice& page, const LevelLimits& limits) {
  Step step{.price = 0, .page = index, .to = page.wanted, .against = false};
  while (step.to < page.lowest) {
    step.to = below(step.to);
    step.price = std::max(step.price, price_of(page, step.to, limits));
    step.against = step.against || is_against(page, step.to, limits.thresholds);
    steps_.push_back(step);
  }
}

LevelTotals LevelChooser::choose(std::span<PageChoice> pages, const LevelLimits& limits) {
  INFER_CHECK(pages.size() * (kLevelCount - 1) <= steps_.capacity());
  LevelTotals totals;
  steps_.clear();
  for (size_t i = 0; i < pages.size(); ++i) {
    PageChoice& page = pages[i];
    page.wanted = steady_level(page, limits);
    totals.bytes += limits.page_bytes[index_of(page.wanted)];
    totals.loss += static_cast<double>(page.loss[index_of(page.wanted)]);
    list_steps(static_cast<uint32_t>(i), page, limits);
  }
  if (totals.bytes <= limits.bytes) return totals;
  std::sort(steps_.begin(), steps_.end(), [](const Step& a, const Step& b) {
    return std::tuple(a.against, a.price, a.page, a.to) < std::tuple(b.against, b.price, b.page, b.to);
  });
  for (const Step& step : steps_) {
    PageChoice& page = pages[step.page];
    const size_t from = index_of(page.wanted), to = index_of(step.to);
    if (totals.bytes <= limits.bytes) break;
    if (from + 1 != to) continue;  // The step before it was refused.
    const double more = static_cast<double>(page.loss[to]) - static_cast<double>(page.loss[from]);
    if (totals.loss + more > limits.loss && totals.bytes <= limits.hard_bytes) continue;
    page.wanted = step.to;
    totals.loss += more;
    totals.bytes -= limits.page_bytes[from] - limits.page_bytes[to];
  }
  return totals;
}

}  // namespace infer::kv
