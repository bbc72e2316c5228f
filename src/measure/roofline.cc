#include "measure/roofline.h"

#include <algorithm>

namespace infer::measure {
namespace {

uint64_t kv_bytes(const model::Model& model, int depth, double kv_share) {
  const auto halves = static_cast<double>(model.bytes_per_token(depth) - model.bytes_per_token(0));
  return static_cast<uint64_t>(halves * kv_share);
}

// Scores and weighted values of one token that sees `depth` others: two products a coordinate each.
uint64_t attention_ops(const model::Model& model, int depth) {
  const model::ModelConfig& config = model.config();
  return uint64_t{4} * static_cast<uint64_t>(config.query_width()) *
         static_cast<uint64_t>(config.visible_tokens(depth));
}

WorkCost products(const model::Model& model, bool logits, uint64_t tokens) {
  const uint64_t all = model.operations_per_token(logits), in_floats = model.float_operations_per_token(logits);
  return {.read_bytes = 0, .int8_ops = (all - in_floats) * tokens, .f32_ops = in_floats * tokens};
}

double seconds(uint64_t amount, double per_second) {
  return per_second > 0 ? static_cast<double>(amount) / per_second : 0.0;
}

}  // namespace

WorkCost decode_step_cost(const model::Model& model, int sequences, int depth, double kv_share) {
  const auto count = static_cast<uint64_t>(sequences);
  WorkCost cost = products(model, true, count);
  cost.int8_ops += 2 * attention_ops(model, depth) * count;
  cost.read_bytes = model.bytes_per_token(0) + kv_bytes(model, depth, kv_share) * count;
  return cost;
}

WorkCost prefill_cost(const model::Model& model, int sequences, int tokens, int depth, double kv_share) {
  const auto count = static_cast<uint64_t>(sequences);
  const uint64_t all_tokens = count * static_cast<uint64_t>(tokens);
  WorkCost cost = products(model, false, all_tokens);
  cost.int8_ops += 2 * attention_ops(model, depth + tokens / 2) * all_tokens;
  const auto step = static_cast<uint64_t>(model.options().tokens_per_step);
  // A sequence's cache is read at least once for its prompt, however it is cut.
  cost.read_bytes =
      (all_tokens + step - 1) / step * model.bytes_per_token(0) + kv_bytes(model, depth, kv_share) * count;
  return cost;
}

double least_seconds(const WorkCost& cost, const MachineLimits& limits) {
  return std::max(
      seconds(cost.read_bytes, limits.read_bytes_per_second),
      seconds(cost.int8_ops, limits.int8_ops_per_second) + seconds(cost.f32_ops, limits.f32_ops_per_second));
}

}  // namespace infer::measure
