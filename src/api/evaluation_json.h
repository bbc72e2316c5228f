// Evaluations, exact checks and alerts as the control API shows them.
// Thread safety: pure functions.
#pragma once

#include "api/json.h"
#include "control/agent.h"
#include "telemetry/evaluation_record.h"

namespace infer::api {

Json evaluation_json(const telemetry::EvaluationRecord& record);
Json alert_json(const control::Alert& alert, WallTime time);
// What runs or ran last, when the next ones are due, and what exact checks found.
Json evaluations_json(const control::Evaluations& evaluations);
// The form that /v1/metrics has for the last evaluation.
Json last_evaluation_json(const telemetry::EvaluationFacts& evaluation);

}  // namespace infer::api
