#include "engine/step_loop.h"

#include <gtest/gtest.h>

#include <array>

#include "base/rng.h"
#include "engine/generation.h"
#include "engine/intake.h"
#include "engine/vocabulary_trie.h"
#include "grammar/gbnf.h"
#include "os/wake_signal.h"
#include "testing/byte_tokenizer.h"
#include "testing/hooked_runner.h"
#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"
#include "testing/test_clock.h"

namespace infer::engine {
namespace {

constexpr sampling::SamplingParams kWild{.temperature = 1.5f, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 5};

// The loop on a small random model, turn by turn, on a clock that passes only by being read.
class StepLoopTest : public ::testing::Test {
 protected:
  // With a draft model of these random weights; 0: none.
  void start_with_draft(const EngineLimits& limits, uint64_t seed, const model::ModelOptions& options) {
    loop_.reset();
    small_ = testing::load_random({.vocabulary = testing::kByteTokens, .seed = seed},
                                  *testing::machine_kernels().front(), 1, options);
    auto draft = std::make_unique<testing::HookedRunner>(*small_->model);
    draft->before_step = [this](const model::StepBatch& batch) { pass_time(batch, 1000, 20); };
    draft->is_sure = true;
    draft_ = std::move(draft);
    start(limits, {});
    let_steps_take_time();
  }
  void start(const EngineLimits& limits, Duration per_reading, const kv::LevelPolicy& levels = {}) {
    intake_.reset();
    loop_.reset();
    runner_.reset();
    clock_ = std::make_unique<testing::TestClock>(per_reading);
    loaded_ = testing::load_random({.vocabulary = testing::kByteTokens, .seed = 4}, *testing::machine_kernels().front(),
                                   1, {.context = 512, .sequences = 2, .logits_per_step = 24, .levels = levels});
    runner_ = std::make_unique<testing::HookedRunner>(*loaded_->model);
    inbox_ = std::make_unique<BoundedQueue<Submission>>(static_cast<size_t>(limits.waiting_max));
    loop_ = std::make_unique<StepLoop>(*runner_, *tokenizer_, limits, *clock_, *inbox_, CancelToken(), idle_, nullptr,
                                       std::move(draft_));
    watchdog_ = std::make_unique<Watchdog>(loop_->heartbeat(), limits.watchdog, nullptr);
    intake_ = std::make_unique<Intake>(*loop_, *watchdog_, *inbox_, std::make_shared<os::WakeSignal>(),
                                       runner_->context(), tokenizer_->vocabulary_size());
  }
  Request request(std::string_view prompt, int tokens) {
    return {.prompt = tokenizer_->encode(prompt, {.add_special = false}),
            .options = {.tokens_max = tokens},
            .sampling = kWild,
            .limits = {Deadline::never()}};
  }
  // Steps take time as those of a large model do, so that drafts pay.
  void let_steps_take_time() {
    runner_->before_step = [this](const model::StepBatch& batch) { pass_time(batch, 20000, 200); };
  }
  void pass_time(const model::StepBatch& batch, int64_t step_us, int64_t token_us) {
    size_t tokens = 0;
    for (const model::SequenceSlice& slice : batch.slices) tokens += slice.tokens.size();
    clock_->advance(Duration::from_us(step_us + token_us * static_cast<int64_t>(tokens)));
  }
  // Prompts that nothing repeats itself in, drawn and greedy.
  std::vector<Request> plain_requests(int count, int tokens) {
    std::vector<Request> requests;
    Rng rng(17);
    for (int i = 0; i < count; ++i) {
      std::string prompt;
      for (uint32_t left = 1 + rng.below(200); left > 0; --left) prompt += static_cast<char>('!' + rng.below(90));
      requests.push_back(request(prompt, tokens));
      requests.back().sampling.temperature = i % 2 == 0 ? 0.0f : 0.5f;
      requests.back().sampling.seed = static_cast<uint64_t>(i);
      requests.back().options.ignore_end_tokens = true;
    }
    return requests;
  }
  const DraftCounters& drafts(DraftSource source) {
    seen_ = loop_->published();
    return seen_.counters.drafts[static_cast<size_t>(source)];
  }
  // What a conversation alone with the model says.
  std::vector<TokenId> alone(const Request& request) {
    const auto loaded = testing::load_random({.vocabulary = testing::kByteTokens, .seed = 4},
                                             *testing::machine_kernels().front(), 1, {.context = 512});
    const auto conversation = Conversation::make(*loaded->model, *tokenizer_, request.sampling).value();
    return conversation->generate(request.prompt, request.options, loaded->call(), {}).value().tokens;
  }
  // All at once, to their ends.
  std::vector<std::vector<TokenId>> answers(const std::vector<Request>& requests) {
    std::vector<RequestHandle> handles;
    for (const Request& each : requests) handles.push_back(submit(each));
    while (loop_->turn().computed) EXPECT_TRUE(loop_->check_integrity());
    std::vector<std::vector<TokenId>> all;
    for (const RequestHandle& handle : handles) {
      EXPECT_TRUE(handle->finished());
      all.emplace_back();
      while (const auto piece = handle->take()) {
        if (piece->token != kNoToken) all.back().push_back(piece->token);
      }
    }
    return all;
  }
  RequestHandle submit(Request request) {
    Submitted submitted = intake_->submit(std::move(request), clock_->now());
    EXPECT_TRUE(submitted.status.has_value()) << submitted.status.error().message;
    return *std::move(submitted.handle);
  }
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_ = testing::make_byte_tokenizer(false);
  std::unique_ptr<testing::TestClock> clock_;
  std::unique_ptr<testing::LoadedModel> loaded_, small_;
  std::unique_ptr<StepRunner> draft_;  // For the loop that is started next.
  IdleWork* idle_ = nullptr;           // Likewise.
  EngineSnapshot seen_;
  std::unique_ptr<testing::HookedRunner> runner_;
  std::unique_ptr<BoundedQueue<Submission>> inbox_;
  std::unique_ptr<StepLoop> loop_;
  std::unique_ptr<Watchdog> watchdog_;
  std::unique_ptr<Intake> intake_;
};

// Words that are read in thousands of ways: each letter takes thousands of moves to follow. Above 127, tokens are pairs
// of letters, so that finding the tokens that may come next is a walk with places to stop at.
std::shared_ptr<grammar::TokenAutomaton> ambiguous_grammar() {
  std::string gbnf = "root ::= (";
  for (char low = 'a'; low <= 'z'; ++low) {
    for (int i = 0; i < 100; ++i) gbnf += std::string(low > 'a' || i > 0 ? "| [" : "[") + low + "-z] [a-z] ";
  }
  const grammar::RootedRules made = grammar::parse_gbnf(gbnf + "){4}").value();
  const auto piece = [](TokenId token) {
    const auto letter = [](int index) { return static_cast<char>('a' + index % 26); };
    if (token < 128) return std::string(1, static_cast<char>(token));
    return token < 256 ? std::string{letter(token), letter(token / 26)} : std::string();
  };
  return std::make_shared<grammar::TokenAutomaton>(
      std::make_shared<const grammar::Grammar>(grammar::Grammar::compile(made.rules, made.root).value()),
      std::make_shared<const grammar::TokenTrie>(
          grammar::TokenTrie::build(testing::kByteTokens, piece, std::vector<TokenId>{257})));
}

// While a step computes somebody chooses other levels, and takes that back during the next.
TEST_F(StepLoopTest, LevelsThatAreChosenDuringAStepHoldFromTheNextOne) {
  start({}, Duration::from_us(1));
  const RequestHandle running = submit(request(std::string(300, 'z'), 40));
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(loop_->turn().computed);
  const auto lowered = [this] { return loop_->published().kv.pages[static_cast<size_t>(kv::Level::k4)]; };
  ASSERT_EQ(lowered(), 0);
  runner_->before_step = [this](const model::StepBatch&) {
    EXPECT_EQ(runner_->levels().mode, kv::KvMode::kF16);
    loop_->change_levels({.mode = kv::KvMode::kQ4, .recent_window = 64});
  };
  ASSERT_TRUE(loop_->turn().computed);
  EXPECT_EQ(lowered(), 0);
  runner_->before_step = [this](const model::StepBatch&) {
    EXPECT_EQ(runner_->levels().mode, kv::KvMode::kQ4);
    loop_->change_levels({.mode = kv::KvMode::kF16, .recent_window = 64});
  };
  ASSERT_TRUE(loop_->turn().computed);
  EXPECT_GT(lowered(), 0);
  runner_->before_step = nullptr;
  ASSERT_TRUE(loop_->turn().computed);
  EXPECT_EQ(runner_->levels().mode, kv::KvMode::kF16);
}

TEST_F(StepLoopTest, HalfOfTheRequestsGetTheOtherLevelsWhileTwoAreCompared) {
  start({.running_max = 4}, Duration());
  loop_->change_levels({.mode = kv::KvMode::kF16}, kv::LevelPolicy{.mode = kv::KvMode::kQ4, .recent_window = 64});
  std::array<int, 2> arms{};
  for (int i = 0; i < 40; ++i) {
    const RequestHandle handle = submit(request("one of many", 2));
    while (!handle->finished()) (void)loop_->turn();
    ASSERT_GE(handle->result().arm, 0);
    ++arms[static_cast<size_t>(handle->result().arm)];
  }
  EXPECT_GT(arms[0], 8);
  EXPECT_GT(arms[1], 8);
  // A change ends it.
  loop_->change_levels({.mode = kv::KvMode::kF16});
  const RequestHandle after = submit(request("after it", 2));
  while (!after->finished()) (void)loop_->turn();
  EXPECT_EQ(after->result().arm, -1);
}

TEST_F(StepLoopTest, OfManyAnswersThoseOfOneAreMeasuredInEachStep) {
  start({.running_max = 2}, {});
  std::vector<RequestHandle> handles;
  for (int i = 0; i < 2; ++i) {
    Request wished = request("the quick brown fox", 40);
    wished.options.ignore_end_tokens = true;
    wished.speculate = false;
    wished.sampling.seed = static_cast<uint64_t>(i);
    handles.push_back(submit(std::move(wished)));
  }
  uint64_t steps = 0;
  runner_->after_step = [&](const model::StepBatch& batch) {
    const auto wants = [](const model::SequenceSlice& slice) { return slice.logits_end > slice.logits_begin; };
    steps += std::any_of(batch.slices.begin(), batch.slices.end(), wants) ? 1 : 0;
  };
  while (loop_->turn().computed) {
  }
  const EngineCounters counters = loop_->published().counters;
  EXPECT_EQ(counters.generated_tokens, 80u);
  EXPECT_EQ(counters.nll_tokens, steps);
  EXPECT_LE(steps, 45u) << "both are answered together";
  for (const RequestHandle& handle : handles) {
    EXPECT_GE(handle->result().nll_tokens, 18);
    EXPECT_GT(handle->result().nll, 0);
  }
}

TEST_F(StepLoopTest, WhoWatchesIsToldBetweenLayersAndAfterEachStepAndNotOnceHeHasLeft) {
  start({}, Duration::from_us(1));
  uint64_t told = 0;
  Instant last;
  loop_->set_on_step([&](Instant now) {
    EXPECT_GE(now, last);
    last = now;
    ++told;
  });
  const RequestHandle running = submit(request("the quick brown fox", 40));
  ASSERT_TRUE(loop_->turn().computed);
  const auto layers = static_cast<uint64_t>(loaded_->model->config().layers);
  EXPECT_GE(told, layers + 1);
  const uint64_t after_one = told;
  ASSERT_TRUE(loop_->turn().computed);
  EXPECT_GE(told, after_one + layers + 1);
  loop_->set_on_step({});
  const uint64_t before = told;
  ASSERT_TRUE(loop_->turn().computed);
  EXPECT_EQ(told, before);
}

TEST_F(StepLoopTest, WhoReadsAllAnswersIsToldOnceAStepWhenAllOfItsTokensAreThere) {
  start({.running_max = 2}, {});
  std::vector<RequestHandle> handles;
  int told = 0, found = 0;
  for (int i = 0; i < 2; ++i) {
    Request wished = request("the quick brown fox", 20);
    wished.options.ignore_end_tokens = true;
    wished.speculate = false;
    wished.on_ready = [&] {
      ++told;
      for (const RequestHandle& handle : handles) found += handle->take() ? 1 : 0;
    };
    handles.push_back(submit(std::move(wished)));
  }
  while (loop_->published().counters.generated_tokens == 0) ASSERT_TRUE(loop_->turn().computed);
  for (int step = 0; step < 10; ++step) {
    told = found = 0;
    ASSERT_TRUE(loop_->turn().computed);
    EXPECT_EQ(told, 1);
    EXPECT_EQ(found, 2);
  }
  loop_->end_all(CancelReason::kShutdown);  // It tells so, which needs what is above.
}

// Idle work that takes nothing and notes how often it was let.
struct CountedWork final : IdleWork {
  Instant run(StepRunner&, model::StepWatch&, const Clock&) override {
    ++runs;
    return Instant::never();
  }
  bool is_wanted() const override { return wanted; }
  int64_t pages_wanted(StepRunner&) const override { return 0; }
  int64_t pages_held() const override { return 0; }
  void release_pages() override {}
  std::optional<size_t> sample_rows(int) override { return 0; }
  void take_sample(AnswerSample) override { ++samples; }
  void levels_changed() override {}

