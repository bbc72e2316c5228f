// Logits to one token.
//
// The chain: biases, penalties, then (temperature <= 0: the greatest logit, lowest id on ties) or top-k, top-p, min-p,
// temperature, and a draw from a seeded generator; the order of llama.cpp's default chain. The same seed, logits and
// history give the same token on every platform.
// A mask of allowed tokens comes before all of it: refused tokens are as if they did not exist, so that cuts and
// probabilities are those of the allowed ones alone.
// Thread safety: one sampler per sequence, one thread. No allocation after construction, but for the first mask.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "grammar/token_mask.h"

namespace infer::sampling {

// Added to the logit of a token before anything else looks at it.
struct LogitBias {
  TokenId token = 0;
  float bias = 0;
};

struct SamplingParams {
  float temperature = 0.8f;        // <= 0: greedy
  int top_k = 40;                  // 0: all
  float top_p = 0.95f;             // 1: off
  float min_p = 0.05f;             // 0: off
  float repeat_penalty = 1.0f;     // 1: off
  float presence_penalty = 0.0f;   // 0: off
  float frequency_penalty = 0.0f;  // 0: off
  int penalty_window = 64;         // Last tokens that the penalties look at; -1: all, 0: none.
  uint64_t seed = 0;
  std::vector<LogitBias> biases{};  // Those of one token add up.

  // Names the parameter, the bound and the value.
  Status validate() const;
  // And whether its tokens are in the vocabulary.
  Status validate_for(int vocabulary_size) const;
};

class Sampler {
 public:
  // `context_tokens` bounds the history when penalty_window is -1.
  static Result<std::unique_ptr<Sampler>> make(const SamplingParams& params, int vocabulary_size, int context_tokens);
  virtual ~Sampler() = default;

  // A token that is now part of the text (prompt and answer alike).
  virtual void accept(TokenId token) = 0;
  // logits: [vocabulary_size], unchanged. Non-finite logits are never chosen unless all are.
  virtual TokenId sample(std::span<const float> logits) = 0;
  // The same among the tokens of a mask, which must not be empty and of the size of the vocabulary.
  virtual TokenId sample_among(const grammar::TokenMask& allowed, std::span<const float> logits) = 0;
  // Takes the greatest logit and draws nothing.
  virtual bool is_greedy() const = 0;
};

}  // namespace infer::sampling
