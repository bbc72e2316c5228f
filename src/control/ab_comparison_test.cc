#include "control/ab_comparison.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"

namespace infer::control {
namespace {

double normal(Rng& rng) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += rng.uniform();
  return sum;
}

// From a table of Student's distribution.
TEST(AbComparison, KnowsStudentsDistribution) {
  EXPECT_NEAR(student_975(3), 3.182, 0.03);
  EXPECT_NEAR(student_975(9), 2.262, 0.002);
  EXPECT_NEAR(student_975(19), 2.093, 0.001);
  EXPECT_NEAR(student_975(1000), 1.962, 0.001);
}

// Differences 1, 2, 3, 4, 5: mean 3, standard error sqrt(0.5), 2.776 of them at 4 degrees of freedom.
TEST(AbComparison, APairedIntervalIsTheTextbooks) {
  const std::vector<double> a{10, 20, 30, 40, 50}, b{11, 22, 33, 44, 55};
  const auto found = paired_difference(a, b, false);
  ASSERT_TRUE(found.has_value());
  EXPECT_NEAR(found->mean, 3, 1e-12);
  EXPECT_NEAR(found->low, 3 - 2.776 * std::sqrt(0.5), 0.01);
  EXPECT_NEAR(found->high, 3 + 2.776 * std::sqrt(0.5), 0.01);
  EXPECT_TRUE(found->is_found());
  // As factors all are 10 %.
  EXPECT_NEAR(paired_difference(a, b, true)->mean, 0.1, 1e-9);
}

// Of A against A there is no difference; 95 % of the intervals say so.
TEST(AbComparison, OfEqualSettingsADifferenceIsFoundInOneOfTwenty) {
  Rng rng(1);
  int paired = 0, separate = 0;
  for (int i = 0; i < 2000; ++i) {
    std::vector<double> a, b, alone;
    for (int k = 0; k < 12; ++k) {
      const double machine = 1 + 0.3 * rng.uniform();
      a.push_back(100 * machine * std::exp(0.02 * normal(rng)));
      b.push_back(100 * machine * std::exp(0.02 * normal(rng)));
    }
    for (int k = 0; k < 15; ++k) alone.push_back(100 * (1 + 0.3 * rng.uniform()) * std::exp(0.02 * normal(rng)));
    paired += paired_difference(a, b, true)->is_found() ? 1 : 0;
    separate += separate_difference(a, alone, true)->is_found() ? 1 : 0;
  }
  EXPECT_NEAR(paired / 2000.0, 0.05, 0.015);
  EXPECT_NEAR(separate / 2000.0, 0.05, 0.015);
}

TEST(AbComparison, SaysInWordsWhatWasFoundAndWhatWasNot) {
  AbArm a, b;
  for (int i = 0; i < 10; ++i) {
    const double noise = i % 2 == 0 ? 1.01 : 0.99;
    a.tokens_per_second.push_back(100 * noise);
    b.tokens_per_second.push_back(120 * noise * (i % 3 == 0 ? 1.002 : 1));
    a.first_token_ms.push_back(50 * noise);
    b.first_token_ms.push_back(50 * (2 - noise));
    a.delta_ppl.push_back(0.01 * noise);
    b.delta_ppl.push_back(0.05 * noise);
  }
  const AbReport report = compare_arms(a, b, true);
  EXPECT_NE(report.verdict.find("B is faster by 20."), std::string::npos) << report.verdict;
  EXPECT_NE(report.verdict.find("no difference in the time to the first token found"), std::string::npos);
  EXPECT_NE(report.verdict.find("B costs 0.0400 perplexity more"), std::string::npos) << report.verdict;
  EXPECT_EQ(compare_arms({}, {}, false).verdict, "too few measurements to tell: 4 of each at least");
}

}  // namespace
}  // namespace infer::control
