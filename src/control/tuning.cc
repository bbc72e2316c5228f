#include "control/tuning.h"

#include <algorithm>

#include "base/format.h"

namespace infer::control {

namespace {

constexpr int kTrialsLeast = 12;

}  // namespace

const char* tuning_state_name(TuningState state) {
  switch (state) {
    case TuningState::kNone: return "none";
    case TuningState::kRunning: return "running";
    case TuningState::kDone: return "done";
    case TuningState::kCancelled: return "cancelled";
    case TuningState::kOutOfTime: return "out_of_time";
    case TuningState::kFailed: return "failed";
  }
  return "";
}

Policy with_setting(const Policy& policy, const TuneSetting& setting) {
  Policy changed = policy;
  changed.kv = {setting.mode, setting.window, setting.thresholds};
  return changed;
}

Result<uint64_t> Tuning::start(const TuningWish& wish, Instant now) {
  if (work_ == nullptr) return Error{ErrorCode::kUnsupported, "nothing here can measure settings"};
  if (state_ == TuningState::kRunning) {
    return Error{ErrorCode::kBusy, format("tuning {} is not done yet: wait for it, or cancel it", number_)};
  }
  TuneSpace space = default_tune_space();
  space.sequences = {wish.sequences};
  const int fifth = static_cast<int>(space.settings() / 5);
  tuner_.emplace(space, wish.goal, TunePoint{}, wish.trials_max > 0 ? wish.trials_max : std::max(kTrialsLeast, fifth));
  wish_ = wish;
  until_ = now + wish.time;
  const kv::LevelPolicy first = level_policy(with_setting({}, setting_at(space, *tuner_->next())), {});
  INFER_ASSIGN(trial_, work_->trials().start(first, wish.sequences));
  state_ = TuningState::kRunning;
  choice_due_ = false;
  return ++number_;
}

bool Tuning::cancel() {
  if (state_ != TuningState::kRunning) return false;
  end(TuningState::kCancelled);
  return true;
}

void Tuning::end(TuningState state) {
  state_ = state;
  work_->trials().finish();
  if (work_->trials().is_busy()) work_->trials().cancel();
  const bool found = state == TuningState::kDone || state == TuningState::kOutOfTime;
  const auto best = tuner_->best();
  choice_due_ = wish_.applies && found && best && tuner_->allowed(*best);
}

// The next trial. False where there is none, or it cannot be.
bool Tuning::ask() {
  const auto point = tuner_->next();
  if (!point) {
    end(TuningState::kDone);
    return false;
  }
  const TuneSetting setting = setting_at(tuner_->space(), *point);
  const auto number = work_->trials().start(level_policy(with_setting({}, setting), {}), setting.sequences);
  if (!number) {
    end(TuningState::kFailed);
    return false;
  }
  trial_ = *number;
  return true;
}

bool Tuning::look(Instant now) {
  if (state_ != TuningState::kRunning) return false;
  if (now >= until_) {
    end(TuningState::kOutOfTime);
    return true;
  }
  const quality::TrialProgress progress = work_->trials().progress();
  if (progress.number != trial_) return false;
  if (progress.state != quality::TrialState::kDone) {
    end(TuningState::kFailed);
    return false;
  }
  tuner_->observe(progress.figures);
  return ask();
}

std::optional<Policy> Tuning::take_choice(const Policy& policy) {
  if (!choice_due_) return std::nullopt;
  choice_due_ = false;
  return with_setting(policy, setting_at(tuner_->space(), tuner_->best()->point));
}

}  // namespace infer::control
