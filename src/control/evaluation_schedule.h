// When evaluations are due: a full one each day at an hour of local time, a light one each so many hours.
//
// Both start when the engine has nothing else to do, so due is not begun. What a server that was off would have done is
// not made up for. A clock that is set back or forth costs at most one of them. Thread safety: one thread; plain
// values.
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"
#include "control/config.h"

namespace infer::control {

enum class EvaluationKind : uint8_t { kLight, kFull };
const char* evaluation_kind_name(EvaluationKind kind);  // "light", "full"

class EvaluationSchedule {
 public:
  // What is due now, once each time; of both the full one, which is the light one as well. utc_offset: of local time,
  // in seconds.
  std::optional<EvaluationKind> take_due(const EvaluationConfig& config, WallTime now, int utc_offset);
  // Nullopt: never, or take_due() was not called yet.
  std::optional<WallTime> next_full() const { return next_full_; }
  std::optional<WallTime> next_light() const { return next_light_; }

 private:
  std::optional<WallTime> next_full_, next_light_;
};

}  // namespace infer::control
