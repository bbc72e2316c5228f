// One token that a grammar allows: a sampler and a constraint together.
//
// The grammar comes before penalties, cuts and temperature. A greedy sampler is first asked without it: if the token
// with the greatest logit of all is allowed, it is also the one with the greatest of those allowed, so the mask need
// not be known. With a draw this would not hold (the cuts see other tokens, and a second draw would shift the sequence
// of random numbers), so there the mask is always applied. Thread safety: one thread.
#pragma once

#include <span>

#include "base/call_context.h"
#include "base/ids.h"
#include "base/result.h"
#include "grammar/token_automaton.h"
#include "sampling/sampler.h"

namespace infer::sampling {

// kNoToken: no token of the vocabulary may follow. Errors are those of Constraint::allowed. Accepts nothing.
Result<TokenId> sample_constrained(Sampler& sampler, grammar::Constraint& constraint, std::span<const float> logits,
                                   const CallContext& call);

}  // namespace infer::sampling
