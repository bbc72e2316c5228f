// Watches the engine's thread from another one: tells whether it gets on, and ends requests when it does not.
//
// The engine's thread looks at limits and cancellations itself, many times in a step. When it hangs inside one (a
// device, a disk, a defect), nobody would: then the watchdog ends requests whose time is up or whose reader cancelled,
// and after a while all, with an error, so that no reader waits for ever. When the thread comes back it finds those
// requests ended, gives up the step, and goes on with new ones. When it stays away, only a new process helps: the owner
// is told.
//
//   ready    it works, or has nothing to do
//   silent   no sign of life for limits.silent_after: new requests are refused
//   hung     for limits.hung_after: all requests were ended
//   lost     for limits.lost_after: the process should be started again
//
// Thread safety: check() and its on_lost on one thread, the watchdog's; all else from any. Ownership: borrows the
// heartbeat; shares the streams until they end.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "engine/answer_stream.h"
#include "engine/heartbeat.h"

namespace infer::engine {

struct WatchdogLimits {
  Duration silent_after = Duration::from_ms(1500);
  Duration hung_after = Duration::from_seconds(5);
  Duration lost_after = Duration::from_seconds(7);

  // kInvalidArgument: not one after the other.
  Status validate() const;
  // Between two looks.
  Duration period() const { return Duration::from_ns(silent_after.ns() / 8); }
};

enum class EngineCondition : uint8_t { kReady, kSilent, kHung, kLost };
const char* engine_condition_name(EngineCondition condition);  // "ready", "silent", "hung", "lost"

struct EngineHealth {
  EngineCondition condition = EngineCondition::kReady;
  Duration silence;             // Since the last sign of life; 0 while there is nothing to do.
  uint64_t hangs = 0;           // How often all requests were ended,
  uint64_t requests_ended = 0;  // and how many the watchdog ended in all.

  bool ready() const { return condition == EngineCondition::kReady; }
};

class Watchdog {
 public:
  // on_lost: called once each time that the thread is lost; may be empty. The limits are valid.
  Watchdog(const Heartbeat& heartbeat, const WatchdogLimits& limits, std::function<void()> on_lost);

  // From now until its end.
  void watch(std::shared_ptr<AnswerStream> stream);
  EngineHealth health(Instant now) const;
  // Returns when to look again: never while nothing is to be watched, until watch() is called.
  Instant check(Instant now);

 private:
  EngineCondition condition(Duration silence) const;
  // Those that are watched and have not ended.
  std::vector<std::shared_ptr<AnswerStream>> open_streams();
  void end_late(Instant now);
  void end_all(Duration silence, Instant now);
  void end(AnswerStream& stream, RequestResult result, Instant now);

  const Heartbeat& heartbeat_;
  const WatchdogLimits limits_;
  const std::function<void()> on_lost_;
  std::atomic<uint64_t> hangs_{0};
  std::atomic<uint64_t> requests_ended_{0};
  bool hung_ = false;  // In the silence that lasts.
  bool lost_ = false;
  std::mutex mutex_;
  std::vector<std::shared_ptr<AnswerStream>> streams_;  // Guarded by mutex_.
};

}  // namespace infer::engine
