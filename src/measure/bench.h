// The speed of a loaded model: how fast it reads a prompt (prefill) and how fast it writes (decode), both with `depth`
// tokens already in the KV cache; and a hash of what it computed, so that a speed-up that changes the answer is seen.
// Nothing is printed here.
// Thread safety: one thread, the engine's.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/call_context.h"
#include "base/result.h"
#include "measure/statistics.h"
#include "model/model.h"

namespace infer::measure {

struct BenchSettings {
  int prompt_tokens = 512;
  int generated_tokens = 32;
  int depth = 0;
  int repetitions = 5;

  // The context that the model must have.
  int context() const { return depth + (prompt_tokens > generated_tokens ? prompt_tokens : generated_tokens) + 1; }
};

struct BenchResult {
  Summary prefill_tokens_per_second;
  Summary decode_tokens_per_second;
  Duration time_to_first_token;         // Median time of the whole prompt.
  uint64_t decode_bytes_per_token = 0;  // Weights and KV that one token must read, in the middle of the run.
  uint64_t prefill_operations_per_token = 0;
  uint64_t kv_bytes = 0;  // Pages held at the end.
  uint64_t kv_bytes_f16 = 0;
  uint64_t output_hash = 0;  // Of the logits after the prompt and of the generated ids; equal in every repetition.
};

// Tokens done of all; may be empty.
using BenchProgress = std::function<void(uint64_t done, uint64_t total)>;

// One repetition is run and thrown away first. The prompt is a fixed sequence of random ids, generation takes the best
// token. kInternal when two repetitions gave different results: they must not.
Result<BenchResult> run_bench(model::Model& model, const BenchSettings& settings, const CallContext& call,
                              const BenchProgress& progress);

}  // namespace infer::measure
