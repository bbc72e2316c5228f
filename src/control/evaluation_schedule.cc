#include "control/evaluation_schedule.h"

namespace infer::control {

namespace {

constexpr int64_t kHourMs = 3'600'000, kDayMs = 24 * kHourMs;

// The first such hour after `now`.
WallTime next_hour(int hour, WallTime now, int utc_offset) {
  const int64_t local = now.unix_ms + int64_t{utc_offset} * 1000;
  const int64_t into_day = (local % kDayMs + kDayMs) % kDayMs;
  int64_t wait = hour * kHourMs - into_day;
  if (wait <= 0) wait += kDayMs;
  return {now.unix_ms + wait};
}

// Whether it is due. What lies further ahead than a period was planned by another clock or other settings.
bool take(std::optional<WallTime>& next, WallTime following, int64_t period_ms, WallTime now) {
  if (!next || next->unix_ms > now.unix_ms + period_ms) next = following;
  if (now.unix_ms < next->unix_ms) return false;
  next = following;
  return true;
}

}  // namespace

const char* evaluation_kind_name(EvaluationKind kind) { return kind == EvaluationKind::kFull ? "full" : "light"; }

std::optional<EvaluationKind> EvaluationSchedule::take_due(const EvaluationConfig& config, WallTime now,
                                                           int utc_offset) {
  std::optional<EvaluationKind> due;
  if (config.light_hours <= 0) {
    next_light_.reset();
  } else if (const int64_t period = config.light_hours * kHourMs;
             take(next_light_, {now.unix_ms + period}, period, now)) {
    due = EvaluationKind::kLight;
  }
  if (config.full_hour < 0) {
    next_full_.reset();
  } else if (take(next_full_, next_hour(config.full_hour, now, utc_offset), kDayMs, now)) {
    due = EvaluationKind::kFull;
  }
  return due;
}

}  // namespace infer::control
