// The last third of a step: what it computed becomes tokens, embeddings and likelihoods of its requests.
#include <algorithm>
#include <utility>

#include "engine/step_loop.h"

namespace infer::engine {

namespace {

// For a grammar's tokens right behind a step: a hundred times what those of plain ones take.
constexpr Duration kFirstChoice = Duration::from_ms(10);
// A reader may take the engine's processor as soon as it is woken. So all are told at once, but none waits for longer
// than that while tokens of other answers are chosen.
constexpr Duration kTellWithin = Duration::from_ns(300'000);

}  // namespace

// With many answers at once those of one say enough, and cost the others nothing. -1: there are none.
int StepLoop::measured_slice(const StepPlan& plan) {
  const auto answers = [&](size_t i) {
    return slices_[i].logits_end > slices_[i].logits_begin && !requests_[plan.slices[i].sequence]->wants_embedding();
  };
  size_t count = 0;
  for (size_t i = 0; i < plan.slices.size(); ++i) count += answers(i) ? 1 : 0;
  if (count == 0) return -1;
  size_t left = measured_turn_++ % count, slice = 0;
  while (!answers(slice) || left-- > 0) ++slice;
  return static_cast<int>(slice);
}

void StepLoop::commit(const StepPlan& plan) {
  const int judged = measured_slice(plan);
  measures_ = judged >= 0 && likelihood_share_.next(Duration::from_seconds(step_.seconds), waiting() > 0);
  Instant told = clock_.now();
  int row = 0;
  for (size_t i = 0; i < plan.slices.size(); ++i) {
    const model::SequenceSlice& slice = slices_[i];
    ActiveRequest& active = *requests_[plan.slices[i].sequence];
    const int computed = static_cast<int>(slice.tokens.size());
    if (active.wants_embedding()) {
      commit_embedding(active, computed);
      continue;
    }
    const int rows = slice.logits_end - slice.logits_begin;
    judges_ = static_cast<int>(i) == judged;
    commit_answer(plan.slices[i], computed, rows > 0 ? row : -1);
    row += rows;
    if (const Instant now = clock_.now(); now - told >= kTellWithin) {
      announce_answers();
      told = now;
    }
  }
  announce_answers();
}

void StepLoop::announce_answers() {
  for (const auto& active : requests_) active->announce();
}

void StepLoop::commit_embedding(ActiveRequest& active, int computed) {
  if (active.ended()) return;
  active.computed(computed, static_cast<int>(active.tokens().size()), index_);
  if (active.due_tokens() > 0) return;
  active.take_embedding();
  end(active, {.reason = FinishReason::kStop}, std::nullopt, clock_.now());
}

// first_row: of its logits; -1: none.
void StepLoop::commit_answer(const PlannedSlice& slice, int computed, int first_row) {
  ActiveRequest& active = *requests_[slice.sequence];
  if (active.ended()) return;
  std::optional<Outcome> outcome;
  int valid = static_cast<int>(active.tokens().size());
  if (first_row >= 0) {
    const bool is_shared = active.group() && !active.group()->prompt_computed;
    if (is_shared) share_prompt(active, runner_.logits(first_row));
    int accepted = 0;
    while (true) {
      const size_t before = active.tokens().size();
      outcome = choose(active, runner_.logits(first_row + accepted), kFirstChoice);
      const bool chosen = active.tokens().size() > before;
      if (accepted == slice.drafts || !chosen || !active.draft_agrees(accepted)) break;
      ++accepted;
      if (outcome) break;
    }
    note_drafts(active, slice.drafts, accepted);
    valid += accepted;
  }
  active.computed(computed, valid, index_);
  end_as(active, std::move(outcome));
}

void StepLoop::share_prompt(ActiveRequest& leader, std::span<const float> logits) {
  leader.group()->prompt_computed = true;
  auto places = limits_.running_max -
                std::count_if(requests_.begin(), requests_.end(), [](const auto& each) { return each->running(); });
  for (const auto& other : requests_) {
    if (other->group() != leader.group() || other.get() == &leader || other->ended()) continue;
    if (places-- <= 0) return;
    other->start_from(leader, clock_.now());
    end_as(*other, choose(*other, logits, kFirstChoice));
  }
}

std::optional<StepLoop::Outcome> StepLoop::choose(ActiveRequest& active, std::optional<std::span<const float>> logits,
                                                  Duration time) {
  // Others wait while a grammar is looked at, so nobody's limit may pass.
  const bool looks = active.request().options.grammar != nullptr;
  const Instant until = looks ? std::min(clock_.now() + time, earliest_limit()) : Instant::never();
  const CallContext call{clock_, Deadline::at(until), active.cancel_token()};
  const int before = active.result().generated_tokens;
  Result<std::optional<FinishReason>> chosen =
      logits ? active.choose_token(*logits, call) : active.choose_open_token(call);
  const int generated = active.result().generated_tokens - before;
  snapshot_.counters.generated_tokens += static_cast<uint64_t>(generated);
  if (generated == 1 && logits && judges_) {
    ++snapshot_.counters.judged_tokens;
    if (measures_) note_nll(active, *logits);
  }
  if (!chosen) return Outcome{{.reason = FinishReason::kFailed}, std::move(chosen).error()};
  if (*chosen) return Outcome{{.reason = **chosen}, std::nullopt};
  return std::nullopt;
}

void StepLoop::end_as(ActiveRequest& active, std::optional<Outcome> outcome) {
  if (outcome) end(active, outcome->ending, std::move(outcome->error), clock_.now());
}

void StepLoop::note_nll(ActiveRequest& active, std::span<const float> logits) {
  const Instant start = clock_.now();
  logits = logits.first(static_cast<size_t>(tokenizer_.vocabulary_size()));  // The rest has no text.
  const auto token = static_cast<size_t>(active.tokens().back());
  const double nll = runner_.log_sum_exp(logits) - static_cast<double>(logits[token]);
  active.note_nll(nll, logits);
  snapshot_.counters.nll += nll;
  ++snapshot_.counters.nll_tokens;
  likelihood_share_.observe(clock_.now() - start);
}

size_t StepLoop::waiting() const {
  const auto waits = [](const auto& active) { return !active->running() && !active->ended(); };
  return static_cast<size_t>(std::count_if(requests_.begin(), requests_.end(), waits));
}

void StepLoop::choose_open_tokens() {
  Duration left = limits_.step_target;
  for (const auto& active : requests_) {
    if (active->ended() || !active->choosing() || active->ending(clock_.now())) continue;
    if (left.ns() <= 0) return;
    const Instant start = clock_.now();
    heartbeat_.beat(start);
    const Duration time = std::min(left, active->choice_time(kFirstChoice, limits_.step_target));
    end_as(*active, choose(*active, std::nullopt, time));
    left = left - (clock_.now() - start);
    active->announce();
  }
}

}  // namespace infer::engine
