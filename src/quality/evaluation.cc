#include "quality/evaluation.h"

#include <algorithm>

#include "base/check.h"

namespace infer::quality {

Evaluation::Evaluation(EvaluationTask task, LogSumExp log_sum_exp)
    : task_(task), sum_(log_sum_exp), sum_with_this_window_(log_sum_exp) {
  INFER_CHECK(task_.window >= 4 && task_.windows >= 1);
  INFER_CHECK(task_.tokens.size() >= static_cast<size_t>(task_.window) * static_cast<size_t>(task_.windows));
}

TokenId Evaluation::token(int position) const {
  if (position == 0 && task_.bos) return *task_.bos;
  return task_
      .tokens[static_cast<size_t>(windows_done_) * static_cast<size_t>(task_.window) + static_cast<size_t>(position)];
}

void Evaluation::begin_window(engine::StepRunner& runner) {
  reference_.emplace(runner.make_sequence());
  reference_->set_policy({});
  changed_.emplace(runner.make_sequence());
  changed_->set_policy(task_.levels);
  position_ = 0;
  step_tokens_.clear();
  sum_with_this_window_ = sum_;
}

Status Evaluation::step(engine::StepRunner& runner, model::StepWatch& watch, Instant now) {
  INFER_CHECK(!done());
  if (!changed_) begin_window(runner);
  const bool is_reference = step_tokens_.empty();
  const int unscored = std::max(0, task_.window / 2 - position_);
  const int count = std::min(portion_.tokens(),
                             is_reference ? reference_tokens(runner, unscored) : static_cast<int>(step_tokens_.size()));
  const int scored_begin = std::min(unscored, count);
  std::vector<TokenId> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(token(position_ + i));
  const model::SequenceSlice slice{is_reference ? &*reference_ : &*changed_, tokens, scored_begin, count};
  Status ran = runner.run({{&slice, 1}}, watch, now);
  portion_.ended(ran);
  if (!ran) return ran;
  const int rows = count - scored_begin;
  if (is_reference) {
    keep_reference(runner, std::move(tokens), rows);
  } else {
    score(runner, count, rows);
  }
  if (position_ == inputs()) end_window();
  return {};
}

int Evaluation::reference_tokens(engine::StepRunner& runner, int unscored) const {
  return std::min({inputs() - position_, runner.tokens_per_step(), unscored + runner.logits_per_step()});
}

void Evaluation::keep_reference(engine::StepRunner& runner, std::vector<TokenId> tokens, int rows) {
  step_tokens_ = std::move(tokens);
  reference_rows_.clear();
  for (int row = 0; row < rows; ++row) {
    const std::span<const float> logits = runner.logits(row);
    reference_rows_.insert(reference_rows_.end(), logits.begin(), logits.end());
  }
}

// The changed cache's step of `count` tokens, of which the last `rows` have logits.
void Evaluation::score(engine::StepRunner& runner, int count, int rows) {
  position_ += count;
  step_tokens_.erase(step_tokens_.begin(), step_tokens_.begin() + count);
  std::ptrdiff_t scored = 0;
  for (int row = 0; row < rows; ++row) {
    const std::span<const float> changed = runner.logits(row);
    const std::span<const float> reference =
        std::span(reference_rows_).subspan(static_cast<size_t>(scored), changed.size());
    sum_with_this_window_.add(reference, changed, token(position_ - rows + row + 1));
    scored += static_cast<std::ptrdiff_t>(changed.size());
  }
  reference_rows_.erase(reference_rows_.begin(), reference_rows_.begin() + scored);
}

void Evaluation::end_window() {
  sum_ = sum_with_this_window_;
  ++windows_done_;
  release_pages();
}

int64_t Evaluation::pages_held() const {
  return (reference_ ? reference_->pages_held() : 0) + (changed_ ? changed_->pages_held() : 0);
}

void Evaluation::release_pages() {
  reference_.reset();
  changed_.reset();
  step_tokens_.clear();
}

}  // namespace infer::quality
