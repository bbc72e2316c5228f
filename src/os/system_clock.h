// The machine's clocks: the only implementation of Clock outside tests.
// Thread safety: const, any thread. Instants stand still while the machine sleeps.
#pragma once

#include "base/time.h"

namespace infer::os {

class SystemClock final : public Clock {
 public:
  Instant now() const override;
  WallTime wall_time() const override;
};

}  // namespace infer::os
