// What every call that may wait takes: until when, and whether somebody asked to stop.
//
// A deadline is an instant, not a timeout, so it is handed on unchanged. Cancellation carries its first reason.
// Thread safety: a CancelSource may be cancelled from any thread or a signal handler; tokens are copied freely and
// must not outlive their source.
#pragma once

#include <atomic>

#include "base/result.h"
#include "base/time.h"

namespace infer {

enum class CancelReason : int { kNone = 0, kClientGone, kUser, kShutdown, kPolicy };

class CancelToken {
 public:
  CancelToken() = default;  // Never cancelled.
  explicit CancelToken(const std::atomic<int>* reason) : reason_(reason) {}

  bool cancelled() const { return reason() != CancelReason::kNone; }
  // Pairs with the store in CancelSource::cancel; nothing else is published with it, so relaxed is enough.
  CancelReason reason() const {
    return reason_ ? static_cast<CancelReason>(reason_->load(std::memory_order_relaxed)) : CancelReason::kNone;
  }

 private:
  const std::atomic<int>* reason_ = nullptr;
};

class CancelSource {
 public:
  CancelToken token() const { return CancelToken(&reason_); }
  // The first reason stays. Async-signal-safe.
  void cancel(CancelReason reason) {
    int none = 0;
    reason_.compare_exchange_strong(none, static_cast<int>(reason), std::memory_order_relaxed);
  }
  void reset() { reason_.store(0, std::memory_order_relaxed); }

 private:
  std::atomic<int> reason_{0};
};

class Deadline {
 public:
  static Deadline at(Instant when) { return Deadline(when); }
  static Deadline never() { return Deadline(Instant::never()); }  // Only app/ and tests may say this.

  bool passed(Instant now) const { return now >= when_; }
  Instant when() const { return when_; }
  Deadline earliest(Instant other) const { return Deadline(other < when_ ? other : when_); }

 private:
  explicit Deadline(Instant when) : when_(when) {}
  Instant when_;
};

struct CallContext {
  const Clock& clock;
  Deadline deadline;
  CancelToken cancel;

  bool should_stop() const { return cancel.cancelled() || deadline.passed(clock.now()); }
  // Ok, or the kCancelled / kDeadline error that names `what` was being done.
  Status check(std::string_view what) const;
};

}  // namespace infer
