#include "telemetry/recorder.h"

#include "base/check.h"

namespace infer::telemetry {

namespace {

template <size_t N>
std::array<uint64_t, N> loaded(const std::array<std::atomic<uint64_t>, N>& counters) {
  std::array<uint64_t, N> values{};
  for (size_t i = 0; i < N; ++i) values[i] = counters[i].load(std::memory_order_relaxed);
  return values;
}

// Whether the time to its end says something about the server: somebody who hung up says nothing.
bool is_answer(engine::FinishReason reason) {
  return reason != engine::FinishReason::kCancelled && reason != engine::FinishReason::kFailed;
}

}  // namespace

const char* rejection_name(Rejection rejection) {
  switch (rejection) {
    case Rejection::kQueueFull: return "queue_full";
    case Rejection::kTooLong: return "too_long";
    case Rejection::kDeadline: return "deadline";
    case Rejection::kInvalid: return "invalid";
  }
  INFER_CHECK(false);
}

void Recorder::record_request(const engine::RequestResult& result) {
  ended_[static_cast<size_t>(result.finish_reason)].fetch_add(1, std::memory_order_relaxed);
  RequestTimes times{.ended = result.ended, .latency = {}, .first_token = {}};
  if (is_answer(result.finish_reason)) {
    times.latency = result.ended - result.submitted;
    latency_.observe(*times.latency);
  }
  if (result.first_token) {
    times.first_token = *result.first_token - result.submitted;
    first_token_.observe(*times.first_token);
  }
  if (result.first_token && result.last_token && result.generated_tokens > 1) {
    const int64_t all_ns = (*result.last_token - *result.first_token).ns();
    token_time_.observe(Duration::from_ns(all_ns / (result.generated_tokens - 1)));
  }
  record_arm(result);
  if (result.started) queue_.observe(*result.started - result.submitted);
  if (result.finish_reason == engine::FinishReason::kDeadline) {
    passed_limits_[static_cast<size_t>(result.passed_limit)].fetch_add(1, std::memory_order_relaxed);
  }
  window_.add(times);
}

// Answers too short to have a speed count for nothing.
void Recorder::record_arm(const engine::RequestResult& result) {
  constexpr int kTokensMin = 8;
  if (result.arm < 0 || !is_answer(result.finish_reason) || result.generated_tokens < kTokensMin) return;
  const double seconds = (*result.last_token - *result.first_token).seconds();
  if (!(seconds > 0)) return;
  // What does not fit is of a comparison that nobody reads.
  (void)arm_times_.try_push({.arm = result.arm,
                             .tokens_per_second = (result.generated_tokens - 1) / seconds,
                             .first_token_ms = (*result.first_token - result.submitted).ms()});
}

std::vector<Recorder::ArmTimes> Recorder::take_arm_times() const {
  std::vector<ArmTimes> times;
  arm_times_.take_all(times);
  return times;
}

void Recorder::record_rejection(Rejection rejection) {
  rejections_[static_cast<size_t>(rejection)].fetch_add(1, std::memory_order_relaxed);
}

std::array<uint64_t, engine::kFinishReasonCount> Recorder::ended() const { return loaded(ended_); }
std::array<uint64_t, 5> Recorder::passed_limits() const { return loaded(passed_limits_); }
std::array<uint64_t, kRejections> Recorder::rejections() const { return loaded(rejections_); }

}  // namespace infer::telemetry
