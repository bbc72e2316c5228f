// What wakes the thread that carries answers to the clients. Some things wake it at once; a piece of an answer does so
// only from a certain time on, until which each stream rests because it has just been written to.
//
// A piece that comes between its last look and its sleep is not lost: listen() says that it should look again.
// Thread safety: ring() and ring_for_piece() from any thread; the others by the one that sleeps.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/time.h"
#include "os/wake_signal.h"

namespace infer::api {

class DeliveryBell {
 public:
  // A call, a cancellation, room to write: what cannot wait.
  void ring() { signal_.notify(); }
  void ring_for_piece(Instant now) {
    came_.store(true);  // In one order with wakes_from_: either this sees the time, or listen() sees the piece.
    if (now.ns() >= wakes_from_.load()) signal_.notify();
  }

  // Before a look at all rings: until listen(), pieces wake nobody.
  void rest() {
    wakes_from_.store(Instant::never().ns());
    came_.exchange(false);
  }
  // From then on pieces wake. False when one has come since rest() and the time is over: look once more.
  bool listen(Instant from, Instant now) {
    wakes_from_.store(from.ns());
    return !(came_.load() && from <= now);
  }
  void wait_until(Instant until) { (void)signal_.wait_until(until); }

 private:
  os::WakeSignal signal_;
  std::atomic<int64_t> wakes_from_{Instant::never().ns()};
  std::atomic<bool> came_{false};
};

}  // namespace infer::api
