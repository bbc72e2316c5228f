#include "quality/trial.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "os/system_clock.h"
#include "quality/quality_work.h"
#include "testing/byte_tokenizer.h"
#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"

namespace infer::quality {
namespace {

constexpr int kPrompt = 200, kDecoded = 40;

class Watch final : public model::StepWatch {
 public:
  explicit Watch(int every = 0) : every_(every) {}
  Status look() override {
    if (every_ == 0 || ++looks_ % every_ != 0) return {};
    return Error{ErrorCode::kCancelled, "later"};
  }

 private:
  int every_, looks_ = 0;
};

class TrialTest : public ::testing::Test {
 protected:
  void SetUp() override {
    loaded_ = testing::load_random({.vocabulary = testing::kByteTokens}, *testing::machine_kernels().front(), 2,
                                   {.context = 384, .sequences = 4, .logits_per_step = 256});
    runner_ = engine::make_model_runner(*loaded_->model);
    Rng rng(2);
    for (int i = 0; i < 700; ++i) tokens_.push_back(static_cast<TokenId>(rng.below(26) + 'a'));
  }
  Trial trial(const kv::LevelPolicy& levels, int sequences = 1) {
    return Trial({.tokens = tokens_, .prompt = kPrompt, .decoded = kDecoded, .sequences = sequences, .levels = levels},
                 log_sum_exp(), testing::kByteTokens, reference_);
  }
  LogSumExp log_sum_exp() const { return loaded_->model->kernels().log_sum_exp; }
  TrialFigures run(Trial trial, int give_up_every = 0) {
    Watch watch(give_up_every);
    for (int i = 0; !trial.done() && i < 5000; ++i) (void)trial.step(*runner_, watch, clock_);
    EXPECT_TRUE(trial.done());
    EXPECT_EQ(trial.pages_held(), 0);
    return trial.figures();
  }

  static constexpr kv::LevelPolicy kLow{.mode = kv::KvMode::kQ4, .recent_window = 16};
  os::SystemClock clock_;
  std::vector<TokenId> tokens_;
  TrialReference reference_;
  std::unique_ptr<testing::LoadedModel> loaded_;
  std::unique_ptr<engine::StepRunner> runner_;
};

TEST_F(TrialTest, SixteenBitsCostNothingHoweverManyTextsThereAre) {
  for (const int sequences : {1, 3}) {
    const TrialFigures figures = run(trial({}, sequences));
    EXPECT_EQ(figures.delta_ppl, 0);
    EXPECT_EQ(figures.delta_stderr, 0);
    EXPECT_GT(figures.tokens_per_second, 0);
    EXPECT_GT(figures.first_token_ms, 0);
    EXPECT_GE(figures.kv_share, 1);  // Scales besides the codes.
  }
}

// By hand: the same tokens through two caches, one at a time.
TEST_F(TrialTest, WhatFewerBitsCostIsTheDivergenceOfWhatIsPredicted) {
  kv::SequenceCache plain = loaded_->model->make_sequence(), low = loaded_->model->make_sequence();
  low.set_policy(kLow);
  const std::span<const TokenId> all = std::span<const TokenId>(tokens_).first(kPrompt + kDecoded);
  const auto reference = loaded_->compute(plain, all, 24);
  // The prompt in steps as the trial has them, then token by token.
  auto used = loaded_->compute(low, all.first(kPrompt), kPrompt);
  for (const auto& row : loaded_->compute(low, all.subspan(kPrompt), 1)) used.push_back(row);
  double kld = 0, nll = 0;
  for (int i = 0; i < kDecoded; ++i) {
    const auto at = static_cast<size_t>(kPrompt + i);
    kld += kl_divergence(log_sum_exp(), reference[at], used[at]) / kDecoded;
    nll += (log_sum_exp()(reference[at].data(), testing::kByteTokens) -
            static_cast<double>(reference[at][static_cast<size_t>(tokens_[at + 1])])) /
           kDecoded;
  }
  const TrialFigures figures = run(trial(kLow));
  EXPECT_GT(kld, 0);
  EXPECT_NEAR(figures.ppl, std::exp(nll), 1e-9 * std::exp(nll));
  EXPECT_NEAR(figures.delta_ppl, std::exp(nll) * std::expm1(kld), 1e-6 * std::exp(nll) * kld);
  EXPECT_LT(figures.kv_share, 0.9);
}

TEST_F(TrialTest, GivenUpStepsChangeNothingOfIt) {
  const TrialFigures calm = run(trial(kLow)), hasty = run(trial(kLow), 5);
  EXPECT_EQ(calm.delta_ppl, hasty.delta_ppl);
  EXPECT_EQ(calm.kv_share, hasty.kv_share);
  Trial lost = trial(kLow);
  Watch watch;
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(lost.step(*runner_, watch, clock_));
  EXPECT_GT(lost.pages_held(), 0);
  lost.release_pages();
  EXPECT_EQ(lost.pages_held(), 0);
  EXPECT_EQ(run(std::move(lost)).delta_ppl, calm.delta_ppl);
}

TEST_F(TrialTest, IsDoneInIdleTimeOneAfterTheOther) {
  const EvaluationText text{.name = "text", .tokens = tokens_, .window = 256};
  QualityWork work(text, log_sum_exp(), testing::kByteTokens);
  Watch watch;
  ASSERT_EQ(work.trials().start({}, 1).value(), 1u);
  EXPECT_EQ(work.trials().start({}, 1).error().code, ErrorCode::kBusy);
  while (work.trials().is_busy()) EXPECT_LE(work.run(*runner_, watch, clock_), clock_.now());
  EXPECT_EQ(work.trials().progress().state, TrialState::kDone);
  EXPECT_EQ(work.trials().progress().figures.delta_ppl, 0);
  ASSERT_EQ(work.trials().start(kLow, 2).value(), 2u);
  work.trials().cancel();
  while (work.trials().is_busy()) (void)work.run(*runner_, watch, clock_);
  EXPECT_EQ(work.trials().progress().state, TrialState::kCancelled);
  // More at once than a step has logits for.
  ASSERT_TRUE(work.trials().start(kLow, 257));
  while (work.trials().is_busy()) (void)work.run(*runner_, watch, clock_);
  EXPECT_EQ(work.trials().progress().state, TrialState::kFailed);
  EXPECT_EQ(work.pages_held(), 0);
}

}  // namespace
}  // namespace infer::quality
