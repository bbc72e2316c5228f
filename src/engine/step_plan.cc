#include "engine/step_plan.h"

#include <algorithm>

#include "base/merge_sort.h"
#include "kv/sequence_cache.h"

namespace infer::engine {

namespace {

// Of the tokens that prompts may have in a step, so many parts are one of drafts at most.
constexpr int kDraftPart = 4;

class Planner {
 public:
  Planner(const EngineState& state, const EngineLimits& limits, Instant now)
      : state_(state), limits_(limits), now_(now), pages_(state.pages_available) {}

  StepPlan plan() {
    sort_out();
    park_for_answers();
    admit();
    fill();
    // Prompts that hold all pages and lack more would wait for each other.
    while (plan_.slices.empty() && running_.size() > 1 && any_ready()) {
      park(running_.size() - 1);
      fill();
    }
    return std::move(plan_);
  }

 private:
  struct Ranked {
    int priority;
    Instant submitted;
    size_t index;
    bool operator<(const Ranked& other) const {
      if (priority != other.priority) return priority < other.priority;
      return submitted != other.submitted ? submitted < other.submitted : index < other.index;
    }
  };

  const SequenceView& view(size_t index) const { return state_.sequences[index]; }
  static bool is_answering(const SequenceView& view) { return view.due_tokens == 1; }
  Ranked rank(size_t index) const {
    const int64_t risen = (now_ - view(index).submitted).ns() / limits_.aging.ns();
    const auto priority = static_cast<int64_t>(view(index).priority);
    return {static_cast<int>(std::max<int64_t>(0, priority - risen)), view(index).submitted, index};
  }
  // Pages that `tokens` more take.
  int64_t pages_for(const SequenceView& view, int tokens) const {
    const int pages = kv::pages_for_tokens(view.cached_tokens + tokens) - kv::pages_for_tokens(view.cached_tokens);
    return int64_t{pages + (view.copies_page ? 1 : 0)} * state_.layers;
  }
  // At most `most` due tokens, as many as the pages left allow.
  int tokens_in_pages(const SequenceView& view, int most) const {
    const int in_last_page = (kv::kPageTokens - view.cached_tokens % kv::kPageTokens) % kv::kPageTokens;
    const int64_t in_pages = std::max<int64_t>(0, pages_) / state_.layers * kv::kPageTokens + in_last_page;
    return static_cast<int>(std::clamp<int64_t>(in_pages, 0, std::min(view.due_tokens, most)));
  }

  bool any_ready() const {
    return std::any_of(running_.begin(), running_.end(), [this](size_t index) { return !view(index).held; });
  }
  void sort_out();
  void park_for_answers();
  void park(size_t position);
  bool park_held_one();
  void admit();
  int64_t pages_promised() const;
  void fill();
  bool fill_with_suspect();
  void leave_out_late_ones(std::vector<size_t>& candidates) const;
  int prompt_budget(const std::vector<size_t>& candidates, size_t answers) const;
  void fill_with_prompts(const std::vector<size_t>& prompts, int budget);
  void add_slice(size_t index, int tokens);
  int add_drafts(int left);
  int rows_for_drafts(size_t answers) const;

