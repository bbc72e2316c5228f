#include "control/ab_run.h"

#include "base/format.h"

namespace infer::control {

const char* ab_state_name(AbState state) {
  switch (state) {
    case AbState::kNone: return "none";
    case AbState::kRunning: return "running";
    case AbState::kDone: return "done";
    case AbState::kCancelled: return "cancelled";
    case AbState::kOutOfTime: return "out_of_time";
    case AbState::kDisturbed: return "disturbed";
  }
  return "";
}

Status AbRun::check_start() const {
  if (state_ != AbState::kRunning) return {};
  return Error{ErrorCode::kBusy, format("comparison {} is not done yet: wait for it, or cancel it", number_)};
}

uint64_t AbRun::start(const AbWish& wish, Instant now) {
  wish_ = wish;
  until_ = now + wish.time;
  arms_ = {};
  findings_ = {};
  state_ = AbState::kRunning;
  return ++number_;
}

void AbRun::add(const telemetry::Recorder::ArmTimes& times) {
  AbArm& arm = arms_[times.arm == 1 ? 1 : 0];
  arm.tokens_per_second.push_back(times.tokens_per_second);
  arm.first_token_ms.push_back(times.first_token_ms);
}

std::optional<AbState> AbRun::ended(Instant now) const {
  const size_t answers = arms_[0].tokens_per_second.size() + arms_[1].tokens_per_second.size();
  if (answers >= static_cast<size_t>(wish_.answers)) return AbState::kDone;
  return now >= until_ ? std::optional(AbState::kOutOfTime) : std::nullopt;
}

std::optional<quality::ExactFigures> AbRun::quality(int which) const {
  const quality::ExactSums& sums = findings_[static_cast<size_t>(which)];
  return sums.rows > 0 ? std::optional(quality::exact_figures(sums)) : std::nullopt;
}

AbReport AbRun::report() const {
  std::optional<AbDifference> quality;
  const auto a = this->quality(0), b = this->quality(1);
  if (a && b) {
    quality = measured_difference({a->delta_ppl, a->delta_ppl_stderr, static_cast<int>(a->rows)},
                                  {b->delta_ppl, b->delta_ppl_stderr, static_cast<int>(b->rows)});
  }
  return compare_arms(arms_[0], arms_[1], false, quality);
}

}  // namespace infer::control
