// When a thread last got on with its work, for others to see while it does not.
//
// It is silent from its last beat on, unless it rests because nothing is to be done. Who gives it something to do calls
// it: from then on it is silent too, until it beats, so that a thread that never wakes up does not look well.
// Thread safety: beat() and rest() by the one thread; call() and silent_since() from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "base/time.h"

namespace infer::engine {

class Heartbeat {
 public:
  void beat(Instant now) { at_.store(now.ns(), std::memory_order_relaxed); }
  void rest() { at_.store(kResting, std::memory_order_relaxed); }
  void call(Instant now) {
    int64_t resting = kResting;
    at_.compare_exchange_strong(resting, now.ns(), std::memory_order_relaxed);
  }

  // Nullopt while it rests.
  std::optional<Instant> silent_since() const {
    const int64_t at = at_.load(std::memory_order_relaxed);
    return at == kResting ? std::nullopt : std::optional(Instant::from_ns(at));
  }
  Duration silence(Instant now) const {
    const std::optional<Instant> since = silent_since();
    return since && *since < now ? now - *since : Duration();
  }

 private:
  static constexpr int64_t kResting = INT64_MIN;
  std::atomic<int64_t> at_{kResting};
};

}  // namespace infer::engine
