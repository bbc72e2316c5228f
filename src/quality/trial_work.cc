#include "quality/trial_work.h"

#include <algorithm>

#include "base/format.h"
#include "quality/portion.h"

namespace infer::quality {

Result<uint64_t> TrialWork::start(const kv::LevelPolicy& levels, int sequences) {
  if (tokens_.size() < 2 * static_cast<size_t>(kDecoded)) {
    return Error{ErrorCode::kUnsupported,
                 "there is no text long enough for this model's context: name one with quality.dataset"};
  }
  const uint64_t last = asked_.load();
  if (is_busy()) return Error{ErrorCode::kBusy, format("trial {} is not done yet: wait for it, or cancel it", last)};
  cancel_.store(false, std::memory_order_relaxed);
  finished_.store(false, std::memory_order_relaxed);
  wish_.store({levels, sequences});
  asked_.store(last + 1);
  return last + 1;
}

// False where it cannot be.
bool TrialWork::begin(engine::StepRunner& runner) {
  const Wish wish = wish_.load();
  const auto most = static_cast<int>(std::min(tokens_.size() - 1, size_t{kPrompt + kDecoded}));
  const int length = std::min(most, runner.context());
  const bool fits = wish.sequences >= 1 && wish.sequences <= runner.logits_per_step() &&
                    wish.sequences <= runner.tokens_per_step() && length > kDecoded;
  if (!fits) return false;
  attempts_ = 0;
  trial_.emplace(TrialTask{.tokens = tokens_,
                           .bos = bos_,
                           .prompt = length - kDecoded,
                           .decoded = kDecoded,
                           .sequences = wish.sequences,
                           .levels = wish.levels},
                 log_sum_exp_, vocabulary_, reference_);
  return true;
}

void TrialWork::end(TrialState state) {
  progress_.store({state, ended_.load() + 1, state == TrialState::kDone ? trial_->figures() : TrialFigures{}});
  trial_.reset();
  if (finished_.load(std::memory_order_relaxed)) reference_ = {};
  ended_.store(ended_.load() + 1);
}

void TrialWork::step(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock) {
  if (cancel_.load(std::memory_order_relaxed)) return end(TrialState::kCancelled);
  if (!trial_ && !begin(runner)) return end(TrialState::kFailed);
  const Status done = trial_->step(runner, watch, clock);
  if (!done) {
    if (!is_stop(done.error()) && ++attempts_ >= kAttemptsMax) end(TrialState::kFailed);
    return;
  }
  attempts_ = 0;
  if (trial_->done()) end(TrialState::kDone);
}

int64_t TrialWork::pages_wanted(engine::StepRunner& runner) const {
  if (trial_) return trial_->pages_wanted(runner);
  return wish_.load().sequences * runner.pages_for(std::min(kPrompt + kDecoded, runner.context()));
}

}  // namespace infer::quality
