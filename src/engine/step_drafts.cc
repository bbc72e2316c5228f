// Drafts of a step: who guesses how answers go on, and how many tokens of it the step verifies.
#include <algorithm>

#include "engine/step_loop.h"

namespace infer::engine {

namespace {

// Reading a text for the draft model holds up all answers: for this part of a step's target at most.
constexpr int64_t kReadingPart = 4;

bool is_stop(const Status& status) {
  return !status && (status.error().code == ErrorCode::kDeadline || status.error().code == ErrorCode::kCancelled);
}

}  // namespace

SpeculationLimits StepLoop::speculation_limits() const {
  SpeculationLimits limits = limits_.speculation;
  limits.enabled = speculates_.load(std::memory_order_relaxed);
  limits.min_accept_rate = min_accept_rate_.load(std::memory_order_relaxed);
  return limits;
}

void StepLoop::set_speculation(bool enabled, float min_accept_rate) {
  speculates_.store(enabled, std::memory_order_relaxed);
  min_accept_rate_.store(min_accept_rate, std::memory_order_relaxed);
}

// Of one answer that the draft model cannot guess on yet, a portion.
void StepLoop::read_for_drafts() {
  const SpeculationLimits limits = speculation_limits();
  if (!draft_model_ || !limits.enabled || limits.draft_max == 0 || !row_cost_.known()) return;
  const Duration time = Duration::from_ns(limits_.step_target.ns() / kReadingPart);
  for (size_t i = 0; i < requests_.size(); ++i) {  // More come in while a text is read.
    ActiveRequest& active = *requests_[i];
    const bool answers = active.running() && !active.ended() && active.due_tokens() == 1 && !active.choosing();
    if (!answers || !active.wants_drafts(limits) || active.drafts_max() == 0) continue;
    active.in_step = true;
    const Result<bool> read = draft_model_->read(active.draft_sequence(), active.tokens(), time, *this);
    active.in_step = false;
    if (!read || *read) return;
  }
}

// What the next step takes by its rows of answers: beside a prompt the time that it is to take, or less where there is
// not so much of the prompt left.
RowCost StepLoop::mixed_cost(int answers, int64_t prompt_tokens) const {
  const Duration whole = state_.cost.time(static_cast<double>(prompt_tokens + answers));
  RowCost cost;
  cost.observe(answers, std::min(limits_.step_target, whole));
  cost.set_slope(state_.cost.per_token);
  return cost;
}

// Of the answers that will get their next token.
void StepLoop::propose_drafts() {
  const SpeculationLimits limits = speculation_limits();
  const DraftModel* const model = draft_model_ && draft_model_->usable() ? &*draft_model_ : nullptr;
  row_cost_.set_slope(state_.cost.per_token);
  state_.draft_time = {};
  StepRows step;
  int64_t prompt_tokens = 0;
  for (const SequenceView& view : state_.sequences) {
    if (!view.running || view.held || view.over) continue;
    step.rows += view.due_tokens == 1 ? 1 : 0;
    prompt_tokens += view.due_tokens > 1 ? view.due_tokens : 0;
  }
  if (step.rows == 0 || step.rows >= state_.logits_max || !row_cost_.known()) return;
  const RowCost mixed = mixed_cost(step.rows, prompt_tokens);
  const RowCost& step_cost = prompt_tokens > 0 ? mixed : row_cost_;
  const DraftCosts costs{step_cost, model ? &model->pass_cost() : nullptr};
  const int answers = step.rows;
  step.expected = answers;
  for (size_t i = 0; i < state_.sequences.size(); ++i) {
    SequenceView& view = state_.sequences[i];
    if (!view.running || view.held || view.over || view.suspect || view.due_tokens != 1) continue;
    view.draft_tokens = requests_[i]->propose_draft(limits, costs, model, step);
  }
  if (step.drafting == 0) return;
  state_.draft_time = Duration::from_seconds(step.drafting);
  draft_least_ = least_chance(costs, step, answers);
}

// The draft model guesses what the plan has room for; the plan then has what there is.
Status StepLoop::make_drafts(StepPlan& plan) {
  draft_jobs_.clear();
  if (!draft_model_) return {};
  const double share = speculation_limits().min_accept_rate;
  for (const PlannedSlice& slice : plan.slices) {
    ActiveRequest& active = *requests_[slice.sequence];
    if (const auto job = active.draft_job(slice.drafts, draft_least_, share)) draft_jobs_.push_back(*job);
  }
  if (draft_jobs_.empty()) return {};
  const auto set_in_step = [&](bool in_step) {
    for (const PlannedSlice& slice : plan.slices) requests_[slice.sequence]->in_step = in_step;
  };
  set_in_step(true);
  Status status = draft_model_->draft(draft_jobs_, *this);
  set_in_step(false);
  if (is_stop(status)) return status;
  auto job = draft_jobs_.begin();
  for (PlannedSlice& slice : plan.slices) {
    ActiveRequest& active = *requests_[slice.sequence];
    if (active.draft_job(slice.drafts, draft_least_, share)) slice.drafts = active.take_draft(*job++);
  }
  return {};
}

// Of one request's draft in the step that was computed, in tokens that its answers would have got in the time.
double StepLoop::draft_price(int drafts, double draft_seconds) const {
  double longer = drafts > 0 ? std::max(0.0, step_.own_seconds - step_.bare_seconds) : 0;
  if (drafts < step_.drafts) longer *= static_cast<double>(drafts) / step_.drafts;
  return (longer + draft_seconds) / step_.bare_seconds * step_.answers;
}

void StepLoop::note_drafts(ActiveRequest& active, int drafted, int accepted) {
  const DraftSource source = active.draft_source();
  if (step_.answers > 0) {
    const double price = draft_price(drafted, active.draft_seconds());
    const double gained = active.drafts_verified(drafted, accepted, price);
    if (source == DraftSource::kModel) draft_model_->budget().add_gain(gained * step_.bare_seconds / step_.answers);
  }
  accept_window_.add(drafted, accepted);
  DraftCounters& counters = snapshot_.counters.drafts[static_cast<size_t>(source)];
  counters.drafted += static_cast<uint64_t>(drafted);
  counters.accepted += static_cast<uint64_t>(accepted);
}

}  // namespace infer::engine
