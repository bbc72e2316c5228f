// What a piece of work costs at least, and the least time that a machine with given limits can take for it: the greater
// of the time to read its bytes and the time for its operations (a roofline). A measured speed divided by this limit
// says how much is left to gain.
// Thread safety: pure functions.
#pragma once

#include <cstdint>

#include "measure/machine_limits.h"
#include "model/model.h"

namespace infer::measure {

// Each byte of weights and KV counted once a step. A multiplication and an addition are two operations.
struct WorkCost {
  uint64_t read_bytes = 0;
  // Products with weights of block types; those of attention, in 16 bits at half the rate, count twice.
  uint64_t int8_ops = 0;
  uint64_t f32_ops = 0;  // Products with float weights.
};

// One step that gives one token to each of `sequences`, all with `depth` tokens in the cache.
// kv_share: what the KV cache takes of what bare halves would.
WorkCost decode_step_cost(const model::Model& model, int sequences, int depth, double kv_share = 1.0);
// The prompts of `sequences`, `tokens` each behind `depth` others, in steps as large as the model takes.
WorkCost prefill_cost(const model::Model& model, int sequences, int tokens, int depth, double kv_share = 1.0);

// Limits of 0 count as unknown and bound nothing.
double least_seconds(const WorkCost& cost, const MachineLimits& limits);

}  // namespace infer::measure
