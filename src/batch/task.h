// Tasks of a batch, one JSON object per line:
//
//   {"id": "a", "prompt": "Once upon a time", "max_tokens": 50}
//   {"id": "b", "turns": ["The king said", " and then"], "deadline": 30, "temperature": 0}
//
// Each turn continues the text of the one before and its answer. Keys: id (default: the number of the line), prompt or
// turns, max_tokens, temperature, top_k, top_p, min_p, seed, stop (a string or several), deadline (seconds),
// priority (high, normal, low). Unknown keys are errors.
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "engine/answer.h"
#include "engine/request.h"
#include "sampling/sampler.h"

namespace infer::batch {

struct Task {
  std::string id;
  int line = 0;                    // In the file, from 1.
  std::vector<std::string> turns;  // At least one.
  engine::GenerationOptions options;
  sampling::SamplingParams sampling;
  std::optional<Duration> deadline;  // From its start.
  engine::Priority priority = engine::Priority::kNormal;
};

inline constexpr size_t kTurnsMax = 1000;

// defaults: what a task has where its line says nothing. Empty lines are skipped. kCorrupt names the line.
Result<std::vector<Task>> parse_tasks(std::string_view text, const Task& defaults);

// The ids of the tasks that a file of results holds; lines that are not results are errors.
Result<std::vector<std::string>> parse_result_ids(std::string_view text);

}  // namespace infer::batch
