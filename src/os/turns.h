// Who computes next where threads share a processor: two things that a thread can say to the system about it.
//
// Work that is brief and comes often takes short turns: such a thread gets a processor sooner after it wakes up and
// gives it up sooner. Its share stays the same. Systems without such a choice (other than Linux, Linux before 6.12) do
// as they do.
//
// Work that goes on for long offers its processor between its pieces. Linux looks at who goes next when a thread wakes
// up and passes over one that has just had more than its share; the next look comes with its tick, 4 ms later at the
// usual 250 Hz, though a tenth of that would have been enough. Asking for the processor time of the thread that runs
// makes the system count it, and look, at once: whoever waits and is owed a turn gets it, and nobody else.
// Thread safety: all of it speaks of the calling thread only.
#pragma once

#include <chrono>
#include <cstdint>

namespace infer::os {

enum class Turns : uint8_t { kUsual, kShort };

void take_turns(Turns turns);

// Of one thread.
class TurnOffer {
 public:
  // Cheap enough for pieces of a microsecond: looks at the clock at each kPieces-th call, and asks the system when
  // kInterval has passed (0.3 us on a machine of 2026).
  void between_pieces() {
    if (++pieces_ < kPieces) return;
    pieces_ = 0;
    offer_when_due();
  }

 private:
  static constexpr int kPieces = 4;
  static constexpr std::chrono::microseconds kInterval{100};

  void offer_when_due();

  int pieces_ = 0;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace infer::os
