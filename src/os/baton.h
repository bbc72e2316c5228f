// Lets one thread at a time use what several share, where one of them must never wait: it does without.
//
// Thread safety: any thread; not to be held by one that has it. Ownership: none.
#pragma once

#include <mutex>

namespace infer::os {

class Baton {
 public:
  // Waits until nobody has it, then does `work`.
  template <class Work>
  void hold(Work work) {
    const std::lock_guard lock(mutex_);
    work();
  }
  // Does `work` at once or, where somebody has it, not at all: false.
  template <class Work>
  bool try_hold(Work work) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (lock) work();
    return lock.owns_lock();
  }

 private:
  std::mutex mutex_;
};

}  // namespace infer::os
