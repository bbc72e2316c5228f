// Perplexity of a text, by the conventions of llama-perplexity so that figures can be compared: the text's tokens are
// cut into whole windows of `context` tokens that do not overlap (the rest is left out), the first token of a window
// becomes BOS where the model adds BOS, each window starts with an empty cache, and only tokens of its second half are
// scored. Thread safety: one thread (the engine's).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "base/call_context.h"
#include "base/result.h"
#include "base/time.h"
#include "model/model.h"
#include "quality/divergence.h"
#include "tokenizer/tokenizer.h"

namespace infer::quality {

struct PerplexityOptions {
  int context = 512;  // Tokens of a window; at most the model's context.
  int chunks = -1;    // Windows to measure; -1: all.
  // Most tokens of a step; 0: as many as the model takes. What a step writes is lowered after it at the earliest, so
  // that levels of the KV cache show only with small steps: 64, or 1 as in decoding.
  int tokens_per_step = 0;
  bool divergence = false;  // Also computes everything with 16 bits, and compares.
};

struct PerplexityResult {
  double ppl = 0;
  double ppl_stderr = 0;  // Of the mean, as a perplexity (the +/- that llama-perplexity prints).
  int chunks = 0;         // Windows measured.
  int64_t tokens_scored = 0;
  int64_t tokens_total = 0;  // Of the whole text.
  uint64_t kv_bytes = 0;     // At the end of the last window.
  uint64_t kv_bytes_f16 = 0;
  std::optional<Divergence> divergence;  // From 16 bits.
  // What the KV cache expects its levels to cost, averaged over the scored positions: relative change of attention
  // outputs (kv::SequenceLevels), and nats a token where the model's factor is known.
  double expected_loss = 0;
  std::optional<double> expected_divergence;
  Duration elapsed;
};

// After each window: how many of how many are done, and the perplexity so far. May be empty.
using PerplexityProgress = std::function<void(int done, int chunks, double ppl)>;

// kInvalidArgument: a text shorter than two windows, a context above the model's or below 4, no windows. kDeadline,
// kCancelled. The model's logits_per_step sets how many positions are scored per step (128 is a good value).
Result<PerplexityResult> measure_perplexity(model::Model& model, const tokenizer::Tokenizer& tokenizer,
                                            std::string_view text, const PerplexityOptions& options,
                                            const CallContext& call, const PerplexityProgress& progress);

}  // namespace infer::quality
