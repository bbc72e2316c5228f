// Which level each page of a sequence should have: as little expected error as a byte limit allows.
//
// First each page's level by its importance and the memory pressure (spec: importance >= L1 keeps 16 bits, pressure
// > 0.6 and importance < L2 means 4, pressure > 0.8 and importance < L3 means out of memory, else 8). Then, while that
// takes more bytes than the limit, the step down that costs the least error for its bytes; steps that importance speaks
// against (to 4 bits at or above L2, out of memory at or above L3) come last. A limit of loss goes before the limit of
// bytes, but not before the hard one. What a page has weighs a little more than what it could have, so that small
// changes of attention move nothing.
// Thread safety: pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kv/level_policy.h"

namespace infer::kv {

inline constexpr double kPriceHysteresis = 1.3;        // A step that was not taken yet seems dearer by this,
inline constexpr double kImportanceHysteresis = 0.05;  // and a level must be missed by this to be left.

// One page of one layer.
struct PageChoice {
  Level level = Level::k16;    // Now.
  Level highest = Level::k16;  // What it can have again.
  Level lowest = Level::k4;    // What it may have: its layer's floor, or kEvicted.
  float importance = 0;
  std::array<float, kLevelCount> loss{};  // Expected loss at each level; does not fall towards lower ones.
  Level wanted = Level::k16;              // The answer.
};

struct LevelLimits {
  std::array<uint64_t, kLevelCount> page_bytes{};
  uint64_t bytes = 0;       // What the pages together should take at most,
  uint64_t hard_bytes = 0;  // and must not exceed, if it can be helped.
  double loss = 0;          // What all losses together should be at most; infinity where there is no limit.
  double pressure = 0;      // 0..1
  LevelThresholds thresholds{};
};

struct LevelTotals {
  uint64_t bytes = 0;
  double loss = 0;
};

// The level that importance and pressure mean.
Level level_by_importance(double importance, double pressure, const LevelThresholds& thresholds);

class LevelChooser {
 public:
  // Room for `pages` is allocated here, and no more later.
  explicit LevelChooser(size_t pages);
  // Fills in `wanted`. At most as many pages as there is room for.
  LevelTotals choose(std::span<PageChoice> pages, const LevelLimits& limits);

 private:
  // One page one level down.
  struct Step {
    double price;  // Error for a byte; not less than that of the page's step before.
    uint32_t page;
    Level to;
    bool against;  // Importance speaks against it, or against a step before.
  };
  void list_steps(uint32_t index, const PageChoice& page, const LevelLimits& limits);

  std::vector<Step> steps_;
};

}  // namespace infer::kv
