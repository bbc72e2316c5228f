// Log probabilities of tokens, from logits as the model gave them: before penalties, temperature and filters.
// Thread safety: pure functions.
#pragma once

#include <span>
#include <vector>

#include "base/ids.h"

namespace infer::sampling {

struct TokenLogprob {
  TokenId token = kNoToken;
  float logprob = 0;  // Natural logarithm.
};

// Of the chosen token, and of the `top` likeliest ones (lower ids first among equals). Logits that are not finite count
// as impossible: such a token's is -infinity.
struct Logprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;
};
Logprobs find_logprobs(std::span<const float> logits, TokenId chosen, int top);

}  // namespace infer::sampling