  int runs = 0, samples = 0;
  bool wanted = false;
};

TEST_F(StepLoopTest, IdleWorkWaitsAMomentBehindARequestUnlessSomebodyWantsIt) {
  CountedWork work;
  idle_ = &work;
  start({}, {});
  clock_->advance(Duration::from_seconds(1));
  const RequestHandle handle = submit(request("one of many", 2));
  while (!handle->finished()) (void)loop_->turn();
  const StepLoop::Turn turn = loop_->turn();
  EXPECT_EQ(work.runs, 0);
  EXPECT_GT(turn.look_at, clock_->now());
  work.wanted = true;
  (void)loop_->turn();
  EXPECT_EQ(work.runs, 1);
  work.wanted = false;
  (void)loop_->turn();
  EXPECT_EQ(work.runs, 1);
  clock_->advance(turn.look_at - clock_->now());
  (void)loop_->turn();
  EXPECT_EQ(work.runs, 2);
  loop_.reset();  // Before its work.
}

TEST_F(StepLoopTest, AnswersLeaveSamplesUnlessOthersWaitWhenTheyBegin) {
  CountedWork work;
  idle_ = &work;
  start({.running_max = 2}, {});
  std::vector<RequestHandle> handles;
  for (int i = 0; i < 5; ++i) handles.push_back(submit(request("one of many", 2)));
  while (loop_->turn().computed) {
  }
  for (const RequestHandle& handle : handles) EXPECT_TRUE(handle->finished());
  EXPECT_EQ(work.samples, 1);  // Of the last: two begin while three wait, and two while one does.
  loop_.reset();               // Before its work.
}

// Steps of 100 us and some looks at the clock, which take 20 each: as much as measuring a likelihood.
TEST_F(StepLoopTest, OfShortStepsFewerAreMeasuredAndAllOfThemJudged) {
  start({}, Duration::from_us(20));
  runner_->before_step = [this](const model::StepBatch&) { clock_->advance(Duration::from_us(100)); };
  Request wished = request("the quick brown fox", 400);
  wished.options.ignore_end_tokens = true;
  wished.speculate = false;
  const RequestHandle handle = submit(std::move(wished));
  while (loop_->turn().computed) {
    while (handle->take()) {
    }
  }
  const EngineCounters counters = loop_->published().counters;
  EXPECT_EQ(counters.judged_tokens, 400u);
  EXPECT_GE(counters.nll_tokens, 100u);
  EXPECT_LE(counters.nll_tokens, LikelihoodShare::kKnownFrom + 200u);
}

TEST_F(StepLoopTest, AGrammarThatTakesLongHoldsUpNobodyElse) {
  // Each look at the clock passes the time of a first choice.
  start({.running_max = 4, .step_target = Duration::from_ms(400)}, Duration::from_ms(15));
  Request slow = request("spell", 8);
  slow.options.grammar = ambiguous_grammar();
  const RequestHandle constrained = submit(std::move(slow));
  Request endless = request("on and on", 400);
  endless.options.ignore_end_tokens = true;
  const RequestHandle other = submit(std::move(endless));
  int held = 0, others_tokens = 0;
  std::vector<TokenId> spelt;
  for (int turn = 0; turn < 400 && !constrained->finished(); ++turn) {
    EXPECT_TRUE(loop_->turn().computed);
    const auto own = constrained->take();
    if (own) spelt.push_back(own->token);
    const bool progress = other->take().has_value();
    others_tokens += progress ? 1 : 0;
    held += !own && progress ? 1 : 0;
  }
  while (const auto piece = constrained->take()) {
    if (piece->token != kNoToken) spelt.push_back(piece->token);
  }
  EXPECT_GT(held, 0) << "the grammar was never slow, so nothing was tested";
  ASSERT_TRUE(constrained->finished());
  EXPECT_EQ(constrained->result().finish_reason, FinishReason::kStop);
  EXPECT_GE(others_tokens, static_cast<int>(spelt.size()) + held);
  grammar::Constraint plain(ambiguous_grammar());
  for (const TokenId token : spelt) EXPECT_TRUE(plain.accept(token)) << token;
  EXPECT_TRUE(plain.must_end());
}

TEST_F(StepLoopTest, ALimitThatPassesWhileAGrammarIsLookedAtEndsTheRequest) {
  start({}, Duration::from_ms(15));
  Request slow = request("spell", 8);
  slow.options.grammar = ambiguous_grammar();
  slow.limits.total = Deadline::at(clock_->now() + Duration::from_ms(400));
  const RequestHandle handle = submit(std::move(slow));
  for (int turn = 0; turn < 400 && !handle->finished(); ++turn) loop_->turn();
  ASSERT_TRUE(handle->finished());
  EXPECT_EQ(handle->result().finish_reason, FinishReason::kDeadline);
  EXPECT_TRUE(loop_->check_integrity());
}

TEST_F(StepLoopTest, AStepThatHangsEndsItsRequestsAndTheLoopGoesOn) {
  start({.running_max = 1}, {});
  const RequestHandle running = submit(request("hangs", 20)), waiting = submit(request("waits", 20));
  loop_->turn();
  ASSERT_TRUE(running->take().has_value());
  runner_->before_step = [&](const model::StepBatch&) {
    clock_->advance(Duration::from_ms(1900));
    EXPECT_FALSE(watchdog_->health(clock_->now()).ready());
    EXPECT_EQ(intake_->submit(request("x", 1), clock_->now()).status.error().code, ErrorCode::kBusy);
    clock_->advance(Duration::from_ms(4200));
    watchdog_->check(clock_->now());
    EXPECT_TRUE(running->finished());
    EXPECT_TRUE(waiting->finished());
  };
  EXPECT_TRUE(loop_->turn().computed);
  runner_->before_step = nullptr;
  EXPECT_EQ(loop_->published().counters.steps_abandoned, 1u);
  EXPECT_FALSE(running->take().has_value());
  EXPECT_EQ(running->result().finish_reason, FinishReason::kFailed);
  EXPECT_TRUE(watchdog_->health(clock_->now()).ready());

  const RequestHandle next = submit(request("goes on", 3));
  while (!next->finished()) loop_->turn();
  EXPECT_EQ(next->result().generated_tokens, 3);
  EXPECT_EQ(loop_->published().counters.ended[static_cast<size_t>(FinishReason::kFailed)], 2u);
  EXPECT_EQ(loop_->published().counters.ended[static_cast<size_t>(FinishReason::kLength)], 1u);
  EXPECT_EQ(loop_->published().counters.requests, 3u);
  EXPECT_TRUE(loop_->check_integrity());
  EXPECT_FALSE(loop_->turn().computed);
  EXPECT_EQ(watchdog_->check(clock_->now()), Instant::never());
}

TEST_F(StepLoopTest, GreedyAnswersAreTheSameWithDraftsAndTakeFewerSteps) {
  start({.running_max = 4}, {});
  let_steps_take_time();
  std::vector<Request> requests;
  for (const char* const prompt : {"again and again", "one two three, one two three, one two", "x"}) {
    requests.push_back(request(prompt, 200));
    requests.back().sampling.temperature = 0;
    requests.back().options.ignore_end_tokens = true;
  }
  const auto given = answers(requests);
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(given[i], alone(requests[i])) << i;
  const EngineSnapshot seen = loop_->published();
  EXPECT_GT(seen.counters.accepted_tokens(), 100u);  // Random weights are soon in a loop.
  EXPECT_LT(seen.counters.steps, 200u);
  EXPECT_EQ(seen.accept_window, AcceptWindow::kTokens);
  EXPECT_EQ(seen.counters.generated_tokens, 600u);

  start({.running_max = 4, .speculation = {.enabled = false}}, {});
  let_steps_take_time();
  EXPECT_EQ(answers(requests), given);
  EXPECT_EQ(loop_->published().counters.drafted_tokens(), 0u);
  EXPECT_GE(loop_->published().counters.steps, 200u);
  loop_->set_speculation(true, 0.5f);
  for (Request& each : requests) each.speculate = false;
  EXPECT_EQ(answers(requests), given);
  EXPECT_EQ(loop_->published().counters.drafted_tokens(), 0u);
  for (Request& each : requests) each.speculate = true;
  EXPECT_EQ(answers(requests), given);
  EXPECT_GT(loop_->published().counters.drafted_tokens(), 0u);
}

// Stronger than an equal distribution: the same draws give the same tokens.
TEST_F(StepLoopTest, DrawnAnswersAreTheSameWithDraftsForEachSeed) {
  start({.running_max = 8, .speculation = {.min_accept_rate = 0}}, {});
  let_steps_take_time();
  std::vector<Request> requests;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    requests.push_back(request(seed % 2 == 0 ? "over and over and over and over" : "tick tock tick tock tick", 120));
    requests.back().sampling = {.temperature = 0.4f, .repeat_penalty = seed % 4 == 0 ? 1.1f : 1.0f, .seed = seed};
    requests.back().options.ignore_end_tokens = true;
    requests.back().top_logprobs = 0;
  }
  const auto given = answers(requests);
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(given[i], alone(requests[i])) << i;
  const EngineCounters& seen = loop_->published().counters;
  EXPECT_GT(seen.accepted_tokens(), 0u);
  EXPECT_GT(seen.drafted_tokens(), seen.accepted_tokens());
}

TEST_F(StepLoopTest, DraftsFollowGrammarsStopsAndLimits) {
  start({.running_max = 8}, {});
  let_steps_take_time();
  std::vector<Request> requests;
  for (int tokens = 20; tokens < 60; ++tokens) {
    requests.push_back(request("say it again, say it again", tokens));
    requests.back().sampling.temperature = 0;
    const grammar::RootedRules made = grammar::parse_gbnf("root ::= (\"abcde, \" | \"abcdf, \")*").value();
    requests.back().options.grammar = std::make_shared<grammar::TokenAutomaton>(
        std::make_shared<const grammar::Grammar>(grammar::Grammar::compile(made.rules, made.root).value()),
        make_vocabulary_trie(*tokenizer_));
    if (tokens % 2 == 0) requests.back().options.stops = {"e, abcdf", "f, abcde"};
  }
  const auto given = answers(requests);
  EXPECT_GT(loop_->published().counters.accepted_tokens(), 0u);
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(given[i], alone(requests[i])) << i;
}

TEST_F(StepLoopTest, AModelThatSaysTheSameDraftsLongAndRight) {
  start_with_draft({.running_max = 4}, 4, {.context = 512, .sequences = 4, .logits_per_step = 4});
  std::vector<Request> requests = plain_requests(4, 150);
  for (Request& each : requests) each.sampling.temperature = 0;
  const auto given = answers(requests);
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(given[i], alone(requests[i])) << i;
  EXPECT_GT(drafts(DraftSource::kModel).accepted, 200u);
  EXPECT_EQ(drafts(DraftSource::kModel).accepted, drafts(DraftSource::kModel).drafted);
  EXPECT_LT(seen_.counters.steps, 100u);
  ASSERT_TRUE(seen_.draft_model.has_value());
  EXPECT_GT(seen_.draft_model->computed_tokens, drafts(DraftSource::kModel).drafted);
  EXPECT_GT(seen_.draft_model->time, Duration());
  EXPECT_EQ(seen_.draft_model->failures, 0u);
  // Nothing is left behind.
  EXPECT_EQ(seen_.draft_model->kv_bytes, 0u);

  loop_->set_speculation(false, 0.5f);
  const uint64_t drafted = drafts(DraftSource::kModel).drafted;
  EXPECT_EQ(answers(requests), given);
  EXPECT_EQ(drafts(DraftSource::kModel).drafted, drafted);
}

TEST_F(StepLoopTest, AnswersAreTheSameWhateverADraftModelSays) {
  for (const uint64_t seed : {4u, 5u}) {  // The same model, and one that says other things.
    start_with_draft({.running_max = 6, .speculation = {.min_accept_rate = 0}}, seed,
                     {.context = 256, .sequences = 6, .logits_per_step = 6});
    const std::vector<Request> requests = plain_requests(30, 100);
    const auto given = answers(requests);
    for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(given[i], alone(requests[i])) << i;
    EXPECT_GT(drafts(DraftSource::kModel).drafted, 0u);
    EXPECT_EQ(seen_.draft_model->kv_bytes, 0u);
  }
}

// A model whose guesses are wrong, and one without pages for all, cost little time and change nothing.
TEST_F(StepLoopTest, ADraftModelThatIsNoGoodCostsLittle) {
  const std::vector<Request> requests = plain_requests(24, 120);
  const auto time_of_all = [&] {
    const Instant begin = clock_->now();
    const auto given = answers(requests);
    for (size_t i = 0; i < requests.size(); i += 5) EXPECT_EQ(given[i], alone(requests[i])) << i;
    return (clock_->now() - begin).seconds();
  };
  start({.running_max = 4}, {});
  let_steps_take_time();
  const double without = time_of_all();
  start_with_draft({.running_max = 4}, 5, {.context = 512, .sequences = 4, .logits_per_step = 4});
  EXPECT_LT(time_of_all(), 1.03 * without);
  EXPECT_GT(drafts(DraftSource::kModel).drafted, 0u);
  start_with_draft({.running_max = 4}, 5, {.context = 192, .sequences = 1, .logits_per_step = 4});
  EXPECT_LT(time_of_all(), 1.03 * without);
}

TEST_F(StepLoopTest, ADraftIsGivenUpForALimit) {
  start_with_draft({.running_max = 4}, 4, {.context = 512, .sequences = 4, .logits_per_step = 4});
  const Request endless = plain_requests(1, 400).front();
  const RequestHandle handle = submit(endless);
  while (drafts(DraftSource::kModel).accepted < 20) ASSERT_TRUE(loop_->turn().computed);
  handle->cancel(CancelReason::kUser);
  while (loop_->turn().computed) EXPECT_TRUE(loop_->check_integrity());
  EXPECT_EQ(handle->result().finish_reason, FinishReason::kCancelled);
  loop_->turn();
  EXPECT_EQ(loop_->published().draft_model->kv_bytes, 0u);
}

TEST_F(StepLoopTest, LoweredPagesAreNotTakenBack) {
  for (const int window : {0, 8, 64}) {
    start({.running_max = 4}, {}, {.mode = kv::KvMode::kQ8, .recent_window = window});
    let_steps_take_time();
    Request made = request(std::string(100, 'z'), 200);
    made.sampling.temperature = 0;
    made.options.ignore_end_tokens = true;
    EXPECT_EQ(answers({made, made})[1].size(), 200u);
    const EngineCounters& seen = loop_->published().counters;
    EXPECT_EQ(seen.drafted_tokens() > 0, window > 0);
    EXPECT_LE(seen.computed_tokens, 2 * 299u + seen.drafted_tokens());  // Nothing twice.
  }
}

}  // namespace
}  // namespace infer::engine
