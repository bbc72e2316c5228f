#include "os/wake_signal.h"

#include <chrono>
#include <utility>

namespace infer::os {

void WakeSignal::notify() {
  {
    const std::lock_guard lock(mutex_);
    if (notified_) return;
    notified_ = true;
  }
  changed_.notify_one();
}

bool WakeSignal::wait_until(Instant until) {
  std::unique_lock lock(mutex_);
  const auto is_notified = [this] { return notified_; };
  if (until == Instant::never()) {
    changed_.wait(lock, is_notified);
  } else {
    // SystemClock counts the steady clock's nanoseconds.
    const std::chrono::steady_clock::time_point end{std::chrono::nanoseconds(until.ns())};
    changed_.wait_until(lock, end, is_notified);
  }
  return std::exchange(notified_, false);
}

}  // namespace infer::os
