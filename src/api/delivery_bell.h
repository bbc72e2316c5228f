// What wakes the thread that carries answers to the clients. A piece of an answer wakes it only where it sleeps or is
// about to: while it looks at its calls anyway, a wake-up for each piece would cost the engine more than the look.
//
// A piece that comes between its last look and its sleep is not lost: listen() says that it should look again.
// Thread safety: ring() and ring_for_piece() from any thread; the others by the one that sleeps.
#pragma once

#include <atomic>

#include "base/time.h"
#include "os/wake_signal.h"

namespace infer::api {

class DeliveryBell {
 public:
  // A call, a cancellation, room to write: what cannot wait.
  void ring() { signal_.notify(); }
  void ring_for_piece() {
    came_.store(true);  // In one order with listens_: either this sees that, or listen() sees the piece.
    if (listens_.load()) signal_.notify();
  }

  // Before a look at all rings: until listen(), pieces wake nobody.
  void rest() {
    listens_.store(false);
    came_.exchange(false);
  }
  // From now on pieces wake. False when one has come since rest(): look once more.
  bool listen() {
    listens_.store(true);
    return !came_.load();
  }
  void wait_until(Instant until) { (void)signal_.wait_until(until); }

 private:
  os::WakeSignal signal_;
  std::atomic<bool> listens_{false};
  std::atomic<bool> came_{false};
};

}  // namespace infer::api
