// Metrics, policies and history as the control API writes them. What is unknown is null.
// Thread safety: pure functions.
#pragma once

#include <span>
#include <string_view>

#include "api/json.h"
#include "control/policy.h"
#include "telemetry/history_store.h"
#include "telemetry/metrics.h"

namespace infer::api {

// Both forms of /v1/metrics: the structured one, and the flat keys of older monitors beside it.
Json metrics_json(const telemetry::Metrics& metrics, const control::Policy& in_effect, bool baseline);

// {"history":[...]}; of one metric only when `metric` is not empty.
Json history_json(std::span<const telemetry::HistoryRecord> records, std::string_view metric);

// The policy alone, as /v1/policy shows it.
Json policy_json(const control::Policy& policy);

}  // namespace infer::api
