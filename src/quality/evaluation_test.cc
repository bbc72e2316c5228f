#include "quality/evaluation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "base/rng.h"
#include "engine/engine.h"
#include "os/system_clock.h"
#include "quality/exact_check.h"
#include "quality/perplexity.h"
#include "quality/quality_work.h"
#include "testing/byte_tokenizer.h"
#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"
#include "testing/wrapped_runner.h"

namespace infer::quality {
namespace {

constexpr int kWindow = 384;

// Gives up every n-th look; 0: none.
class Watch final : public model::StepWatch {
 public:
  explicit Watch(int every = 0) : every_(every) {}
  Status look() override {
    if (every_ == 0 || ++looks_ % every_ != 0) return {};
    ++given_up;
    return Error{ErrorCode::kCancelled, "later"};
  }
  int given_up = 0;

 private:
  int every_, looks_ = 0;
};

class EvaluationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    loaded_ = testing::load_random({.vocabulary = testing::kByteTokens}, *testing::machine_kernels().front(), 2,
                                   {.context = 512, .sequences = 3, .logits_per_step = 24});
    runner_ = engine::make_model_runner(*loaded_->model);
    Rng rng(2);
    for (int i = 0; i < 2 * kWindow + 7; ++i) text_ += static_cast<char>('a' + rng.below(26));
    tokens_ = tokenizer_->encode(text_, {.add_special = true, .parse_special = false});
  }
  Evaluation evaluation() {
    return Evaluation({.tokens = tokens_, .window = kWindow, .windows = 2, .bos = tokenizer_->bos(), .levels = kLevels},
                      loaded_->model->kernels().log_sum_exp);
  }

  static constexpr kv::LevelPolicy kLevels{.mode = kv::KvMode::kQ4, .recent_window = 16};
  std::string text_;
  std::vector<TokenId> tokens_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_ = testing::make_byte_tokenizer(true);
  std::unique_ptr<testing::LoadedModel> loaded_;
  std::unique_ptr<engine::StepRunner> runner_;
};

void expect_same(const Divergence& a, const Divergence& b) {
  EXPECT_EQ(a.ppl_reference, b.ppl_reference);
  EXPECT_EQ(a.delta_ppl, b.delta_ppl);
  EXPECT_EQ(a.kld_mean, b.kld_mean);
  EXPECT_EQ(a.same_top, b.same_top);
}

TEST_F(EvaluationTest, GivesWhatAPerplexityMeasurementInTheSameStepsGives) {
  loaded_->model->set_levels(kLevels);
  const auto expected = measure_perplexity(*loaded_->model, *tokenizer_, text_,
                                           {.context = kWindow, .tokens_per_step = kv::kPageTokens, .divergence = true},
                                           loaded_->call(), {});
  ASSERT_TRUE(expected.has_value()) << expected.error().message;
  loaded_->model->set_levels({});
  Evaluation measured = evaluation();
  Watch watch;
  while (!measured.done()) ASSERT_TRUE(measured.step(*runner_, watch, {}).has_value());
  expect_same(measured.figures(), *expected->divergence);
  EXPECT_GT(measured.figures().kld_mean, 0);
  EXPECT_EQ(measured.positions(), expected->tokens_scored);
  EXPECT_EQ(loaded_->model->page_pool().taken_pages(), 0);
}

TEST_F(EvaluationTest, InterruptionsAndLostPagesChangeNothing) {
  Evaluation smooth = evaluation(), rough = evaluation();
  Watch calm, hasty(5);
  while (!smooth.done()) ASSERT_TRUE(smooth.step(*runner_, calm, {}).has_value());
  for (int i = 0; !rough.done(); ++i) {
    (void)rough.step(*runner_, hasty, {});
    if (i == 9 || i == 30) rough.release_pages();
    ASSERT_LT(i, 1000);
  }
  EXPECT_GT(hasty.given_up, 5);
  expect_same(rough.figures(), smooth.figures());
}

// Steps of more than so many tokens take longer than requests leave.
class HurriedRunner final : public testing::WrappedRunner {
 public:
  HurriedRunner(model::Model& model, int tokens_max)
      : WrappedRunner(engine::make_model_runner(model)), tokens_max_(tokens_max) {}
  Status run(const model::StepBatch& batch, model::StepWatch& watch, Instant now) override {
    steps += 1;
    if (static_cast<int>(batch.slices.front().tokens.size()) > tokens_max_) {
      return Error{ErrorCode::kCancelled, "a request has come"};
    }
    return WrappedRunner::run(batch, watch, now);
  }
  int steps = 0;

