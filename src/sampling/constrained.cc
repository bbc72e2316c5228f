#include "sampling/constrained.h"

namespace infer::sampling {

Result<TokenId> sample_constrained(Sampler& sampler, grammar::Constraint& constraint, std::span<const float> logits,
                                   const CallContext& call) {
  if (sampler.is_greedy()) {
    const TokenId best = sampler.sample(logits);
    if (constraint.allows(best)) return best;
  }
  INFER_ASSIGN(const grammar::TokenMask* const allowed, constraint.allowed(call));
  if (allowed->empty()) return kNoToken;
  return sampler.sample_among(*allowed, logits);
}

}  // namespace infer::sampling
