// Lets one thread sleep until another one has something for it, or until an instant.
//
// A notification is remembered until the next wait returns, so that none is lost between looking and waiting.
// Thread safety: notify() from any thread; one thread waits at a time.
#pragma once

#include <condition_variable>
#include <mutex>

#include "base/time.h"

namespace infer::os {

class WakeSignal {
 public:
  void notify();
  // Returns when it was notified since the last wait returned, or once SystemClock reaches `until`: true when notified.
  bool wait_until(Instant until);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool notified_ = false;  // Guarded by mutex_.
};

}  // namespace infer::os
