#include "quality/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "base/rng.h"
#include "testing/byte_tokenizer.h"
#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"
#include "testing/plain_llama.h"

namespace infer::quality {
namespace {

class Perplexity : public ::testing::Test {
 protected:
  void load(const model::ModelOptions& options) {
    loaded_ =
        testing::load_random({.vocabulary = testing::kByteTokens}, *testing::machine_kernels().front(), 2, options);
  }
  Result<PerplexityResult> measure(const PerplexityOptions& options) {
    return measure_perplexity(*loaded_->model, *tokenizer_, text_, options, loaded_->call(), nullptr);
  }
  void SetUp() override {
    Rng rng(2);
    for (int i = 0; i < 230; ++i) text_ += static_cast<char>('a' + rng.below(26));
    load({.context = 64, .logits_per_step = 16});
  }

  std::string text_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_ = testing::make_byte_tokenizer(true);
  std::unique_ptr<testing::LoadedModel> loaded_;
};

TEST_F(Perplexity, ScoresTheSecondHalfOfEachWindow) {
  const auto result = measure({.context = 50});
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(result->tokens_total, 231);  // With BOS.
  EXPECT_EQ(result->chunks, 4);
  EXPECT_EQ(result->tokens_scored, 4 * 24);

  const testing::PlainLlama plain(*loaded_->file);
  std::vector<TokenId> tokens = tokenizer_->encode(text_, {});
  double sum = 0, squares = 0;
  for (size_t start = 0; start + 50 <= tokens.size(); start += 50) {
    tokens[start] = tokenizer_->bos();
    const std::span<const TokenId> window = std::span(tokens).subspan(start, 50);
    const auto logits = plain.logits(window);
    for (size_t j = 25; j < 49; ++j) {
      double total = 0;
      for (const double logit : logits[j]) total += std::exp(logit);
      const double nll = std::log(total) - logits[j][static_cast<size_t>(window[j + 1])];
      sum += nll;
      squares += nll * nll;
    }
  }
  const double mean = sum / 96, expected = std::exp(mean);
  EXPECT_NEAR(result->ppl / expected, 1, 1e-3);
  EXPECT_NEAR(result->ppl_stderr / (std::sqrt((squares / 96 - mean * mean) / 95) * expected), 1, 1e-3);
}

TEST_F(Perplexity, DoesNotDependOnStepSizes) {
  const auto expected = measure({.context = 64});
  ASSERT_TRUE(expected.has_value());
  for (const auto& [tokens, logits] : {std::pair{512, 1}, {7, 3}, {1, 1}, {64, 64}}) {
    load({.context = 64, .tokens_per_step = tokens, .logits_per_step = logits});
    const auto result = measure({.context = 64});
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->ppl, expected->ppl);
    EXPECT_EQ(result->ppl_stderr, expected->ppl_stderr);
  }
}

TEST_F(Perplexity, ComparesLoweredPagesWith16Bits) {
  for (int i = 0; i < 1000; ++i) text_ += static_cast<char>('a' + (i * i / 3) % 26);
  const PerplexityOptions compared{.context = 500, .tokens_per_step = 64, .divergence = true};
  double before = 0;
  for (const kv::KvMode mode : {kv::KvMode::kF16, kv::KvMode::kQ8, kv::KvMode::kQ4}) {
    load({.context = 500, .sequences = 2, .logits_per_step = 64, .levels = {.mode = mode}});
    const auto result = measure(compared);
    ASSERT_TRUE(result.has_value()) << result.error().message;
    ASSERT_TRUE(result->divergence.has_value());
    EXPECT_NEAR(result->divergence->ppl_reference + result->divergence->delta_ppl, result->ppl, 1e-6 * result->ppl);
    if (mode == kv::KvMode::kF16) {
      EXPECT_EQ(result->divergence->kld_max, 0.0);
      EXPECT_EQ(result->divergence->same_top, 1.0);
      EXPECT_GT(result->kv_bytes, result->kv_bytes_f16) << "Scales come on top.";
    } else {
      EXPECT_GT(result->divergence->kld_mean, before);
      EXPECT_LT(result->divergence->kld_mean, 0.01);
      EXPECT_LT(result->kv_bytes, result->kv_bytes_f16);
      before = result->divergence->kld_mean;
    }
  }
}

TEST_F(Perplexity, MeasuresAsManyWindowsAsAskedForAndReportsEach) {
  std::vector<int> done;
  double last = 0;
  const auto result = measure_perplexity(*loaded_->model, *tokenizer_, text_, {.context = 50, .chunks = 2},
                                         loaded_->call(), [&](int chunk, int chunks, double ppl) {
                                           done.push_back(chunk);
                                           EXPECT_EQ(chunks, 2);
                                           last = ppl;
                                         });
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(done, (std::vector{1, 2}));
  EXPECT_EQ(last, result->ppl);
  EXPECT_EQ(measure({.context = 50, .chunks = 100})->chunks, 4);
}

TEST_F(Perplexity, RefusesWhatCannotBeMeasured) {
  const auto refused = [&](const PerplexityOptions& options, std::string_view part) {
    const auto result = measure(options);
    ASSERT_FALSE(result.has_value()) << part;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  };
  refused({.context = 65}, "64");
  refused({.context = 3}, "3");
  refused({.context = 50, .chunks = 0}, "0");
  refused({.context = 50, .chunks = -2}, "-2");
  text_ = "short";
  refused({.context = 50}, "6 tokens");
}

TEST_F(Perplexity, StopsWhenAskedTo) {
  CancelSource source;
  const CallContext call{loaded_->clock, Deadline::never(), source.token()};
  const auto result = measure_perplexity(*loaded_->model, *tokenizer_, text_, {.context = 50}, call,
                                         [&](int, int, double) { source.cancel(CancelReason::kUser); });
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(loaded_->model->page_pool().taken_pages(), 0);
}

}  // namespace
}  // namespace infer::quality
