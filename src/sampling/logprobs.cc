#include "sampling/logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace infer::sampling {

Logprobs find_logprobs(std::span<const float> logits, TokenId chosen, int top) {
  INFER_CHECK(chosen >= 0 && static_cast<size_t>(chosen) < logits.size());
  const auto better = [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob > b.logprob || (a.logprob == b.logprob && a.token < b.token);
  };
  // best: the likeliest so far, the least of them first (a heap), with logits in place of log probabilities.
  const size_t wanted = std::min(logits.size(), static_cast<size_t>(std::max(0, top)));
  std::vector<TokenLogprob> best;
  best.reserve(wanted + 1);
  double greatest = -std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i])) continue;
    greatest = std::max(greatest, static_cast<double>(logits[i]));
    const TokenLogprob candidate{static_cast<TokenId>(i), logits[i]};
    if (wanted == 0 || (best.size() == wanted && !better(candidate, best.front()))) continue;
    best.push_back(candidate);
    std::push_heap(best.begin(), best.end(), better);
    if (best.size() > wanted) {
      std::pop_heap(best.begin(), best.end(), better);
      best.pop_back();
    }
  }
  double sum = 0;
  for (const float logit : logits) {
    if (std::isfinite(logit)) sum += std::exp(static_cast<double>(logit) - greatest);
  }
  const double log_sum = greatest + std::log(sum);
  const auto logprob = [log_sum](float logit) {
    return std::isfinite(logit) ? static_cast<float>(static_cast<double>(logit) - log_sum)
                                : -std::numeric_limits<float>::infinity();
  };
  std::sort(best.begin(), best.end(), better);
  for (TokenLogprob& entry : best) entry.logprob = logprob(entry.logprob);
  return {{chosen, logprob(logits[static_cast<size_t>(chosen)])}, std::move(best)};
}

}  // namespace infer::sampling
