// Wall time as text: "2026-11-24T18:50:23.004Z" (ISO 8601, UTC, milliseconds).
// Thread safety: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace infer::telemetry {

std::string timestamp(WallTime time);
// What timestamp() writes; the milliseconds may be missing.
std::optional<WallTime> read_timestamp(std::string_view text);

}  // namespace infer::telemetry
