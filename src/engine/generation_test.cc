#include "engine/generation.h"

#include <gtest/gtest.h>

#include "testing/byte_tokenizer.h"
#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"

namespace infer::engine {
namespace {

constexpr sampling::SamplingParams kGreedy{.temperature = 0};

class Generation : public ::testing::Test {
 protected:
  void load(const model::ModelOptions& options, uint64_t seed = 4) {
    conversation_.reset();  // Before the model that it borrows.
    loaded_ = testing::load_random({.vocabulary = testing::kByteTokens, .seed = seed},
                                   *testing::machine_kernels().front(), 2, options);
    conversation_ = start(kGreedy);
  }
  std::unique_ptr<Conversation> start(const sampling::SamplingParams& params) {
    return Conversation::make(*loaded_->model, *tokenizer_, params).value();
  }
  std::vector<TokenId> encode(std::string_view text) { return tokenizer_->encode(text, {.add_special = false}); }
  GenerationResult generate(Conversation& conversation, std::string_view prompt, const GenerationOptions& options) {
    auto result = conversation.generate(encode(prompt), options, loaded_->call(), {});
    EXPECT_TRUE(result.has_value()) << result.error().message;
    return result ? *std::move(result) : GenerationResult{};
  }
  void SetUp() override { load({.context = 256}); }

  std::unique_ptr<tokenizer::Tokenizer> tokenizer_ = testing::make_byte_tokenizer(false);
  std::unique_ptr<testing::LoadedModel> loaded_;
  std::unique_ptr<Conversation> conversation_;
};

// Answers go on whatever the random model says.
GenerationOptions exactly(int tokens) { return {.tokens_max = tokens, .ignore_end_tokens = true, .stops = {}}; }

TEST_F(Generation, GivesAsManyTokensAsAskedFor) {
  for (const int count : {0, 1, 20}) {
    conversation_->clear();
    const GenerationResult result = generate(*conversation_, "once", exactly(count));
    EXPECT_EQ(result.generated_tokens(), count);
    EXPECT_EQ(result.finish_reason, FinishReason::kLength);
    EXPECT_EQ(result.prompt_tokens, 4);
    EXPECT_EQ(result.kv_bytes, loaded_->model->page_pool().shape().page_bytes(kv::Level::k16) * 2);
    EXPECT_EQ(conversation_->length(), 4 + count);
  }
}

TEST_F(Generation, ChoosesTheGreatestLogitEachTime) {
  const GenerationResult result = generate(*conversation_, "once upon", exactly(12));
  std::vector<TokenId> tokens = encode("once upon");
  kv::SequenceCache cache = loaded_->model->make_sequence();
  for (const TokenId chosen : result.tokens) {
    cache.truncate(0);
    const auto logits = loaded_->compute(cache, tokens, 1).back();
    EXPECT_EQ(std::max_element(logits.begin(), logits.end()) - logits.begin(), chosen);
    tokens.push_back(chosen);
  }
}

TEST_F(Generation, DoesNotDependOnHowThePromptIsSplit) {
  const std::string prompt(150, 'x');
  const GenerationResult expected = generate(*conversation_, prompt, exactly(30));
  for (const int step : {1, 7, 64}) {
    load({.context = 256, .tokens_per_step = step});
    int done_before = 0, calls = 0;
    const GenerationObserver observer{.on_prefill =
                                          [&](int done, int total) {
                                            EXPECT_EQ(total, 150);
                                            EXPECT_EQ(done - done_before, std::min(step, 150 - done_before));
                                            done_before = done;
                                            ++calls;
                                          },
                                      .on_text = nullptr};
    const auto result = conversation_->generate(encode(prompt), exactly(30), loaded_->call(), observer);
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->tokens, expected.tokens);
    EXPECT_EQ(calls, (149 + step) / step);
  }
}

TEST_F(Generation, ASecondTurnContinuesTheFirst) {
  const GenerationResult first = generate(*conversation_, "one", exactly(10));
  const GenerationResult second = generate(*conversation_, "two", exactly(10));
  EXPECT_EQ(conversation_->length(), 26);
  std::vector<TokenId> whole = encode("one");
  whole.insert(whole.end(), first.tokens.begin(), first.tokens.end());
  for (const TokenId token : encode("two")) whole.push_back(token);
  const auto fresh = start(kGreedy);
  const auto at_once = fresh->generate(whole, exactly(10), loaded_->call(), {});
  ASSERT_TRUE(at_once.has_value());
  EXPECT_EQ(at_once->tokens, second.tokens);
}

TEST_F(Generation, ClearForgetsEverythingAndRepeatsTheSeed) {
  const auto conversation = start({.temperature = 1.5f, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 9});
  const GenerationResult first = generate(*conversation, "again", exactly(30));
  conversation->clear();
  EXPECT_EQ(conversation->length(), 0);
  EXPECT_EQ(loaded_->model->page_pool().taken_pages(), 0);
  EXPECT_EQ(generate(*conversation, "again", exactly(30)).tokens, first.tokens);
}

TEST_F(Generation, TextIsWholeCharactersAndAddsUp) {
  std::string streamed;
  const auto conversation = start({.temperature = 2.0f, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 3});
  const GenerationObserver observer{.on_prefill = nullptr, .on_text = [&](std::string_view text) {
                                      EXPECT_FALSE(text.empty());
                                      EXPECT_NE(static_cast<unsigned char>(text.front()) & 0xC0, 0x80);
                                      streamed += text;
                                    }};
  const auto result = conversation->generate(encode("bytes"), exactly(200), loaded_->call(), observer);
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->text, streamed);
  EXPECT_NE(streamed.find("\xEF\xBF\xBD"), std::string::npos);  // Random bytes are mostly not UTF-8.
}

