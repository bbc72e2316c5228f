#include "quality/divergence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "testing/attention_case.h"
#include "testing/machine_kernels.h"

namespace infer::quality {
namespace {

double log_sum_exp(const float* x, int n) { return testing::machine_kernels()[0]->log_sum_exp(x, n); }

TEST(Divergence, IsThatOfTheDefinition) {
  // p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2); any constant may be added to logits.
  const std::vector<float> p{std::log(0.5f) + 3, std::log(0.25f) + 3, std::log(0.25f) + 3};
  const std::vector<float> q{std::log(0.25f) - 1, std::log(0.25f) - 1, std::log(0.5f) - 1};
  EXPECT_NEAR(kl_divergence(log_sum_exp, p, q), 0.5 * std::log(2.0) - 0.25 * std::log(2.0), 1e-6);
  EXPECT_EQ(kl_divergence(log_sum_exp, p, p), 0.0);
}

TEST(Divergence, SumsUpPositions) {
  const std::vector<float> even{0, 0}, first{std::log(3.0f), 0};  // (1/2, 1/2) and (3/4, 1/4).
  DivergenceSum sum(log_sum_exp);
  sum.add(first, even, 0);
  sum.add(first, first, 1);
  const Divergence got = sum.result();
  EXPECT_NEAR(got.ppl_reference, std::exp((-std::log(0.75) - std::log(0.25)) / 2), 1e-6);
  EXPECT_NEAR(got.delta_ppl, std::exp((-std::log(0.5) - std::log(0.25)) / 2) - got.ppl_reference, 1e-6);
  const double kld = 0.75 * std::log(0.75 / 0.5) + 0.25 * std::log(0.25 / 0.5);
  EXPECT_NEAR(got.kld_mean, kld / 2, 1e-6);
  EXPECT_NEAR(got.kld_max, kld, 1e-6);
  EXPECT_EQ(got.same_top, 1.0) << "Of equals, the first counts.";
  // The differences are log 1.5 and 0: their standard deviation over the root of one degree of freedom.
  EXPECT_NEAR(got.delta_ppl_stderr, (got.ppl_reference + got.delta_ppl) * std::log(1.5) / 2, 1e-6);
}

TEST(Divergence, CountsWhereTheMostLikelyTokenChanges) {
  DivergenceSum sum(log_sum_exp);
  Rng rng(1);
  for (int i = 0; i < 10; ++i) {
    std::vector<float> logits = testing::random_floats(rng, 50, 1.0f), other = logits;
    logits[7] = 9.0f;
    other[i < 3 ? 8 : 7] = 10.0f;
    sum.add(logits, other, 0);
  }
  EXPECT_DOUBLE_EQ(sum.result().same_top, 0.7);
}

}  // namespace
}  // namespace infer::quality
