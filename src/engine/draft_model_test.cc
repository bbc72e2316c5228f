#include "engine/draft_model.h"

#include <gtest/gtest.h>

#include "testing/byte_tokenizer.h"
#include "testing/hooked_runner.h"
#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"
#include "testing/test_clock.h"
#include "tokenizer/handmade_vocabulary.h"

namespace infer::engine {
namespace {

class Onlooker final : public model::StepWatch {
 public:
  Status look() override {
    if (looks_left-- > 0) return {};
    return Error{ErrorCode::kCancelled, "enough"};
  }
  int looks_left = 1 << 30;
};

// A small random model whose passes take 2 ms and 10 us a token, and whose context has 384 tokens.
class DraftModelTest : public ::testing::Test {
 protected:
  void SetUp() override { start(2); }
  void start(int sequences) {
    draft_.reset();
    loaded_ = testing::load_random({.vocabulary = testing::kByteTokens, .seed = 6}, *testing::machine_kernels().front(),
                                   1, {.context = 384, .sequences = sequences, .logits_per_step = 4});
    auto runner = std::make_unique<testing::HookedRunner>(*loaded_->model);
    runner->before_step = [this](const model::StepBatch& batch) {
      int tokens = 0;
      for (const model::SequenceSlice& slice : batch.slices) tokens += static_cast<int>(slice.tokens.size());
      computed_ += tokens;
      clock_.advance(Duration::from_us(2000 + 10 * tokens));
    };
    draft_.emplace(std::move(runner), testing::kByteTokens, clock_);
    Rng rng(99);
    const std::vector<TokenId> text = random_text(rng, 40);
    DraftSequence sequence;
    ASSERT_TRUE(read_all(sequence, text));  // Its speed is known from here on.
    computed_ = 0;
  }
  static std::vector<TokenId> random_text(Rng& rng, size_t tokens) {
    std::vector<TokenId> text;
    while (text.size() < tokens) text.push_back(static_cast<TokenId>(rng.below(255)));
    return text;
  }
  bool read_all(DraftSequence& sequence, const std::vector<TokenId>& text) {
    while (true) {
      const Result<bool> read = draft_->read(sequence, text, Duration::from_ms(4), watch_);
      if (!read || !*read) return draft_->lag(sequence, text).has_value();
    }
  }
  std::vector<TokenId> guess(DraftSequence& sequence, const std::vector<TokenId>& text, int most, double least = 0) {
    std::vector<TokenId> draft;
    DraftJob job = make_job(sequence, text, most, draft);
    job.least = least;
    EXPECT_TRUE(draft_->draft({&job, 1}, watch_).has_value());
    EXPECT_TRUE(most == 0 || job.seconds > 0);
    return draft;
  }
  DraftJob make_job(DraftSequence& sequence, std::span<const TokenId> text, int most, std::vector<TokenId>& draft) {
    return {.sequence = &sequence,
            .text = text,
            .most = most,
            .least = 0,
            .share = 0,
            .trust = &trust_,
            .draft = &draft,
            .probabilities = &probabilities_};
  }
  // What the model alone goes on with, greedily, when it sees the text from `begin` on.
  std::vector<TokenId> continuation(const std::vector<TokenId>& text, size_t begin, size_t tokens) {
    const auto other =
        testing::load_random({.vocabulary = testing::kByteTokens, .seed = 6}, *testing::machine_kernels().front(), 1,
                             {.context = 512, .logits_per_step = 512});
    kv::SequenceCache cache = other->model->make_sequence();
    std::vector<TokenId> seen(text.begin() + static_cast<std::ptrdiff_t>(begin), text.end()), result;
    while (result.size() < tokens) {
      const std::vector<float> logits = other->compute(cache, seen, 512).back();
      seen = {static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin())};
      result.push_back(seen.front());
    }
    return result;
  }