TEST_F(Generation, StopsBeforeAStopString) {
  const GenerationResult whole = generate(*conversation_, "stop", exactly(60));
  const std::string stop = whole.text.substr(whole.text.size() / 2, 3);
  ASSERT_EQ(stop.size(), 3u);
  conversation_->clear();
  GenerationOptions options = exactly(60);
  options.stops = {"\x01never", stop};
  std::string streamed;
  const GenerationObserver observer{.on_prefill = nullptr, .on_text = [&](std::string_view text) { streamed += text; }};
  const auto result = conversation_->generate(encode("stop"), options, loaded_->call(), observer);
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->finish_reason, FinishReason::kStop);
  EXPECT_EQ(result->text, whole.text.substr(0, whole.text.find(stop)));
  EXPECT_EQ(streamed, result->text);
}

TEST_F(Generation, EndsWithTheContext) {
  const GenerationResult result = generate(*conversation_, std::string(250, 'y'), exactly(-1));
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  EXPECT_EQ(result.generated_tokens(), 7);  // The last one needs no room.
  EXPECT_EQ(result.context_tokens, 256);
}

TEST_F(Generation, StopsAtAnEndOfGenerationToken) {
  // Some random model says EOS within its first tokens when sampling is wide open.
  int ended = 0;
  for (uint64_t seed = 0; seed < 40 && ended == 0; ++seed) {
    const auto conversation = start({.temperature = 100.0f, .top_k = 0, .top_p = 1, .min_p = 0, .seed = seed});
    const GenerationResult result = generate(*conversation, "end", {.tokens_max = 100, .stops = {}});
    if (result.finish_reason != FinishReason::kStop) continue;
    ++ended;
    EXPECT_LT(result.generated_tokens(), 100);
    EXPECT_EQ(std::count(result.tokens.begin(), result.tokens.end(), tokenizer_->eos()), 0);
  }
  EXPECT_EQ(ended, 1);
}

TEST_F(Generation, RefusesWhatCannotBeDone) {
  const auto refused = [&](std::span<const TokenId> prompt, const GenerationOptions& options, std::string_view part) {
    const auto result = conversation_->generate(prompt, options, loaded_->call(), {});
    ASSERT_FALSE(result.has_value()) << part;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
    EXPECT_EQ(conversation_->length(), 0);
  };
  refused({}, {}, "prompt");
  refused(encode(std::string(257, 'z')), {}, "257");
  refused(std::vector<TokenId>{1, 258, 2}, {}, "token 258");
  refused(std::vector<TokenId>{-5}, {}, "token -5");
  refused(encode("a"), {.tokens_max = -2, .stops = {}}, "-2");
  refused(encode("a"), {.stops = {""}}, "stop");
  EXPECT_FALSE(Conversation::make(*loaded_->model, *tokenizer_, {.top_p = -1}).has_value());
}