 private:
  const int tokens_max_;
};

TEST_F(EvaluationTest, EndsWhereRequestsLeaveTimeForAFewTokensOnly) {
  Evaluation smooth = evaluation();
  Watch calm;
  while (!smooth.done()) ASSERT_TRUE(smooth.step(*runner_, calm, {}).has_value());
  for (const int tokens_max : {33, 9, 2}) {
    HurriedRunner runner(*loaded_->model, tokens_max);
    Evaluation hurried = evaluation();
    while (!hurried.done()) {
      (void)hurried.step(runner, calm, {});
      ASSERT_LT(runner.steps, 2 * 4 * kWindow);
    }
    EXPECT_EQ(hurried.positions(), smooth.positions());
    // The same reference; pages were lowered between other steps.
    EXPECT_NEAR(hurried.figures().ppl_reference, smooth.figures().ppl_reference, 1e-9 * smooth.figures().ppl_reference);
    EXPECT_NEAR(hurried.figures().kld_mean, smooth.figures().kld_mean, 0.5 * smooth.figures().kld_mean);
  }
  HurriedRunner never(*loaded_->model, 1);
  Evaluation starved = evaluation();
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(starved.step(never, calm, {}).has_value());
}

TEST(PortionTest, ShrinksWhenStepsAreGivenUpInARowAndGrowsWhenManyEnd) {
  const Status ok, stop = Error{ErrorCode::kCancelled, "later"}, broken = Error{ErrorCode::kInternal, "broken"};
  Portion portion;
  const auto after = [&](const Status& status, int times) {
    for (int i = 0; i < times; ++i) portion.ended(status);
    return portion.tokens();
  };
  EXPECT_EQ(after(stop, 2), kv::kPageTokens);
  EXPECT_EQ(after(ok, 1), kv::kPageTokens);
  EXPECT_EQ(after(stop, 2), kv::kPageTokens);
  EXPECT_EQ(after(stop, 1), kv::kPageTokens / 2);
  EXPECT_EQ(after(stop, 300), Portion::kTokensMin);
  EXPECT_EQ(after(ok, Portion::kEndedMin), 2 * Portion::kTokensMin);
  EXPECT_EQ(after(broken, 300), 2 * Portion::kTokensMin);
  EXPECT_EQ(after(ok, 1000), kv::kPageTokens);
}

TEST_F(EvaluationTest, AnExactCheckComparesWhatWasSaidWithWhatSixteenBitsSay) {
  constexpr int kPrompt = 200, kAll = 330;
  const std::span<const TokenId> tokens = std::span(tokens_).first(kAll);
  kv::SequenceCache plain = loaded_->model->make_sequence();
  const auto expected = loaded_->compute(plain, tokens, 24);
  kv::SequenceCache lowered = loaded_->model->make_sequence();
  lowered.set_policy(kLevels);
  const auto used = loaded_->compute(lowered, tokens, 1);
  const auto nll = [](const std::vector<float>& logits, TokenId token) {
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    return std::log(sum) - static_cast<double>(logits[static_cast<size_t>(token)]);
  };
  engine::AnswerSample sample;
  sample.rows_max = 4;
  double difference = 0;
  for (int i = kPrompt; i < kAll; ++i) {
    const auto before = static_cast<size_t>(i - 1);
    const TokenId token = tokens[static_cast<size_t>(i)];
    sample.add(i, static_cast<float>(nll(used[before], token)), used[before], 0);
    difference += nll(used[before], token) - nll(expected[before], token);
  }
  sample.tokens.assign(tokens.begin(), tokens.end());
  ASSERT_EQ(sample.rows.size(), 3u);  // 130 tokens, four rows at most: one each 64.
  double kld = 0;
  for (const auto& row : sample.rows) {
    kld += kl_divergence(loaded_->model->kernels().log_sum_exp, expected[static_cast<size_t>(row.position - 1)],
                         row.logits);
  }
  plain.truncate(0);
  ExactCheck check(sample, loaded_->model->kernels().log_sum_exp, loaded_->model->config().vocabulary);
  Watch hasty(7);
  for (int i = 0; !check.done(); ++i) {
    (void)check.step(*runner_, hasty, {});
    if (i == 6) check.release_pages();
    ASSERT_LT(i, 1000);
  }
  EXPECT_EQ(check.sums().tokens, kAll - kPrompt);
  EXPECT_EQ(check.sums().rows, 3);
  EXPECT_NEAR(check.sums().difference, difference, 1e-3);
  EXPECT_GT(std::abs(difference), 0.01);
  EXPECT_NEAR(check.sums().kld, kld, 1e-6);
  const ExactFigures figures = exact_figures(check.sums());
  EXPECT_NEAR(figures.own_delta_ppl, figures.ppl_reference * (std::exp(difference / (kAll - kPrompt)) - 1),
              1e-3 * figures.ppl_reference);
  EXPECT_GT(figures.own_delta_ppl_stderr, 0);
  EXPECT_NEAR(figures.delta_ppl, figures.ppl_reference * (std::exp(kld / 3) - 1), 1e-6);
  EXPECT_GT(figures.delta_ppl_stderr, 0);
}

