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
// Beside programs that compute all the time nothing is offered: their turns would only become more, and those of the
// threads of one job, which wait for each other, would less often be at the same time (docs/performance.md).
// Thread safety: take_turns() and TurnOffer speak of the calling thread only; OfferRule is for all that share it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

namespace infer::os {

enum class Turns : uint8_t { kUsual, kShort };

void take_turns(Turns turns);

// What the threads of one pool have found out about their processors. Thread safety: any thread.
class OfferRule {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // So long a turn is had by who computes, until the system's next tick; those who react take a tenth of it.
  static constexpr std::chrono::milliseconds kLongTurn{2};
  // One such turn may be anything. So many, each so soon after the one before, are somebody who goes on.
  static constexpr int kLongTurns = 3;
  static constexpr std::chrono::milliseconds kSoon{20};
  static constexpr std::chrono::milliseconds kRetreat{100};

  bool allows(Time now) const { return ns_of(now) >= from_.load(std::memory_order_relaxed); }
  // Between two looks of a thread that did nothing but compute so much time passed, and so much of it was its own.
  void observe(Time now, std::chrono::nanoseconds passed, std::chrono::nanoseconds own) {
    if (passed - own < kLongTurn) return;
    const int64_t before = seen_.exchange(ns_of(now), std::memory_order_relaxed);
    if (now - Time(std::chrono::nanoseconds(before)) > kSoon) count_.store(0, std::memory_order_relaxed);
    if (count_.fetch_add(1, std::memory_order_relaxed) + 1 < kLongTurns) return;
    from_.store(ns_of(now + kRetreat), std::memory_order_relaxed);
    count_.store(0, std::memory_order_relaxed);
  }

 private:
  static int64_t ns_of(Time time) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  }

  std::atomic<int64_t> from_{0}, seen_{0};
  std::atomic<int> count_{0};
};

// Of one thread.
class TurnOffer {
 public:
  // Between two pieces, cheap enough for pieces of a microsecond: whether it is time for an offer. Looks at the clock
  // at each kPieces-th call.
  bool is_due(const OfferRule& rule) {
    if (++pieces_ < kPieces) return false;
    pieces_ = 0;
    return interval_is_over(rule);
  }
  // With nothing in hand that others wait for. Takes 0.3 us where nobody takes it (a machine of 2026).
  void offer(OfferRule& rule);
  // The thread has waited: what passed since the last offer says nothing of others.
  void has_waited() { own_.reset(); }

 private:
  static constexpr int kPieces = 4;
  static constexpr std::chrono::microseconds kInterval{100};

  bool interval_is_over(const OfferRule& rule);

  int pieces_ = 0;
  OfferRule::Time last_{};
  std::optional<std::chrono::nanoseconds> own_;  // Processor time of the thread, then.
};

}  // namespace infer::os