  testing::TestClock clock_;
  Onlooker watch_;
  std::unique_ptr<testing::LoadedModel> loaded_;
  std::optional<DraftModel> draft_;
  GuessTrust trust_;
  std::vector<float> probabilities_;
  int computed_ = 0;
};

TEST_F(DraftModelTest, GuessesWhatTheSmallModelSaysAlone) {
  Rng rng(1);
  const std::vector<TokenId> text = random_text(rng, 200);
  DraftSequence sequence;
  EXPECT_FALSE(draft_->lag(sequence, text).has_value());
  ASSERT_TRUE(read_all(sequence, text));
  EXPECT_EQ(sequence.begin(), 0u);
  EXPECT_EQ(guess(sequence, text, 8), continuation(text, 0, 8));
  EXPECT_EQ(computed_, 200 + 7);
}

// Whatever of the guesses comes true, and however the text goes on: later guesses are those of a fresh sequence.
TEST_F(DraftModelTest, StaysInStepWithItsText) {
  testing::for_each_case(10, [this](Rng& rng) {
    std::vector<TokenId> text = random_text(rng, 1 + rng.below(120));
    DraftSequence sequence;
    for (int round = 0; round < 8; ++round) {
      while (!draft_->lag(sequence, text)) ASSERT_TRUE(*draft_->read(sequence, text, Duration::from_ms(4), watch_));
      draft_->budget().add_gain(1);
      const int most = static_cast<int>(rng.below(10));
      const std::vector<TokenId> guesses = guess(sequence, text, most);
      ASSERT_EQ(guesses, continuation(text, 0, static_cast<size_t>(most)));
      const size_t right = guesses.empty() ? 0 : rng.below(static_cast<uint32_t>(guesses.size() + 1));
      text.insert(text.end(), guesses.begin(), guesses.begin() + static_cast<std::ptrdiff_t>(right));
      for (uint32_t more = rng.below(40); more > 0; --more) text.push_back(static_cast<TokenId>(rng.below(255)));
      if (text.size() > 300) break;
    }
    EXPECT_TRUE(loaded_->model->page_pool().check_integrity());
  });
}

TEST_F(DraftModelTest, SeveralAnswersAreGuessedTogether) {
  Rng rng(3);
  const std::vector<TokenId> texts[] = {random_text(rng, 40), random_text(rng, 90)};
  DraftSequence sequences[2];
  ASSERT_TRUE(read_all(sequences[0], texts[0]));
  ASSERT_TRUE(read_all(sequences[1], texts[1]));
  std::vector<TokenId> drafts[2];
  std::vector<float> probabilities;
  DraftJob jobs[] = {make_job(sequences[0], texts[0], 3, drafts[0]), make_job(sequences[1], texts[1], 6, drafts[1])};
  jobs[0].probabilities = &probabilities;
  const Instant start = clock_.now();
  const int missing = *draft_->lag(sequences[0], texts[0]) + *draft_->lag(sequences[1], texts[1]);
  ASSERT_TRUE(draft_->draft(jobs, watch_).has_value());
  EXPECT_EQ(drafts[0], continuation(texts[0], 0, 3));
  EXPECT_EQ(drafts[1], continuation(texts[1], 0, 6));
  EXPECT_EQ((clock_.now() - start).ns(), Duration::from_us(6 * 2000 + 10 * (missing + 7)).ns());
  EXPECT_NEAR(jobs[0].seconds + jobs[1].seconds, (clock_.now() - start).seconds(), 1e-9);
  EXPECT_GT(jobs[1].seconds, jobs[0].seconds);
}

TEST_F(DraftModelTest, ADraftEndsBeforeItGetsUnlikely) {
  Rng rng(4);
  const std::vector<TokenId> text = random_text(rng, 60);
  DraftSequence sequence;
  ASSERT_TRUE(read_all(sequence, text));
  EXPECT_TRUE(guess(sequence, text, 8, 1.01).empty());
  const std::vector<TokenId> all = guess(sequence, text, 8, 0);
  size_t length = all.size();
  for (const double least : {1e-4, 1e-2, 0.1, 0.5, 0.9}) {
    const std::vector<TokenId> some = guess(sequence, text, 8, least);
    EXPECT_LE(some.size(), length);
    EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin()));
    length = some.size();
  }
}

