// The speed of a loaded model: how fast it reads prompts (prefill) and how fast it writes (decode), both with `depth`
// tokens already in the KV cache of each sequence; and a hash of what it computed, so that a speed-up that changes the
// answer is seen. Nothing is printed here.
//
// Several sequences are independent texts: each has its own prompt and its own pages; decoding computes one token of
// each in every step. Speeds are those of all together.
// Thread safety: one thread, the engine's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#include "base/call_context.h"
#include "base/result.h"
#include "measure/roofline.h"
#include "measure/statistics.h"
#include "model/model.h"

namespace infer::measure {

struct BenchSettings {
  int prompt_tokens = 512;
  int generated_tokens = 32;
  int depth = 0;
  int repetitions = 5;
  int sequences = 1;
  // Whole pages of the depth that are computed; behind them, and in other sequences, stand copies of these pages,
  // because to the speed only their number matters.
  int computed_depth_max = 4096;
  bool after_prompt = false;  // Generates behind the prompt; otherwise the prompt is forgotten first.

  // Tokens of each sequence in the cache when generating starts.
  int decode_depth() const { return depth + (after_prompt ? prompt_tokens : 0); }
  // The context that the model must have; it must also hold `sequences` and give as many rows of logits in a step.
  int context() const { return std::max(depth + prompt_tokens, decode_depth() + generated_tokens) + 1; }
};

struct BenchResult {
  Summary prefill_tokens_per_second;
  Summary decode_tokens_per_second;
  Duration time_to_first_token;  // Median time of all prompts.
  WorkCost prefill;              // Of all prompts.
  WorkCost decode_step;          // Of one step, one token of each sequence, in the middle of the run.
  uint64_t kv_bytes = 0;         // Pages that all sequences hold at the end.
  uint64_t kv_bytes_f16 = 0;
  uint64_t output_hash = 0;  // Of the logits after the prompt and of the generated ids; equal in every repetition.
};

// Tokens done of all; may be empty.
using BenchProgress = std::function<void(uint64_t done, uint64_t total)>;
// Called before each repetition that counts, for what is to be measured in turns with it; an error ends the run. May be
// empty.
using BenchPause = std::function<Status()>;

// One repetition is run and thrown away first. A prompt is a fixed sequence of random ids, generation takes the best
// token. What lies in the cache before is filled in once and kept. kInternal when two repetitions gave different
// results: they must not.
Result<BenchResult> run_bench(model::Model& model, const BenchSettings& settings, const CallContext& call,
                              const BenchProgress& progress, const BenchPause& pause = {});

}  // namespace infer::measure