  const EngineState& state_;
  const EngineLimits& limits_;
  const Instant now_;
  int64_t pages_;                // Left to hand out.
  std::vector<size_t> running_;  // By rank.
  std::vector<size_t> waiting_;  // By rank.
  StepPlan plan_;
};

void Planner::sort_out() {
  std::vector<Ranked> ranked;
  for (size_t i = 0; i < state_.sequences.size(); ++i) {
    if (view(i).over) {
      plan_.ends.push_back(i);
      pages_ += view(i).pages_held;
    } else {
      ranked.push_back(rank(i));
      plan_.look_at = std::min(plan_.look_at, view(i).stop_at);
    }
  }
  std::sort(ranked.begin(), ranked.end());
  for (const Ranked& each : ranked) (view(each.index).running ? running_ : waiting_).push_back(each.index);
}

void Planner::park(size_t position) {
  const size_t index = running_[position];
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(position));
  if (!view(index).running) {  // Admitted a moment ago.
    std::erase(plan_.admits, index);
    pages_ += view(index).pages_reused;
    return;
  }
  plan_.parks.push_back(index);
  // What others share does not become free; a step that lacks pages for that is planned again (shortfall).
  pages_ += view(index).pages_held;
}

// Of those whose reader is slow, the last in rank.
bool Planner::park_held_one() {
  for (size_t i = running_.size(); i > 0; --i) {
    if (!view(running_[i - 1]).held) continue;
    park(i - 1);
    return true;
  }
  return false;
}

// The next token of each answer must have its page, whoever has to go for it: all but the first in rank.
void Planner::park_for_answers() {
  int more = state_.shortfall;
  while (running_.size() > 1) {
    int64_t needed = 0;
    for (const size_t index : running_) {
      if (!view(index).held) needed += pages_for(view(index), 1);
    }
    if (needed <= pages_ && more-- <= 0) return;
    if (!park_held_one()) park(running_.size() - 1);
  }
}

// Pages that running requests will take for tokens that are known, and one more column each to go on with.
int64_t Planner::pages_promised() const {
  int64_t promised = 0;
  for (const size_t index : running_) {
    const int64_t held = view(index).running ? view(index).pages_held : view(index).pages_reused;
    promised += std::max<int64_t>(0, view(index).pages_wanted - held) + state_.layers;
  }
  return promised;
}

void Planner::admit() {
  for (const size_t index : waiting_) {
    if (view(index).held) continue;
    // While pages lack for those that run, nobody joins them; when all of them have ended meanwhile, one may begin.
    if (state_.shortfall > 0 && !running_.empty()) return;
    const auto fits = [&] {
      if (running_.empty()) return true;  // Alone it has to do with what there is.
      return running_.size() < static_cast<size_t>(limits_.running_max) &&
             pages_promised() + view(index).pages_wanted <= pages_;
    };
    while (!fits() && park_held_one()) {
    }
    if (!fits()) return;  // Nobody overtakes: a large request would wait for ever.
    plan_.admits.push_back(index);
    running_.push_back(index);
    pages_ -= view(index).pages_reused;
  }
}

void Planner::fill() {
  if (fill_with_suspect()) return;
  std::vector<size_t> candidates;
  for (const size_t index : running_) {
    if (!view(index).held) candidates.push_back(index);
  }
  leave_out_late_ones(candidates);
  std::vector<size_t> prompts;
  for (const size_t index : candidates) {
    if (!is_answering(view(index))) {
      prompts.push_back(index);
    } else if (pages_for(view(index), 1) <= pages_) {
      add_slice(index, 1);
    }
  }
  const size_t answers = plan_.slices.size();
  if (prompts.empty()) {
    add_drafts(rows_for_drafts(answers));
    return;
  }
  const int budget = prompt_budget(candidates, answers);
  // Each answer and each prompt wants a row of logits. Of the prompts' tokens drafts get a part.
  const int rows = state_.logits_max - static_cast<int>(candidates.size());
  const bool in_time = plan_.stop_at - now_ > limits_.step_target + state_.draft_time;
  const int drafts = in_time ? add_drafts(std::min(rows, budget / kDraftPart)) : 0;
  fill_with_prompts(prompts, budget - drafts);
}

// In a step of nothing but answers.
int Planner::rows_for_drafts(size_t answers) const {
  // Where a step of one token each takes long already, twice that: its answers gain by it.
  const Duration bare = state_.cost.time(static_cast<double>(answers));
  const Duration longest = std::max(limits_.step_target, bare + bare);
  const Duration time = std::min(longest, plan_.stop_at - now_) - state_.draft_time;
  const int in_time = state_.cost.tokens_within(time, limits_.tokens_per_step);
  return std::min({state_.logits_max, limits_.tokens_per_step, in_time}) - static_cast<int>(answers);
}

// At most `left`. How many.
int Planner::add_drafts(int left) {
  int added = 0;
  for (PlannedSlice& slice : plan_.slices) {
    const SequenceView& answer = view(slice.sequence);
    int drafts = std::max(0, std::min(answer.draft_tokens, left - added));
    const auto more_pages = [&] { return pages_for(answer, 1 + drafts) - pages_for(answer, 1); };
    while (drafts > 0 && more_pages() > pages_) --drafts;
    pages_ -= more_pages();
    added += drafts;
    slice.drafts = drafts;
  }
  return added;
}

bool Planner::fill_with_suspect() {
  for (const size_t index : running_) {
    if (!view(index).suspect || view(index).held) continue;
    const int tokens = tokens_in_pages(view(index), prompt_budget({index}, 0));
    if (tokens == 0) continue;
    add_slice(index, tokens);
    return true;
  }
  return false;
}

// Those that even the shortest step comes too late for, where there are others.
void Planner::leave_out_late_ones(std::vector<size_t>& candidates) const {
  if (!state_.cost.known()) return;
  const Instant earliest_end = now_ + state_.cost.time(1);
  const auto is_late = [&](size_t index) { return view(index).stop_at < earliest_end; };
  if (std::all_of(candidates.begin(), candidates.end(), is_late)) return;
  std::erase_if(candidates, is_late);
}

// Prompt tokens of a step of these sequences, `answers` of which get their next token.
int Planner::prompt_budget(const std::vector<size_t>& candidates, size_t answers) const {
  const int most = limits_.tokens_per_step - static_cast<int>(answers);
  // The first steps are to teach what a token costs, not to take long.
  if (!state_.cost.known()) return std::clamp(kv::kPageTokens, 1, std::max(1, most));
  // An abandoned step is work lost: each in a row halves the next.
  const Duration target = Duration::from_ns(limits_.step_target.ns() >> std::min(state_.abandoned, 8));
  int tokens = state_.cost.tokens_within(target, limits_.tokens_per_step);
  // So is a step that a limit passes in. A shorter one is done before, unless the fixed part alone is too long.
  for (const size_t index : candidates) {
    const int in_time = state_.cost.tokens_within(view(index).stop_at - now_, limits_.tokens_per_step);
    if (in_time > static_cast<int>(answers)) tokens = std::min(tokens, in_time);
  }
  return std::clamp(std::max(tokens - static_cast<int>(answers), limits_.chunk_min), 1, std::max(1, most));
}

void Planner::fill_with_prompts(const std::vector<size_t>& prompts, int budget) {
  const auto give = [&](size_t index, int most) {
    const int tokens = tokens_in_pages(view(index), most);
    if (tokens > 0) add_slice(index, tokens);
    return tokens;
  };
  std::vector<size_t> others(prompts.begin() + 1, prompts.end());
  merge_sort(others, [this](size_t a, size_t b) { return view(a).due_tokens < view(b).due_tokens; });
  // What the others will not use goes to the first as well.
  int64_t wanted_by_others = 0;
  for (const size_t index : others) wanted_by_others += view(index).due_tokens;
  const int first = static_cast<int>(std::max<int64_t>((budget + 1) / 2, budget - wanted_by_others));
  budget -= give(prompts.front(), first);
  for (const size_t index : others) {
    if (budget <= 0) return;
    budget -= give(index, budget);
  }
}

void Planner::add_slice(size_t index, int tokens) {
  pages_ -= pages_for(view(index), tokens);
  plan_.slices.push_back({.sequence = index, .tokens = tokens});
  plan_.stop_at = std::min(plan_.stop_at, view(index).stop_at);
}

}  // namespace

StepPlan plan_step(const EngineState& state, const EngineLimits& limits, Instant now) {
  return Planner(state, limits, now).plan();
}

}  // namespace infer::engine