TEST_F(DraftModelTest, ADraftIsAsLongAsGuessesHaveBeenRight) {
  Rng rng(4);
  const std::vector<TokenId> text = random_text(rng, 60);
  DraftSequence sequence;
  ASSERT_TRUE(read_all(sequence, text));
  (void)guess(sequence, text, 3);
  ASSERT_EQ(probabilities_.size(), 3u);
  const std::vector<float> all = probabilities_;
  for (const bool right : {true, false}) {
    for (int i = 0; i < 200; ++i) trust_.observe(all[static_cast<size_t>(i) % 3], right);
    EXPECT_EQ(guess(sequence, text, 3, 0.1).size(), right ? 3u : 0u);
    EXPECT_EQ(probabilities_.size(), right ? 3u : 0u);
  }
}

TEST_F(DraftModelTest, ADraftEndsBeforeTooFewOfItAreExpectedToBeRight) {
  Rng rng(4);
  const std::vector<TokenId> text = random_text(rng, 60);
  DraftSequence sequence;
  ASSERT_TRUE(read_all(sequence, text));
  std::vector<TokenId> draft;
  DraftJob job = make_job(sequence, text, 8, draft);
  for (int i = 0; i < 200; ++i) trust_.observe(0.1, i % 2 == 0);
  size_t length = 8;
  for (const double share : {0.0, 0.2, 0.5, 0.8, 1.0}) {
    job.share = share;
    ASSERT_TRUE(draft_->draft({&job, 1}, watch_).has_value());
    double chance = 1, right = 0;
    for (const float probability : probabilities_) right += chance *= trust_.chance(static_cast<double>(probability));
    EXPECT_GE(right, share * static_cast<double>(draft.size()));
    EXPECT_LE(draft.size(), length);
    length = draft.size();
  }
  EXPECT_LT(length, 8u);
}

TEST_F(DraftModelTest, OfALongTextOnlyTheEndIsRead) {
  Rng rng(5);
  std::vector<TokenId> text = random_text(rng, 1000);
  DraftSequence sequence;
  ASSERT_TRUE(read_all(sequence, text));
  ASSERT_TRUE(sequence.begin().has_value());
  const size_t begin = *sequence.begin();
  EXPECT_EQ(begin, text.size() - (384 * 3 / 4 - 64));
  EXPECT_EQ(guess(sequence, text, 5), continuation(text, begin, 5));
  // And anew where it has no room any more.
  for (int i = 0; i < 300; ++i) {
    if (!draft_->lag(sequence, text)) {
      ASSERT_TRUE(read_all(sequence, text));
    }
    const std::vector<TokenId> next = guess(sequence, text, 1);
    ASSERT_EQ(next.size(), 1u);
    text.push_back(next.front());
  }
  EXPECT_GT(*sequence.begin(), begin);
  EXPECT_EQ(guess(sequence, text, 5), continuation(text, *sequence.begin(), 5));
}

TEST_F(DraftModelTest, ReadsNoMoreThanTheBudgetAllows) {
  Rng rng(6);
  const std::vector<TokenId> first = random_text(rng, 100), text = random_text(rng, 200);
  DraftSequence sequence;
  ASSERT_TRUE(read_all(sequence, first));
  sequence.release();
  draft_->budget().spend(draft_->budget().left());
  EXPECT_FALSE(*draft_->read(sequence, text, Duration::from_ms(4), watch_));
  draft_->budget().add_gain(0.0025);  // About a hundred tokens.
  ASSERT_TRUE(read_all(sequence, text));
  EXPECT_GT(*sequence.begin(), 0u);
  EXPECT_LT(*sequence.begin(), text.size() - 32);
  EXPECT_EQ(guess(sequence, text, 4), continuation(text, *sequence.begin(), 4));
  // All of it, where that can be paid.
  draft_->budget().add_gain(1);
  ASSERT_TRUE(read_all(sequence, text));
  EXPECT_EQ(sequence.begin(), 0u);
  EXPECT_EQ(guess(sequence, text, 4), continuation(text, 0, 4));
}

