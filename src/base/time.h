// Points and lengths of time. Instant (monotonic) and WallTime (calendar) are different types, so that a deadline can
// never be compared with a clock that jumps. Only os/system_clock reads a clock; everything else takes `Clock&` or,
// better, an `Instant now`.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace infer {

class Duration {
 public:
  constexpr Duration() = default;
  static constexpr Duration from_ns(int64_t ns) { return Duration(ns); }
  static constexpr Duration from_us(int64_t us) { return Duration(us * 1'000); }
  static constexpr Duration from_ms(int64_t ms) { return Duration(ms * 1'000'000); }
  static constexpr Duration from_seconds(double seconds) { return Duration(static_cast<int64_t>(seconds * 1e9)); }

  constexpr int64_t ns() const { return ns_; }
  constexpr double ms() const { return static_cast<double>(ns_) * 1e-6; }
  constexpr double seconds() const { return static_cast<double>(ns_) * 1e-9; }

  constexpr auto operator<=>(const Duration&) const = default;
  constexpr Duration operator+(Duration other) const { return Duration(ns_ + other.ns_); }
  constexpr Duration operator-(Duration other) const { return Duration(ns_ - other.ns_); }

 private:
  explicit constexpr Duration(int64_t ns) : ns_(ns) {}
  int64_t ns_ = 0;
};

// Nanoseconds of the monotonic clock since an arbitrary start.
class Instant {
 public:
  constexpr Instant() = default;
  static constexpr Instant from_ns(int64_t ns) { return Instant(ns); }
  static constexpr Instant never() { return Instant(std::numeric_limits<int64_t>::max()); }

  constexpr int64_t ns() const { return ns_; }
  constexpr auto operator<=>(const Instant&) const = default;
  constexpr Duration operator-(Instant other) const { return Duration::from_ns(ns_ - other.ns_); }
  // Saturates at never().
  constexpr Instant operator+(Duration d) const {
    if (d.ns() > 0 && ns_ > std::numeric_limits<int64_t>::max() - d.ns()) return never();
    return Instant(ns_ + d.ns());
  }

 private:
  explicit constexpr Instant(int64_t ns) : ns_(ns) {}
  int64_t ns_ = 0;
};

// Milliseconds since 1970-01-01 UTC.
struct WallTime {
  int64_t unix_ms = 0;
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;
  virtual WallTime wall_time() const = 0;
};

}  // namespace infer