TEST_F(Generation, RefusesATokenizerLargerThanTheModel) {
  const auto small = testing::load_random({.vocabulary = 200}, *testing::machine_kernels().front(), 1, {.context = 64});
  const auto conversation = Conversation::make(*small->model, *tokenizer_, kGreedy);
  ASSERT_FALSE(conversation.has_value());
  EXPECT_NE(conversation.error().message.find("258 tokens"), std::string::npos);
}

TEST_F(Generation, NeverChoosesEmbeddingsWithoutAToken) {
  // Models are often padded: here with 242 rows that have no text.
  conversation_.reset();
  loaded_ = testing::load_random({.vocabulary = 500}, *testing::machine_kernels().front(), 2, {.context = 256});
  const auto conversation = start({.temperature = 100.0f, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 1});
  for (const TokenId token : generate(*conversation, "pad", exactly(200)).tokens) {
    ASSERT_LT(token, testing::kByteTokens);
  }
}

TEST_F(Generation, ADeadlineKeepsWhatWasGenerated) {
  const GenerationResult whole = generate(*conversation_, "late", exactly(50));
  conversation_->clear();
  int pieces = 0;
  testing::TestClock clock;
  const GenerationObserver observer{.on_prefill = nullptr, .on_text = [&](std::string_view) {
                                      if (++pieces == 5) clock.advance(Duration::from_seconds(10));
                                    }};
  const CallContext call{clock, Deadline::at(Instant::from_ns(1'000'000'000)), {}};
  const auto result = conversation_->generate(encode("late"), exactly(50), call, observer);
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->finish_reason, FinishReason::kDeadline);
  ASSERT_GE(result->generated_tokens(), 5);
  ASSERT_LT(result->generated_tokens(), 50);
  EXPECT_TRUE(std::equal(result->tokens.begin(), result->tokens.end(), whole.tokens.begin()));
  // Going on gives what would have come.
  const auto rest = conversation_->generate({}, exactly(10), loaded_->call(), {});
  ASSERT_TRUE(rest.has_value()) << rest.error().message;
  EXPECT_TRUE(std::equal(rest->tokens.begin(), rest->tokens.end(), whole.tokens.begin() + result->generated_tokens()));
}

TEST_F(Generation, CancellationEndsATurnWithinAStep) {
  CancelSource source;
  const CallContext call{loaded_->clock, Deadline::never(), source.token()};
  const GenerationObserver observer{.on_prefill = nullptr,
                                    .on_text = [&](std::string_view) { source.cancel(CancelReason::kUser); }};
  const auto result = conversation_->generate(encode("hello"), exactly(50), call, observer);
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->finish_reason, FinishReason::kCancelled);
  EXPECT_STREQ(finish_reason_name(result->finish_reason), "cancelled");
  EXPECT_LE(result->generated_tokens(), 4);  // At most one character.
  EXPECT_FALSE(result->text.empty());

  conversation_->clear();
  const auto at_once = conversation_->generate(encode("hello"), exactly(50), call, {});
  ASSERT_TRUE(at_once.has_value());
  EXPECT_EQ(at_once->finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(at_once->generated_tokens(), 0);
}

TEST_F(Generation, MeasuresTimeToTheFirstTokenAndRates) {
  const testing::TestClock clock(Duration::from_ms(1));
  const CallContext call{clock, Deadline::never(), {}};
  const auto result = conversation_->generate(encode("time"), exactly(11), call, {});
  ASSERT_TRUE(result.has_value());
  EXPECT_GT(result->time_to_first_token, Duration());
  EXPECT_GE(result->time_to_first_token, result->prefill_time);
  EXPECT_DOUBLE_EQ(result->prefill_tokens_per_second(), 4 / result->prefill_time.seconds());
  EXPECT_DOUBLE_EQ(result->decode_tokens_per_second(), 10 / result->decode_time.seconds());
  EXPECT_EQ(GenerationResult{}.decode_tokens_per_second(), 0);
}

}  // namespace
}  // namespace infer::engine
