// How far a model's predictions move when something about its computation changes: the same text through both, position
// by position.
//
// Sums are in double; logits are floats as the model gives them, so that equal computations give a divergence of 0.
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace infer::quality {

struct Divergence {
  double ppl_reference = 0;
  double delta_ppl = 0;         // Perplexity minus that of the reference.
  double delta_ppl_stderr = 0;  // From the differences at each position, which is far less than that of either.
  double kld_mean = 0;          // Kullback-Leibler divergence from the reference, in nats a position.
  double kld_p999 = 0;          // 99.9 % of the positions are below.
  double kld_max = 0;
  double same_top = 0;  // Share of positions where both have the same most likely token.
};

// log(sum(exp(x))) of logits; of a kernel table, for example.
using LogSumExp = double (*)(const float* x, int n);

// The divergence of log-softmax(changed) from log-softmax(reference): sum of p log(p / q) over the vocabulary.
double kl_divergence(LogSumExp log_sum_exp, std::span<const float> reference, std::span<const float> changed);

class DivergenceSum {
 public:
  explicit DivergenceSum(LogSumExp log_sum_exp) : log_sum_exp_(log_sum_exp) {}

  // Predictions of one position; `target` is what follows in the text.
  void add(std::span<const float> reference, std::span<const float> changed, TokenId target);
  int64_t count() const { return static_cast<int64_t>(klds_.size()); }
  // Of at least one position.
  Divergence result() const;

 private:
  LogSumExp log_sum_exp_;
  std::vector<float> klds_;
  int64_t same_top_ = 0;
  double reference_nll_ = 0, difference_ = 0, difference_squares_ = 0;
};

}  // namespace infer::quality
