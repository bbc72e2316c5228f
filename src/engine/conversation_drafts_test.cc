#include "engine/conversation_drafts.h"

#include <gtest/gtest.h>

#include "engine/generation.h"
#include "testing/byte_tokenizer.h"
#include "testing/hooked_runner.h"
#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"

namespace infer::engine {
namespace {

// Each look takes a millisecond, so that steps do, and as long for one token as for many.
class TickingClock final : public Clock {
 public:
  Instant now() const override {
    clock_.advance(Duration::from_ms(1));
    return clock_.now();
  }
  WallTime wall_time() const override { return clock_.wall_time(); }

 private:
  mutable testing::TestClock clock_;
};

constexpr int kDraftMax = 15;

class ConversationDraftsTest : public ::testing::Test {
 protected:
  void SetUp() override { load({.context = 512, .sequences = 2, .logits_per_step = 1 + kDraftMax}); }
  void load(const model::ModelOptions& options) {
    loaded_ = testing::load_random({.vocabulary = testing::kByteTokens, .seed = 4}, *testing::machine_kernels().front(),
                                   2, options);
  }
  // Drafts by a model of these weights; 0: from the text alone.
  std::unique_ptr<ConversationDrafts> drafts_by(uint64_t seed) {
    std::unique_ptr<testing::HookedRunner> runner;
    if (seed != 0) {
      small_ = testing::load_random({.vocabulary = testing::kByteTokens, .seed = seed},
                                    *testing::machine_kernels().front(), 1, {.context = 384});
      runner = std::make_unique<testing::HookedRunner>(*small_->model);
      runner->before_step = [this](const model::StepBatch&) { pass_clock_.advance(Duration::from_us(50)); };
      runner->is_sure = true;
    }
    return std::make_unique<ConversationDrafts>(SpeculationLimits{.draft_max = kDraftMax}, std::move(runner),
                                                testing::kByteTokens, pass_clock_);
  }
  std::unique_ptr<Conversation> start(const sampling::SamplingParams& params, ConversationDrafts* drafts) {
    return Conversation::make(*loaded_->model, *tokenizer_, params, drafts).value();
  }
  GenerationResult generate(Conversation& conversation, std::string_view prompt, const GenerationOptions& options,
                            Deadline deadline = Deadline::never()) {
    const std::vector<TokenId> tokens = tokenizer_->encode(prompt, {.add_special = false});
    auto result = conversation.generate(tokens, options, {clock_, deadline, {}}, {});
    EXPECT_TRUE(result.has_value()) << result.error().message;
    return result ? *std::move(result) : GenerationResult{};
  }
  // The same turns with these drafts and without any; how many drafted tokens were right.
  int compare(const sampling::SamplingParams& params, ConversationDrafts& drafts, const GenerationOptions& options,
              int turns = 3) {
    const auto with = start(params, &drafts), without = start(params, nullptr);
    int accepted = 0;
    constexpr const char* kPrompts[] = {"abcabcabcabcabc", "once upon a time", "and"};
    for (const char* prompt : std::span(kPrompts).first(static_cast<size_t>(turns))) {
      const GenerationResult expected = generate(*without, prompt, options);
      const GenerationResult result = generate(*with, prompt, options);
      EXPECT_EQ(result.tokens, expected.tokens);
      EXPECT_EQ(result.text, expected.text);
      EXPECT_EQ(result.finish_reason, expected.finish_reason);
      EXPECT_EQ(with->length(), without->length());
      EXPECT_LE(result.accepted_tokens, result.drafted_tokens);
      EXPECT_LT(result.accepted_tokens, std::max(1, result.generated_tokens()));
      EXPECT_EQ(expected.drafted_tokens, 0);
      accepted += result.accepted_tokens;
    }
    return accepted;
  }

