#include "control/quality_monitor.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace infer::control {

namespace {

constexpr int kWideWindow = 128;
// Of importance; what the table of events means by levels that go up.
constexpr double kSafeL1 = 0.9, kSafeL2 = 0.7, kSafeL3 = 0.5;

// Modes that may take pages out of memory, and those that go to 4 bits freely.
kv::KvMode without_eviction(kv::KvMode mode) { return mode == kv::KvMode::kThroughput ? kv::KvMode::kDynamic : mode; }

void spare_low_levels(KvPolicy& kv) {
  kv.mode = without_eviction(kv.mode);
  kv.level_thresholds.l2_int4 = std::min(kv.level_thresholds.l1_int8, std::max(kv.level_thresholds.l2_int4, kSafeL2));
  kv.level_thresholds.l3_evict = std::min(kv.level_thresholds.l2_int4, std::max(kv.level_thresholds.l3_evict, kSafeL3));
}

void spare_bytes(KvPolicy& kv) {
  if (kv.mode == kv::KvMode::kQ4) kv.mode = kv::KvMode::kQ8;
  if (kv::is_tiered(kv.mode)) kv.mode = kv::KvMode::kQuality;
  kv.level_thresholds.l1_int8 = std::max(kv.level_thresholds.l1_int8, kSafeL1);
  kv.level_thresholds.l2_int4 = std::max(kv.level_thresholds.l2_int4, kSafeL2);
}

}  // namespace

Policy protect(const Policy& policy, int steps) {
  INFER_CHECK(steps >= 0 && steps <= kProtectSteps);
  Policy safer = policy;
  if (steps >= 1) spare_low_levels(safer.kv);
  if (steps >= 2) spare_bytes(safer.kv);
  if (steps >= 3) safer.kv.recent_window = std::max(safer.kv.recent_window, kWideWindow);
  if (steps >= 4) safer.scheduler = {SchedulerMode::kCpuOnly, Device::kCpu, Device::kCpu};
  if (steps >= 5) safer.kv.mode = kv::KvMode::kF16;
  return safer;
}

std::string_view protect_step_name(int step) {
  switch (step) {
    case 1: return "lower thresholds up, nothing out of memory";
    case 2: return "KV cache mostly at 8 bits";
    case 3: return "a window of 128 tokens";
    case 4: return "one device";
    case 5: return "KV cache at 16 bits";
    default: return "as the policy says";
  }
}

std::optional<double> QualityMonitor::mean() const {
  if (estimates_ < kWindow) return std::nullopt;
  return std::accumulate(window_.begin(), window_.end(), 0.0) / kWindow;
}

std::optional<QualityChange> QualityMonitor::observe(double delta_ppl, double max_delta_ppl, Instant now) {
  window_[static_cast<size_t>(estimates_ % kWindow)] = delta_ppl;
  // Past the first window only the place in it matters.
  estimates_ = estimates_ + 1 < 2 * kWindow ? estimates_ + 1 : kWindow;
  const std::optional<double> mean = this->mean();
  if (!mean) return std::nullopt;

  above_ = *mean > max_delta_ppl ? above_ + 1 : 0;
  if (above_ >= kTimesInARow && steps_ < kProtectSteps && !settles(now, *mean > kUrgent * max_delta_ppl)) {
    lengthen_or_shorten_hold(now);
    return change(steps_ + 1, *mean);
  }
  if (*mean > kClearly * max_delta_ppl || steps_ == 0) {
    quiet_since_.reset();
    return std::nullopt;
  }
  if (!quiet_since_) {
    quiet_since_ = now;
    quiet_estimates_ = 0;
  }
  ++quiet_estimates_;
  if (now - *quiet_since_ < hold_ || quiet_estimates_ < kEvidence || verified(now) == false) return std::nullopt;
  const QualityChange given_back = change(steps_ - 1, *mean);
  given_back_at_ = settles_since_ = now;
  return given_back;
}

std::optional<QualityChange> QualityMonitor::observe_exact(const Measured& measured, double max_delta_ppl,
                                                           Instant now) {
  const double doubt = kBeyondDoubt * measured.standard_error;
  checked_at_ = now;
  is_enough_ = measured.delta_ppl + doubt <= max_delta_ppl;
  const bool in_doubt = steps_ > 0 && measured.positions >= kMany && measured.delta_ppl > max_delta_ppl;
  if (measured.delta_ppl - doubt <= max_delta_ppl && !in_doubt) return std::nullopt;
  quiet_since_.reset();
  if (steps_ == kProtectSteps || settles(now, true)) return std::nullopt;
  lengthen_or_shorten_hold(now);
  return change(steps_ + 1, measured.delta_ppl);
}

// Where no answers are checked any more, estimates have to do.
std::optional<bool> QualityMonitor::verified(Instant now) const {
  if (!checked_at_ || now - *checked_at_ >= hold_) return std::nullopt;
  return is_enough_;
}

// What was given back was to be tried for a while; a little above the limit can wait, too.
bool QualityMonitor::settles(Instant now, bool urgent) const {
  const auto recent = [now](const std::optional<Instant>& at) { return at && now - *at < kSettle; };
  return recent(settles_since_) || (!urgent && recent(taken_at_));
}

// A step is needed: again, soon after it was given back, or for the first time in long.
void QualityMonitor::lengthen_or_shorten_hold(Instant now) {
  taken_at_ = now;
  if (!given_back_at_) return;
  const bool soon = now - *given_back_at_ < hold_;
  settles_since_ = soon ? std::optional(now) : std::nullopt;
  hold_ = soon ? std::min(hold_ + hold_, kHoldMax) : std::max(Duration::from_ns(hold_.ns() / 2), kHold);
  given_back_at_.reset();
}

QualityChange QualityMonitor::change(int steps, double mean) {
  const QualityChange change{steps_, steps, mean};
  steps_ = steps;
  estimates_ = above_ = 0;
  quiet_since_.reset();
  checked_at_.reset();
  return change;
}

}  // namespace infer::control
