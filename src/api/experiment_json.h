// Tuning and comparisons of policies as JSON, for the API and the command line alike.
// Thread safety: pure functions.
#pragma once

#include <optional>

#include "api/json.h"
#include "control/ab_run.h"
#include "control/tuner.h"
#include "control/tuning.h"

namespace infer::api {

Json trial_json(const control::Tuner& tuner, const control::TuneTrial& trial);
// Choice, reason, alternatives and trials.
Json tuner_json(const control::Tuner& tuner);
Json tuning_json(const control::Tuning& tuning);
// Settings that a running server leaves as they are, each with the reason.
Json not_searched_json();

Json difference_json(const std::optional<control::AbDifference>& found);
Json comparison_json(const control::AbRun& run);

}  // namespace infer::api
