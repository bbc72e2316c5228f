// Decides what the next step computes. Pure: the same state, limits and time give the same plan.
//
// Continuous batching: each running answer gets its next token in every step, and what is left of the step goes to
// prompts, cut into chunks that keep the step as short as EngineLimits::step_target. Of several prompts the first in
// rank gets at least half of that, the shortest the rest, so that a long prompt neither starves nor blocks others. Rank
// is priority, risen with waiting, then age.
//
// Requests get pages while there is room: when pages run out, the last in rank gives its pages up and waits again; its
// tokens are kept, and its pages stay in the prefix index while nobody needs them. A request whose reader does not keep
// up is left alone, and gives its place to one that waits.
//
// A step may compute drafted tokens too, as far as pages, rows and limits allow. Prompts beside them get that many
// tokens less, by a quarter at most; nobody else gives anything up for them.
//
// A request whose limit would pass before the step ends is left out of it where others would lose by it: its limit then
// ends it without the step being abandoned.
// Plain values and pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/time.h"
#include "engine/engine_limits.h"
#include "engine/request.h"
#include "engine/step_cost.h"

namespace infer::engine {

// One request, as the plan sees it.
struct SequenceView {
  bool running = false;  // Has pages, or may take some.
  bool over = false;     // A limit has passed or it was cancelled: it only has to be ended.
  bool held = false;     // Its reader has to catch up first, or its grammar with the logits.
  bool suspect = false;  // The last step that it was in failed: it runs alone.
  Priority priority = Priority::kNormal;
  Instant submitted{};
  Instant stop_at = Instant::never();  // Its earliest limit.
  int cached_tokens = 0;               // In its pages; for a waiting one, those that it would take over.
  int due_tokens = 0;                  // Known and not in its pages: at least 1, unless it is held.
  int64_t pages_held = 0;
  int draft_tokens = 0;      // Of an answer: more that it would like to have computed, if there is room.
  bool copies_page = false;  // The page that it is in is shared: whoever writes into it gets a copy.
  // With all due tokens computed; of a waiting one, without those that it would share with running ones.
  int64_t pages_wanted = 0;
  int64_t pages_reused = 0;  // Of a waiting one's: those available ones that it would take over.
};

struct EngineState {
  std::vector<SequenceView> sequences{};
  int64_t pages_available = 0;  // Free, or only in the prefix index.
  int layers = 1;               // Pages that 64 more tokens take.
  CostLine cost{};
  int abandoned = 0;      // Steps in a row that were abandoned because a limit passed: the next is shorter.
  int logits_max = 1;     // Rows of a step.
  Duration draft_time{};  // What the draft model takes before the step, if the step has its drafts.
  int shortfall = 0;      // Steps in a row that lacked pages although they were planned with enough.
};

struct PlannedSlice {
  size_t sequence;
  int tokens;      // Due ones,
  int drafts = 0;  // and drafted ones behind them.
};

// Indices are those of EngineState::sequences.
struct StepPlan {
  std::vector<size_t> ends;
  std::vector<size_t> parks;   // Running ones that give their pages up and wait again.
  std::vector<size_t> admits;  // Waiting ones that run from now on.
  std::vector<PlannedSlice> slices;
  Instant stop_at = Instant::never();  // The earliest limit of the slices.
  Instant look_at = Instant::never();  // The earliest limit of all.
};

StepPlan plan_step(const EngineState& state, const EngineLimits& limits, Instant now);

}  // namespace infer::engine
