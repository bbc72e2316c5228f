// Wall time as text: "2026-11-24T18:50:23.004Z" (ISO 8601, UTC, milliseconds).
// Thread safety: pure functions.
#pragma once

#include <string>

#include "base/time.h"

namespace infer::telemetry {

std::string timestamp(WallTime time);

}  // namespace infer::telemetry