TEST_F(DraftModelTest, AStoppedPassChangesNothing) {
  Rng rng(7);
  const std::vector<TokenId> text = random_text(rng, 80);
  DraftSequence sequence;
  ASSERT_TRUE(read_all(sequence, text));
  std::vector<TokenId> draft;
  DraftJob job = make_job(sequence, text, 6, draft);
  for (const int looks : {0, 1, 4, 7}) {
    watch_.looks_left = looks;
    const Status status = draft_->draft({&job, 1}, watch_);
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::kCancelled);
    watch_.looks_left = 1 << 30;
    EXPECT_EQ(guess(sequence, text, 6), continuation(text, 0, 6));
  }
  EXPECT_TRUE(draft_->usable());
}

TEST_F(DraftModelTest, FailuresCostDraftsAndThenTheModel) {
  start(1);  // Pages for one.
  Rng rng(8);
  const std::vector<TokenId> texts[] = {random_text(rng, 220), random_text(rng, 220), random_text(rng, 220)};
  DraftSequence sequences[3];
  ASSERT_TRUE(read_all(sequences[0], texts[0]));
  EXPECT_FALSE(read_all(sequences[1], texts[1]));
  EXPECT_EQ(draft_->snapshot().failures, 1u);
  EXPECT_TRUE(draft_->usable());
  EXPECT_EQ(guess(sequences[0], texts[0], 3).size(), 3u);
  sequences[0].release();
  EXPECT_TRUE(read_all(sequences[1], texts[1]));
  for (int i = 0; i < DraftModel::kFailuresMax; ++i) EXPECT_FALSE(read_all(sequences[2], texts[2]));
  EXPECT_FALSE(draft_->usable());
  EXPECT_FALSE(draft_->lag(sequences[1], texts[1]).has_value());
}

TEST(CheckDraftVocabulary, TellsWhatDiffers) {
  const auto make = [](int extra, const std::string& word, bool ends) {
    tokenizer::HandmadeVocabulary vocabulary;
    vocabulary.start_byte_level();
    vocabulary.add(word, tokenizer::TokenKind::kNormal);
    const TokenId eos = vocabulary.add("<eos>", tokenizer::TokenKind::kControl);
    if (ends) vocabulary.data().eos = eos;
    for (int i = 0; i < extra; ++i) vocabulary.add("<pad" + std::to_string(i) + ">", tokenizer::TokenKind::kUnused);
    NullLog log;
    return tokenizer::make_tokenizer(vocabulary.data(), log).value();
  };
  const auto target = make(0, "ab", true);
  EXPECT_TRUE(check_draft_vocabulary(*target, *make(0, "ab", true)).has_value());
  EXPECT_TRUE(check_draft_vocabulary(*target, *make(100, "ab", true)).has_value());
  EXPECT_TRUE(check_draft_vocabulary(*make(100, "ab", true), *target).has_value());
  const auto complaint = [&](const tokenizer::Tokenizer& draft) {
    const Status status = check_draft_vocabulary(*target, draft);
    return status ? std::string() : status.error().message;
  };
  EXPECT_EQ(complaint(*make(200, "ab", true)),
            "the draft model has a vocabulary of 458 tokens, the model one of 258: only models of one family can draft "
            "for each other; choose a draft model with the same vocabulary");
  EXPECT_EQ(complaint(*make(0, "cd", true)),
            "the draft model means other texts by its tokens than the model: 1 of 258 differ, the first is 256, \"cd\" "
            "there and \"ab\" here; choose a draft model with the same vocabulary");
  EXPECT_NE(complaint(*make(0, "ab", false)), "");
}

}  // namespace
}  // namespace infer::engine
