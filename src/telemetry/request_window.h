// The times of the last requests, kept by whoever ends one and read by whoever wants their statistics, without a lock.
//
// A ring of kPlaces: when more requests than that end within a window, the window has only the last of them. A place is
// a sequence lock with many writers: a writer that finds another one in its place, a whole ring behind, gives up and is
// counted in lost().
// Thread safety: all of it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/time.h"

namespace infer::telemetry {

struct RequestTimes {
  Instant ended;
  std::optional<Duration> latency;      // From submission to the end, of an answer that was given.
  std::optional<Duration> first_token;  // From submission to the first token.
};

class RequestWindow {
 public:
  static constexpr size_t kPlaces = 4096;

  void add(const RequestTimes& times);
  // Those that ended at `since` or later, in no order.
  std::vector<RequestTimes> since(Instant since) const;
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  struct Place {
    std::atomic<uint64_t> version{0};  // Odd: being written; 0: never was.
    std::atomic<int64_t> ended_ns{0};
    std::atomic<int64_t> latency_ns{0};      // kNone: there is none.
    std::atomic<int64_t> first_token_ns{0};  // Likewise.
  };
  static constexpr int64_t kNone = -1;

  std::atomic<uint64_t> next_{0};
  std::atomic<uint64_t> lost_{0};
  std::array<Place, kPlaces> places_{};
};

}  // namespace infer::telemetry
