// A clock that moves only when it is told to, or by a fixed amount each time it is read.
// Thread safety: one thread.
#pragma once

#include "base/time.h"

namespace infer::testing {

class TestClock final : public Clock {
 public:
  explicit TestClock(Duration per_reading = {}) : per_reading_(per_reading) {}

  void advance(Duration by) { now_ = now_ + by; }
  Instant now() const override {
    now_ = now_ + per_reading_;
    return now_;
  }
  WallTime wall_time() const override { return {}; }

 private:
  Duration per_reading_;
  mutable Instant now_;
};

}  // namespace infer::testing
