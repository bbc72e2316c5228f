// What can go wrong with optimization, and what is done about it: a table of events, each with how it shows, the steps
// away from the policy that it takes, and when they are given back.
//
// An event takes its first step as soon as it shows, further ones while it lasts, each only after the one before had
// time to act; and gives them back one at a time once it has been clear for its hold time and its back-off has passed.
// Back-off (with jitter, so that machines do not act in step) and hold time grow each time that it comes back soon. A
// step that was given back is taken again a minute later at the earliest, emergencies excepted: in a steady state no
// event changes its steps more often than once in a minute.
//
// Every step is a fallback for a reason. Many for one reason within five minutes are worth a notification; many for any
// reasons are critical: then all optimization is off until things have been quiet for a while.
// Thread safety: plain values and pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/rng.h"
#include "base/time.h"
#include "control/policy.h"

namespace infer::control {

// ---- Reasons.

enum class FallbackReason : uint8_t { kQuality, kDevice, kMemory, kTimeout, kUnknown };
inline constexpr size_t kFallbackReasons = 5;
const char* fallback_reason_name(FallbackReason reason);  // "quality_degradation", "device_error", ...

struct BackOff {
  double initial_s, max_s, factor;
  int notify_at;  // Fallbacks within the window that are worth a notification; 0: never.
};
const BackOff& back_off_of(FallbackReason reason);
// Before the attempt-th (from 0) return, with 10..30 % of jitter on top.
Duration back_off_delay(FallbackReason reason, int attempt, Rng& rng);

inline constexpr Duration kFallbackWindow = Duration::from_seconds(300);
inline constexpr int kCriticalFallbacks = 5;  // Within the window, for any reasons.

// ---- Events.

enum class EventKind : uint8_t {
  kGpuMissing,
  kNpuMissing,  // Or hot.
  kQuality,
  kMemory,
  kNoAnswer,
  kInt4Unsupported,
  kInt8Unsupported,
  kSlow,
  kCpuHot,
  kRefused,  // What steers fails itself: the engine does not take what was decided.
};
inline constexpr size_t kEventKinds = 10;

struct EventRow {
  EventKind kind;
  std::string_view name;  // Of its alert: "memory_pressure".
  FallbackReason reason;
  int steps;           // At most.
  Duration step_time;  // Between two of them.
  Duration hold;       // It must have been clear for so long before a step is given back.
  bool is_latched;     // Shows again when a step is given back too early: back-off grows. Else it is a plain fact.
};
std::span<const EventRow, kEventKinds> event_table();
const EventRow& event_row(EventKind kind);

// The policy with so many steps of the event taken; the quality event's are protect()'s.
Policy with_steps(EventKind kind, const Policy& policy, int steps);
// What step `step` does, for users: "window 32, thresholds down".
std::string_view step_name(EventKind kind, int step);

// How an event looks now.
enum class Sign : uint8_t { kUnknown, kClear, kBetween, kShows, kEmergency };

struct EventState {
  int steps = 0;  // In effect.
  int attempts = 0;
  std::optional<Instant> changed_at{}, clear_since{}, given_back_at{};
  Instant retry_at{};  // Not given back before.
};

struct StepChange {
  EventKind kind;
  int steps_before = 0, steps_after = 0;
  Instant retry_at{};
};

// Moves one event by what shows.
std::optional<StepChange> advance(const EventRow& row, Sign sign, Instant now, Rng& rng, EventState& state);

// ---- How many there were.

// Of the last five minutes; more than its capacity are counted as that many.
class FallbackLog {
 public:
  static constexpr size_t kCapacity = 32;

  void add(FallbackReason reason, Instant now);
  int count(FallbackReason reason, Instant now) const;
  int count(Instant now) const;
  void clear() { size_ = 0; }

 private:
  struct Entry {
    Instant at;
    FallbackReason reason;
  };
  std::array<Entry, kCapacity> entries_{};  // A ring.
  size_t size_ = 0, next_ = 0;
};

}  // namespace infer::control