// An engine that measures while it has nothing else to do.
class QualityWorkTest : public EvaluationTest {
 protected:
  void start_engine(const kv::LevelPolicy& levels, double share) {
    text_of_it_ = {.name = "letters", .tokens = tokens_, .window = kWindow, .bos = tokenizer_->bos()};
    loaded_->model->set_levels(levels);
    work_.emplace(text_of_it_, loaded_->model->kernels().log_sum_exp, tokenizer_->vocabulary_size());
    work_->set_exact_share(share);
    engine_ = engine::Engine::start(engine::make_model_runner(*loaded_->model), *tokenizer_,
                                    {.running_max = 2, .likelihood_share = 1}, clock_, {.idle = &*work_})
                  .value();
  }
  engine::Answer answer(int tokens) {
    engine::Request request{.prompt = {tokens_.begin(), tokens_.begin() + 100},
                            .options = {.tokens_max = tokens, .ignore_end_tokens = true},
                            .sampling = {.temperature = 0},
                            .limits = {Deadline::never()}};
    const auto submitted = engine_->submit(std::move(request));
    EXPECT_TRUE(submitted.status.has_value());
    return engine::read_answer(**submitted.handle, {clock_, Deadline::never(), {}});
  }
  template <class Done>
  void wait_for(Done done) {
    while (!done()) std::this_thread::yield();
  }

  const os::SystemClock clock_;
  EvaluationText text_of_it_;
  std::optional<QualityWork> work_;
  std::unique_ptr<engine::Engine> engine_;
};

TEST_F(QualityWorkTest, AnEvaluationBesideRequestsFindsWhatOneAloneFinds) {
  Evaluation alone = evaluation();
  Watch calm;
  while (!alone.done()) ASSERT_TRUE(alone.step(*runner_, calm, {}).has_value());
  start_engine(kLevels, 0);
  ASSERT_TRUE(work_->start(2).has_value());
  engine_->wake();
  EXPECT_TRUE(work_->is_wanted());
  EXPECT_EQ(work_->start(1).error().code, ErrorCode::kBusy);
  const auto first = answer(20).tokens;
  wait_for([&] { return work_->progress().state == EvaluationState::kDone; });
  EXPECT_EQ(answer(20).tokens.size(), first.size());
  const EvaluationProgress progress = work_->progress();
  EXPECT_EQ(progress.windows_done, 2);
  EXPECT_EQ(progress.levels.mode, kv::KvMode::kQ4);
  expect_same(progress.figures, alone.figures());
  wait_for([&] { return work_->start(2).has_value(); });
  work_->cancel();
  engine_->wake();
  wait_for([&] { return work_->progress().number == 2 && work_->progress().state != EvaluationState::kRunning; });
  EXPECT_EQ(work_->start(3).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(QualityWorkTest, AnswersAreCheckedInIdleTimeAndSixteenBitsCostNothing) {
  start_engine({}, 1);
  (void)answer(60);
  wait_for([&] { return work_->exact().checks == 1; });
  EXPECT_EQ(work_->exact().sums.tokens, 60);
  EXPECT_EQ(work_->exact().sums.rows, 8);
  EXPECT_NEAR(work_->exact().sums.difference, 0, 1e-4);  // Kept in floats.
  EXPECT_EQ(work_->exact().sums.same_top, 8);
  engine_->change_levels(kLevels);
  (void)answer(200);
  wait_for([&] { return work_->exact().checks == 1 && work_->exact().sums.tokens == 200; });
  EXPECT_GT(work_->exact().sums.kld, 0);
}

}  // namespace
}  // namespace infer::quality
