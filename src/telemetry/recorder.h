// Where a server tells what its requests did: counters, histograms and the times of the last minute.
//
// Everything is a few atomic additions, and a short lock while two settings are compared.
// Thread safety: all of it. Lives as long as the server.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/bounded_queue.h"
#include "engine/request.h"
#include "telemetry/histogram.h"
#include "telemetry/request_window.h"

namespace infer::telemetry {

// Why a request was refused before the engine had it.
enum class Rejection : uint8_t { kQueueFull, kTooLong, kDeadline, kInvalid };
inline constexpr size_t kRejections = 4;
const char* rejection_name(Rejection rejection);  // "queue_full", "too_long", "deadline", "invalid"

class Recorder {
 public:
  // A request has ended; the engine's own counters count it too.
  void record_request(const engine::RequestResult& result);
  void record_rejection(Rejection rejection);

  // Requests by one of two settings that are compared, since the last call; kArmsKept at most.
  struct ArmTimes {
    int arm = 0;
    double tokens_per_second = 0;  // From the first token to the last.
    double first_token_ms = 0;
  };
  static constexpr size_t kArmsKept = 1024;
  std::vector<ArmTimes> take_arm_times() const;

  const RequestWindow& window() const { return window_; }
  HistogramCounts latency() const { return latency_.counts(); }
  HistogramCounts first_token() const { return first_token_.counts(); }
  HistogramCounts queue() const { return queue_.counts(); }
  HistogramCounts token_time() const { return token_time_.counts(); }
  // By engine::FinishReason.
  std::array<uint64_t, engine::kFinishReasonCount> ended() const;
  // By engine::PassedLimit, of requests that a limit ended.
  std::array<uint64_t, 5> passed_limits() const;
  std::array<uint64_t, kRejections> rejections() const;

 private:
  void record_arm(const engine::RequestResult& result);

  RequestWindow window_;
  // Prompts on a processor can take minutes, so the ranges go that far.
  DurationHistogram latency_{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600};
  DurationHistogram first_token_{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300};
  DurationHistogram queue_{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300};
  DurationHistogram token_time_{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5};
  std::array<std::atomic<uint64_t>, engine::kFinishReasonCount> ended_{};
  std::array<std::atomic<uint64_t>, 5> passed_limits_{};
  std::array<std::atomic<uint64_t>, kRejections> rejections_{};
  mutable BoundedQueue<ArmTimes> arm_times_{kArmsKept};
};

}  // namespace infer::telemetry
