#include "model/expert_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "testing/property.h"

namespace infer::model {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(ExpertPlan, ChoosesTheGreatestLogitsAndWeighsTheChosenAlone) {
  const float logits[] = {0.5f, 2.0f, -1.0f, 2.0f, 1.0f};
  ExpertShare chosen[3];
  choose_experts(logits, ExpertWeighting::kOfChosen, 1.0f, chosen);
  EXPECT_EQ(chosen[0].expert, 1);  // Of equals the first.
  EXPECT_EQ(chosen[1].expert, 3);
  EXPECT_EQ(chosen[2].expert, 4);
  const double third = std::exp(-1.0) / (2.0 + std::exp(-1.0));
  EXPECT_NEAR(chosen[2].weight, third, 1e-7);
  EXPECT_NEAR(chosen[0].weight, (1.0 - third) / 2, 1e-7);
}

TEST(ExpertPlan, WeighsTheChosenAmongAllAndScales) {
  const float logits[] = {0.0f, 1.0f, 0.0f, 0.0f};
  ExpertShare chosen[1];
  choose_experts(logits, ExpertWeighting::kOfAll, 2.5f, chosen);
  EXPECT_EQ(chosen[0].expert, 1);
  EXPECT_NEAR(chosen[0].weight, 2.5 * std::exp(1.0) / (3.0 + std::exp(1.0)), 1e-6);
}

TEST(ExpertPlan, FindsDifferentExpertsWhateverTheLogitsAre) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float logits[] = {kNaN, -infinity, kNaN, infinity, kNaN};
  ExpertShare chosen[5];
  choose_experts(logits, ExpertWeighting::kOfChosen, 1.0f, chosen);
  std::vector<int> experts;
  for (const ExpertShare& share : chosen) experts.push_back(share.expert);
  std::sort(experts.begin(), experts.end());
  EXPECT_EQ(experts, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(ExpertPlan, SortsRowsByExpertAndFindsEveryChoiceAgain) {
  testing::for_each_case(50, [](Rng& rng) {
    const int rows = 1 + static_cast<int>(rng.below(20)), experts = 1 + static_cast<int>(rng.below(9));
    const int used = 1 + static_cast<int>(rng.below(static_cast<uint32_t>(experts)));
    ExpertPlan plan(rows, experts, used);
    for (int step = 0; step < 3; ++step) {  // A plan is used again and again.
      std::vector<ExpertShare> shares;
      for (int row = 0; row < rows; ++row) {
        std::vector<float> logits(static_cast<size_t>(experts));
        for (float& logit : logits) logit = static_cast<float>(rng.uniform());
        shares.resize(shares.size() + static_cast<size_t>(used));
        choose_experts(logits, ExpertWeighting::kOfChosen, 1.0f, std::span(shares).last(static_cast<size_t>(used)));
      }
      plan.build(shares);
      ASSERT_EQ(plan.entries().size(), shares.size());
      int total = 0;
      for (const int expert : plan.active()) {
        ASSERT_GT(plan.count(expert), 0);
        total += plan.count(expert);
      }
      EXPECT_EQ(total, rows * used);
      for (int i = 0; i < rows * used; ++i) {
        const int place = plan.entry_of(i / used, i % used);
        const ExpertPlan::Entry& entry = plan.entries()[static_cast<size_t>(place)];
        const ExpertShare& share = shares[static_cast<size_t>(i)];
        EXPECT_EQ(entry.row, i / used);
        EXPECT_EQ(entry.expert, share.expert);
        EXPECT_EQ(entry.weight, share.weight);
        EXPECT_GE(place, plan.begin(share.expert));
        EXPECT_LT(place, plan.begin(share.expert) + plan.count(share.expert));
        if (place > plan.begin(share.expert)) {
          EXPECT_LT(plan.entries()[static_cast<size_t>(place) - 1].row, entry.row);
        }
      }
    }
  });
}

}  // namespace
}  // namespace infer::model
