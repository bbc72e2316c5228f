// What of the metrics goes into the history.
// Thread safety: a pure function.
#pragma once

#include "telemetry/history_store.h"
#include "telemetry/metrics.h"

namespace infer::telemetry {

HistoryRecord history_record(const Metrics& metrics);

}  // namespace infer::telemetry