  std::unique_ptr<tokenizer::Tokenizer> tokenizer_ = testing::make_byte_tokenizer(false);
  TickingClock clock_;
  testing::TestClock pass_clock_;
  std::unique_ptr<testing::LoadedModel> loaded_, small_;
};

constexpr sampling::SamplingParams kGreedy{.temperature = 0};
GenerationOptions exactly(int tokens) { return {.tokens_max = tokens, .ignore_end_tokens = true, .stops = {}}; }

TEST_F(ConversationDraftsTest, AnswersAreTheSameWhoeverDrafts) {
  for (const uint64_t seed : {0, 4, 5}) {
    const auto drafts = drafts_by(seed);
    for (const int tokens : {0, 1, 2, 100}) {
      const int accepted = compare(kGreedy, *drafts, exactly(tokens));
      // A random model gets into a loop, and one of the same weights says the same.
      EXPECT_GT(accepted, tokens == 100 && seed != 5 ? 150 : -1) << seed;
    }
    EXPECT_GT(drafts->drafted(), 0u);
    EXPECT_LE(drafts->accepted(), drafts->drafted());
  }
}

TEST_F(ConversationDraftsTest, DrawnAnswersAreTheSame) {
  for (const uint64_t seed : {0, 4}) {
    const auto drafts = drafts_by(seed);
    for (uint64_t i = 0; i < 10; ++i) {
      compare({.temperature = 0.8f, .top_k = 3, .repeat_penalty = 1.1f, .seed = i}, *drafts, exactly(60));
    }
    EXPECT_GT(drafts->drafted(), 0u);
  }
}

TEST_F(ConversationDraftsTest, StopsAndEndsAreTheSame) {
  const auto drafts = drafts_by(4);
  const GenerationResult whole = generate(*start(kGreedy, nullptr), "abcabcabcabcabc", exactly(100));
  for (size_t at = 5; at + 2 < whole.text.size(); at += 11) {
    GenerationOptions options = exactly(100);
    options.stops = {whole.text.substr(at, 2)};
    compare(kGreedy, *drafts, options);
  }
  for (uint64_t i = 0; i < 20; ++i) {
    compare({.temperature = 100.0f, .top_k = 0, .top_p = 1, .min_p = 0, .seed = i}, *drafts,
            {.tokens_max = 40, .stops = {}});
  }
  compare(kGreedy, *drafts, exactly(-1), 1);  // Until the context is full.
}

TEST_F(ConversationDraftsTest, AnotherTextBeginsAnew) {
  const auto drafts = drafts_by(4);
  const auto conversation = start(kGreedy, drafts.get());
  const GenerationResult first = generate(*conversation, "abcabcabcabcabc", exactly(80));
  conversation->clear();
  generate(*conversation, "xyxyxyxyxyxyxyxyxyxyxyxyxyxy", exactly(80));
  conversation->clear();
  EXPECT_EQ(generate(*conversation, "abcabcabcabcabc", exactly(80)).tokens, first.tokens);
}

TEST_F(ConversationDraftsTest, ADeadlineKeepsWhatWasGenerated) {
  const GenerationResult whole = generate(*start(kGreedy, nullptr), "abcabcabcabcabc", exactly(200));
  const auto drafts = drafts_by(4);
  for (const int ms : {1, 20, 60, 100, 140}) {
    const auto conversation = start(kGreedy, drafts.get());
    const Deadline deadline = Deadline::at(clock_.now() + Duration::from_ms(ms));
    const GenerationResult part = generate(*conversation, "abcabcabcabcabc", exactly(200), deadline);
    EXPECT_EQ(part.finish_reason, FinishReason::kDeadline);
    ASSERT_LT(part.tokens.size(), whole.tokens.size());
    EXPECT_TRUE(std::equal(part.tokens.begin(), part.tokens.end(), whole.tokens.begin()));
    if (part.tokens.empty()) continue;
    // What comes then is what would have come.
    const GenerationResult rest = generate(*conversation, "", exactly(20));
    EXPECT_EQ(rest.tokens.front(), whole.tokens[part.tokens.size()]);
  }
}

// Steps that take 10 ms and half of one more for each drafted token; all drafts are right. How many tokens are drafted
// in the 40 steps behind one that other programs held up for `pause`.
int drafted_after(Duration pause) {
  testing::TestClock clock;
  ConversationDrafts drafts({.draft_max = 4}, nullptr, testing::kByteTokens, clock);
  drafts.observe_step(100, Duration::from_ms(60));  // The prompt.
  std::vector<TokenId> text;
  int drafted = 0;
  for (int step = 0; step < 80; ++step) {
    for (const TokenId token : {1, 2, 3, 4, 5}) text.push_back(token);
    const auto draft = drafts.propose(text, 4, {clock, Deadline::never(), {}}).value();
    const int tokens = static_cast<int>(draft.size());
    drafted += step > 40 ? tokens : 0;
    const Duration time = Duration::from_us(10000 + 500 * tokens);
    drafts.verified(tokens, step == 40 ? time + pause : time);
  }
  return drafted;
}

TEST(ConversationDraftsCost, AStepThatOthersHeldUpDoesNotEndDrafts) {
  EXPECT_EQ(drafted_after({}), 39 * 4);
  EXPECT_EQ(drafted_after(Duration::from_ms(100)), 39 * 4);
  EXPECT_EQ(drafted_after(Duration::from_seconds(10)), 39 * 4);
}

TEST_F(ConversationDraftsTest, NothingIsDraftedWhereThereIsNoRoom) {
  load({.context = 512, .sequences = 2, .logits_per_step = 1});
  const auto drafts = drafts_by(4);
  compare(kGreedy, *drafts, exactly(60));
  EXPECT_EQ(drafts->drafted(), 0u);
}

}  // namespace
}  // namespace infer::engine
