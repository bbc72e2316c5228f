#include "engine/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <thread>

#include "engine/generation.h"
#include "engine/vocabulary_trie.h"
#include "grammar/gbnf.h"
#include "grammar/json_rules.h"
#include "os/system_clock.h"
#include "testing/byte_tokenizer.h"
#include "testing/faulty_folder.h"
#include "testing/hooked_runner.h"
#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"

namespace infer::engine {
namespace {

constexpr sampling::SamplingParams kGreedy{.temperature = 0};
constexpr sampling::SamplingParams kWild{.temperature = 1.5f, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 5};

constexpr std::string_view kList = "root ::= \"[\" item (\", \" item)* \"]\"\nitem ::= [a-f]+ | [0-9]{2,5}";

// An engine over a small random model on the real clock.
class EngineTest : public ::testing::Test {
 protected:
  void start(const EngineLimits& limits, model::ModelOptions options = {.context = 512, .sequences = 2},
             testing::FolderDisk* disk = nullptr) {
    engine_.reset();
    options.logits_per_step = limits.running_max;
    loaded_ = testing::load_random({.vocabulary = testing::kByteTokens, .seed = 4}, *testing::machine_kernels().front(),
                                   2, options);
    engine_ = Engine::start(make_model_runner(*loaded_->model), *tokenizer_, limits, clock_,
                            {.store = disk == nullptr ? nullptr : store_on(*disk)})
                  .value();
  }
  std::unique_ptr<kv::PrefixStore> store_on(testing::FolderDisk& disk) {
    const kv::PrefixFileShape shape{
        .fingerprint = 1, .page = loaded_->model->page_pool().shape(), .layers = loaded_->model->config().layers};
    return kv::PrefixStore::open(std::make_unique<testing::FaultyFolder>(disk), {.shape = shape}, log_).value();
  }
  std::vector<TokenId> encode(std::string_view text) { return tokenizer_->encode(text, {.add_special = false}); }
  Request request(std::string_view prompt, int tokens, const sampling::SamplingParams& params = kGreedy) {
    return {.prompt = encode(prompt),
            .options = {.tokens_max = tokens, .ignore_end_tokens = true},
            .sampling = params,
            .limits = {Deadline::never()}};
  }
  RequestHandle submit(Request request) {
    Submitted submitted = engine_->submit(std::move(request));
    EXPECT_TRUE(submitted.status.has_value()) << submitted.status.error().message;
    return *std::move(submitted.handle);
  }
  Answer answer(Request request) {
    const RequestHandle handle = submit(std::move(request));
    return read_answer(*handle, call_);
  }
  // Once the turn is published in which the last request ended: its reader may be quicker.
  EngineSnapshot settled() {
    EngineSnapshot snapshot = engine_->snapshot();
    for (; snapshot.running > 0; snapshot = engine_->snapshot()) std::this_thread::yield();
    return snapshot;
  }
  // What a conversation alone with the model says.
  std::vector<TokenId> alone(std::string_view prompt, int tokens, const sampling::SamplingParams& params = kGreedy) {
    return alone(request(prompt, tokens, params));
  }
  std::vector<TokenId> alone(const Request& request) {
    const auto loaded = testing::load_random({.vocabulary = testing::kByteTokens, .seed = 4},
                                             *testing::machine_kernels().front(), 1, {.context = 512});
    const auto conversation = Conversation::make(*loaded->model, *tokenizer_, request.sampling).value();
    return conversation->generate(request.prompt, request.options, loaded->call(), {}).value().tokens;
  }
  std::shared_ptr<grammar::TokenAutomaton> automaton(const grammar::RootedRules& made) {
    return std::make_shared<grammar::TokenAutomaton>(
        std::make_shared<const grammar::Grammar>(grammar::Grammar::compile(made.rules, made.root).value()), trie_);
  }
  // Follows a grammar; each has an automaton of its own.
  Request constrained(std::string_view prompt, std::string_view gbnf, const sampling::SamplingParams& params) {
    Request made = request(prompt, 60, params);
    made.options.ignore_end_tokens = false;
    made.options.grammar = automaton(grammar::parse_gbnf(gbnf).value());
    return made;
  }

  NullLog log_;
  const os::SystemClock clock_;
  const CallContext call_{clock_, Deadline::never(), {}};
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_ = testing::make_byte_tokenizer(false);
  std::shared_ptr<const grammar::TokenTrie> trie_ = make_vocabulary_trie(*tokenizer_);
  std::unique_ptr<testing::LoadedModel> loaded_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, AnswersAsAConversationDoes) {
  start({});
  for (const auto& params : {kGreedy, kWild}) {
    const Answer given = answer(request("once upon a time", 40, params));
    EXPECT_EQ(given.tokens, alone("once upon a time", 40, params));
    EXPECT_EQ(given.result.finish_reason, FinishReason::kLength);
    EXPECT_EQ(given.result.prompt_tokens, 16);
    EXPECT_EQ(given.result.generated_tokens, 40);
    EXPECT_EQ(given.result.stage, "normal");
  }
}

TEST_F(EngineTest, ManyAtOnceGetTheAnswersThatEachGetsAlone) {
  // Pages for two whole contexts, and eight that share them.
  start({.running_max = 8, .tokens_per_step = 48});
  std::vector<std::string> prompts;
  for (int i = 0; i < 12; ++i)
    prompts.push_back(std::string(static_cast<size_t>(20 + 23 * i), 'a') + std::to_string(i));
  std::vector<RequestHandle> handles;
  for (const std::string& prompt : prompts) handles.push_back(submit(request(prompt, 50, kWild)));
  for (size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(read_answer(*handles[i], call_).tokens, alone(prompts[i], 50, kWild)) << i;
  }
}

TEST_F(EngineTest, ASecondRequestTakesOverThePrefixAndAnswersTheSame) {
  start({});
  const std::string prompt(300, 'x');
  const Answer first = answer(request(prompt + "end", 30));
  EXPECT_EQ(first.result.cached_tokens, 0);
  const Answer second = answer(request(prompt + "end", 30));
  EXPECT_EQ(second.result.cached_tokens, 256);
  EXPECT_EQ(second.tokens, first.tokens);
  EXPECT_EQ(answer(request(prompt + "other", 30)).tokens, alone(prompt + "other", 30));
}

TEST_F(EngineTest, APrefixOutlivesTheEngineOnDisk) {
  for (const kv::KvMode mode : {kv::KvMode::kF16, kv::KvMode::kQ4}) {
    testing::FolderDisk disk;
    const model::ModelOptions options{.context = 512, .sequences = 2, .levels = {.mode = mode}};
    const std::string prompt = std::string(300, 'x') + "end";
    start({}, options, &disk);
    (void)answer(request(prompt, 1));
    const Answer in_memory = answer(request(prompt, 30));
    EXPECT_EQ(in_memory.result.cached_tokens, 256);
    start({}, options, &disk);
    const Answer restored = answer(request(prompt, 30));
    EXPECT_EQ(restored.result.cached_tokens, 256);
    if (mode == kv::KvMode::kF16) {
      EXPECT_EQ(restored.tokens, in_memory.tokens);
      EXPECT_EQ(restored.result.nll, in_memory.result.nll);  // Bit for bit.
    } else {  // How a text is cut into steps matters there, and that depends on time.
      EXPECT_NEAR(restored.result.nll / in_memory.result.nll, 1, 0.05);
    }
    EXPECT_EQ(settled().prefix_store->restored_tokens, 256u);
    engine_.reset();  // Before the disk.
  }
}

TEST_F(EngineTest, ABrokenDiskCostsOnlyTheReuse) {
  testing::FolderDisk disk;
  const std::string prompt(300, 'x');
  start({}, {.context = 512, .sequences = 2}, &disk);
  (void)answer(request(prompt, 1));
  start({}, {.context = 512, .sequences = 2}, &disk);
  disk.fail(true, true);
  const Answer again = answer(request(prompt, 30));
  EXPECT_EQ(again.result.cached_tokens, 0);
  EXPECT_EQ(again.tokens, alone(prompt, 30));
  engine_.reset();  // Before the disk.
}

TEST_F(EngineTest, ARetryAfterACancellationResumes) {
  start({.tokens_per_step = 16, .stream_tokens = 4});
  const std::string prompt(400, 'y');
  {
    const RequestHandle handle = submit(request(prompt, -1));
    ASSERT_TRUE(handle->wait(call_).has_value());  // Its prompt is computed; its answer goes on until it is dropped.
  }
  const Answer again = answer(request(prompt, 5));
  EXPECT_EQ(again.result.cached_tokens, 384);
  EXPECT_EQ(again.tokens, alone(prompt, 5));
}

TEST_F(EngineTest, TellsHowLikelyWhatItSaidWas) {
  start({});
  Request wild = request("once upon a time", 20, kWild);
  wild.top_logprobs = 0;
  const Answer given = answer(wild);
  double nll = 0;
  for (const sampling::Logprobs& each : given.logprobs) nll -= static_cast<double>(each.chosen.logprob);
  EXPECT_EQ(given.result.nll_tokens, 20);
  EXPECT_NEAR(given.result.nll, nll, 1e-3);
  EXPECT_NEAR(settled().counters.nll, nll, 1e-3);
}

TEST_F(EngineTest, EmbeddingsAreTheMeanOrTheLastOfTheHiddenStatesAtUnitLength) {
  start({.tokens_per_step = 32});
  Request wanted = request("the quick brown fox jumps over the lazy dog, and then over the fence", 0);
  const std::vector<TokenId> tokens = wanted.prompt;
  for (const Pooling pooling : {Pooling::kMean, Pooling::kLast}) {
    const auto loaded = testing::load_random({.vocabulary = testing::kByteTokens, .seed = 4},
                                             *testing::machine_kernels().front(), 1, {.context = 512});
    const int count = static_cast<int>(tokens.size());
    std::vector<float> sum(static_cast<size_t>(loaded->model->config().width));
    kv::SequenceCache cache = loaded->model->make_sequence();
    const model::SequenceSlice slice{&cache, tokens, pooling == Pooling::kMean ? 0 : count - 1, count, sum.data()};
    ASSERT_TRUE(loaded->model->run({{&slice, 1}}, loaded->call()).has_value());
    double norm = 0;
    for (const float x : sum) norm += static_cast<double>(x) * static_cast<double>(x);

    wanted.pooling = pooling;
    const Answer given = answer(wanted);
    EXPECT_EQ(given.result.finish_reason, FinishReason::kStop);
    EXPECT_EQ(given.result.cached_tokens, 0) << "even the second time";
    ASSERT_EQ(given.result.embedding.size(), sum.size());
    for (size_t i = 0; i < sum.size(); ++i) {
      EXPECT_NEAR(given.result.embedding[i], static_cast<double>(sum[i]) / std::sqrt(norm), 1e-6);
    }
  }
  EXPECT_EQ(answer(request("and an answer beside", 5)).result.generated_tokens, 5);
}

TEST_F(EngineTest, LevelsChangeForRequestsThatRun) {
  start({.stream_tokens = 4});
  const RequestHandle running = submit(request(std::string(300, 'z'), 40));
  ASSERT_TRUE(running->wait(call_).has_value());  // It goes on as its answer is read.
  EXPECT_EQ(engine_->snapshot().kv.policy.mode, kv::KvMode::kF16);
  engine_->change_levels({.mode = kv::KvMode::kQ4, .recent_window = 64});
  const RequestResult result = read_answer(*running, call_).result;
  EXPECT_EQ(result.generated_tokens, 40);
  const auto at = [&result](kv::Level level) { return result.kv_pages[static_cast<size_t>(level)]; };
  const int layers = loaded_->model->config().layers;
  // 340 tokens: the first page is a sink, and the last 64 tokens lie in two.
  EXPECT_EQ(at(kv::Level::k4), 3 * layers);
  EXPECT_EQ(at(kv::Level::k16), 3 * layers);
  EXPECT_LT(result.kv_bytes, result.kv_bytes_f16);
  const EngineSnapshot snapshot = settled();
  EXPECT_EQ(snapshot.kv.policy.mode, kv::KvMode::kQ4);
  EXPECT_EQ(snapshot.kv.pages[static_cast<size_t>(kv::Level::k4)], 3 * layers) << "The prefix index keeps them.";
}

TEST_F(EngineTest, CancellingKeepsWhatCameUntilThen) {
  start({.stream_tokens = 4});
  const RequestHandle handle = submit(request("go on", -1));
  ASSERT_TRUE(handle->wait(call_).has_value());
  handle->cancel(CancelReason::kUser);
  const Answer given = read_answer(*handle, call_);
  EXPECT_EQ(given.result.finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(given.result.cancel_reason, CancelReason::kUser);
  ASSERT_GT(given.tokens.size(), 0u);
  EXPECT_EQ(given.tokens, alone("go on", static_cast<int>(given.tokens.size())));
}

TEST_F(EngineTest, ADeadlineEndsTheRequestAndSaysWhichLimitItWas) {
  start({.stream_tokens = 4});
  Request late = request("go on", -1);
  late.limits.total = Deadline::at(clock_.now() + Duration::from_ms(50));
  const RequestHandle handle = submit(std::move(late));
  const Answer given = [&] {  // Nobody reads before: the ring is full and the sequence waits.
    while (!handle->finished()) handle->wait_until(clock_.now() + Duration::from_ms(1));
    return read_answer(*handle, call_);
  }();
  EXPECT_EQ(given.result.finish_reason, FinishReason::kDeadline);
  EXPECT_EQ(given.result.passed_limit, PassedLimit::kTotal);
  EXPECT_EQ(given.tokens.size(), 4u);
}

TEST_F(EngineTest, AReaderWhoIsSlowHoldsUpNobodyElse) {
  start({.running_max = 1, .stream_tokens = 2});
  const RequestHandle slow = submit(request("slow", 20));
  ASSERT_TRUE(slow->wait(call_).has_value());
  EXPECT_EQ(answer(request("quick", 20)).tokens, alone("quick", 20));
  EXPECT_EQ(read_answer(*slow, call_).tokens, alone("slow", 20));
}

TEST_F(EngineTest, StopStringsAndEndTokensEndAnswers) {
  start({});
  const Answer whole = answer(request("tell me", 40, kWild));
  Request stopped = request("tell me", 40, kWild);
  // A character from the middle of the text that was not there before.
  size_t at = 1;
  while (at < whole.text.size() && (whole.text[at] < 'a' || whole.text.find(whole.text[at]) < at)) ++at;
  if (at >= whole.text.size()) GTEST_SKIP() << "the random text has no such character";
  stopped.options.stops = {whole.text.substr(at, 1)};
  const Answer given = answer(std::move(stopped));
  EXPECT_EQ(given.text, whole.text.substr(0, at));
  EXPECT_EQ(given.result.finish_reason, FinishReason::kStop);
}

TEST_F(EngineTest, LogProbabilitiesComeWithTheTokensTheyBelongTo) {
  start({});
  Request asked = request("tell me", 6);
  asked.top_logprobs = 3;
  const Answer given = answer(std::move(asked));
  ASSERT_EQ(given.logprobs.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(given.logprobs[i].chosen.token, given.tokens[i]);
    ASSERT_EQ(given.logprobs[i].top.size(), 3u);
    EXPECT_EQ(given.logprobs[i].top[0].token, given.tokens[i]);  // Greedy.
    EXPECT_GE(given.logprobs[i].top[0].logprob, given.logprobs[i].top[1].logprob);
    EXPECT_LE(given.logprobs[i].chosen.logprob, 0);
  }
  EXPECT_TRUE(answer(request("tell me", 6)).logprobs.empty());
}

TEST_F(EngineTest, ControlTokensThatAreAskedForAreText) {
  start({});
  Request made = request("abc", 3, kGreedy);
  const TokenId bos = tokenizer_->bos();
  made.sampling.biases = {{.token = bos, .bias = 100}};
  EXPECT_EQ(answer(made).text, "");
  made.options.shown_controls = {bos};
  const Answer shown = answer(made);
  EXPECT_EQ(shown.text, "<bos><bos><bos>");
  EXPECT_EQ(shown.tokens, alone(made));
  // A grammar knows them as text.
  const std::shared_ptr<const grammar::TokenTrie> trie = make_vocabulary_trie(*tokenizer_, made.options.shown_controls);
  const grammar::RootedRules rules = grammar::parse_gbnf(R"(root ::= "x<bos>")").value();
  made.options.grammar = std::make_shared<grammar::TokenAutomaton>(
      std::make_shared<const grammar::Grammar>(grammar::Grammar::compile(rules.rules, rules.root).value()), trie);
  made.options.ignore_end_tokens = false;
  const std::vector<TokenId> expected{'x', bos};
  const Answer constrained = answer(made);
  EXPECT_EQ(constrained.text, "x<bos>");
  EXPECT_EQ(constrained.tokens.size(), expected.size());
}

TEST_F(EngineTest, AStageWhoseTimeIsUpHandsOverToTheNext) {
  start({.stream_tokens = 4});
  Request staged = request("go on", -1);
  staged.stages = {{.name = "long", .limit = Duration::from_ms(20)},
                   {.name = "short", .limit = Duration::from_seconds(600), .tokens_max = 3, .greedy = true}};
  const RequestHandle handle = submit(std::move(staged));
  // With its ring full it makes no progress until the first stage is over.
  const Instant over = clock_.now() + Duration::from_ms(40);
  while (clock_.now() < over) handle->wait_until(over);
  const Answer given = read_answer(*handle, call_);
  EXPECT_EQ(given.result.stage, "short");
  EXPECT_EQ(given.result.finish_reason, FinishReason::kLength);
  EXPECT_EQ(given.result.computed_tokens, 5 + static_cast<int>(given.tokens.size()) - 1);  // Nothing twice.
}

TEST_F(EngineTest, RequestsThatMakeNoSenseAreRefusedAtOnce) {
  start({});
  const auto refused = [&](Request bad) {
    const Submitted submitted = engine_->submit(std::move(bad));
    EXPECT_FALSE(submitted.status.has_value());
    EXPECT_FALSE(submitted.handle.has_value());
    return submitted.status ? ErrorCode::kInternal : submitted.status.error().code;
  };
  EXPECT_EQ(refused(request("", 1)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused(request(std::string(513, 'x'), 1)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused(request("x", -2)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused(request("x", 1, {.top_p = 2})), ErrorCode::kInvalidArgument);
  Request bad = request("x", 1);
  bad.prompt = {testing::kByteTokens};
  EXPECT_EQ(refused(bad), ErrorCode::kInvalidArgument);
  bad = request("x", 1);
  bad.options.stops = {""};
  EXPECT_EQ(refused(bad), ErrorCode::kInvalidArgument);
  bad = request("x", 1);
  bad.top_logprobs = kTopLogprobsMax + 1;
  EXPECT_EQ(refused(bad), ErrorCode::kInvalidArgument);
  bad = request("x", 1);
  bad.answers = kAnswersMax + 1;
  EXPECT_EQ(refused(bad), ErrorCode::kInvalidArgument);
  bad = constrained("x", kList, kGreedy);
  bad.options.ignore_end_tokens = true;
  EXPECT_EQ(refused(bad), ErrorCode::kInvalidArgument);
  bad = request("x", 1);
  bad.limits.total = Deadline::at(Instant());
  EXPECT_EQ(refused(bad), ErrorCode::kDeadline);
}

TEST_F(EngineTest, AConstrainedAnswerIsTheOneOfAConversation) {
  start({});
  for (const auto& params : {kGreedy, kWild}) {
    const Answer given = answer(constrained("a list", kList, params));
    EXPECT_EQ(given.tokens, alone(constrained("a list", kList, params)));
    EXPECT_EQ(given.text.substr(0, 1), "[");
  }
  const Answer whole = answer(constrained("say", "root ::= \"yes\" | \"no\"", kWild));
  EXPECT_TRUE(whole.text == "yes" || whole.text == "no") << whole.text;
  EXPECT_EQ(whole.result.finish_reason, FinishReason::kStop);
}

TEST_F(EngineTest, RequestsThatShareAGrammarDoNotDisturbEachOther) {
  // Two places for pages of many: they also have to give them up and go on.
  start({.running_max = 4, .tokens_per_step = 32}, {.context = 512, .sequences = 1});
  const auto shared = automaton(grammar::parse_gbnf(kList).value());
  std::vector<RequestHandle> handles;
  const auto make = [&](int i) {
    Request made = constrained(std::string(static_cast<size_t>(30 + 60 * i), 'p'), kList, kWild);
    made.sampling.seed = static_cast<uint64_t>(i);
    return made;
  };
  for (int i = 0; i < 6; ++i) {
    Request made = make(i);
    made.options.grammar = shared;
    handles.push_back(submit(std::move(made)));
  }
  for (int i = 0; i < 6; ++i) EXPECT_EQ(read_answer(*handles[static_cast<size_t>(i)], call_).tokens, alone(make(i)));
}

TEST_F(EngineTest, AStageGoesOnInTheGrammarOfTheOneBefore) {
  start({.stream_tokens = 4});
  Request staged = constrained("go on", "root ::= \"abcdefghijklmnopqrstuvwxyz\" [0-9]{3}", kWild);
  staged.stages = {{.name = "long", .limit = Duration::from_ms(20)},
                   {.name = "short", .limit = Duration::from_seconds(600), .greedy = true}};
  const RequestHandle handle = submit(std::move(staged));
  const Instant over = clock_.now() + Duration::from_ms(40);
  while (clock_.now() < over) handle->wait_until(over);
  const Answer given = read_answer(*handle, call_);
  EXPECT_EQ(given.result.stage, "short");
  EXPECT_EQ(given.text.size(), 29u);
  EXPECT_EQ(given.text.substr(0, 26), "abcdefghijklmnopqrstuvwxyz");
}

TEST_F(EngineTest, SeveralAnswersShareOnePromptAndAreThoseOfTheirSeeds) {
  // Three places for five answers: some fork, the others follow.
  for (const int places : {8, 3, 1}) {
    start({.running_max = places});
    Request many = request(std::string(150, 'n'), 30, kWild);
    many.answers = 5;
    Submitted submitted = engine_->submit(std::move(many));
    ASSERT_TRUE(submitted.status.has_value());
    ASSERT_EQ(submitted.others.size(), 4u);
    std::vector<Answer> answers{read_answer(**submitted.handle, call_)};
    for (const RequestHandle& other : submitted.others) answers.push_back(read_answer(*other, call_));
    for (size_t i = 0; i < answers.size(); ++i) {
      sampling::SamplingParams params = kWild;
      params.seed += i;
      EXPECT_EQ(answers[i].tokens, alone(std::string(150, 'n'), 30, params)) << i;
    }
    int computed = 0;
    for (const Answer& each : answers) computed += each.result.computed_tokens;
    const int once = 150 + 5 * 29;
    EXPECT_GE(computed, once);
    // Who comes later computes what the pages of the index lack: 22 tokens.
    EXPECT_LE(computed, once + 22 * std::max(0, 5 - places)) << places;
  }
}

TEST_F(EngineTest, CancellingOneAnswerCancelsAll) {
  start({.stream_tokens = 4});
  Request many = request("go on", -1, kWild);
  many.answers = 3;
  Submitted submitted = engine_->submit(std::move(many));
  ASSERT_TRUE((*submitted.handle)->wait(call_).has_value());
  submitted.others[1]->cancel(CancelReason::kUser);
  EXPECT_EQ(read_answer(**submitted.handle, call_).result.cancel_reason, CancelReason::kUser);
  EXPECT_EQ(read_answer(*submitted.others[0], call_).result.cancel_reason, CancelReason::kUser);
  EXPECT_EQ(read_answer(*submitted.others[1], call_).result.cancel_reason, CancelReason::kUser);
}

TEST_F(EngineTest, TheQueueIsBounded) {
  start({.running_max = 1, .waiting_max = 2, .stream_tokens = 1});
  std::vector<RequestHandle> taken;
  Submitted last;
  for (int i = 0; i < 8; ++i) {
    last = engine_->submit(request("x", -1));
    if (!last.status) break;
    taken.push_back(*std::move(last.handle));
  }
  ASSERT_FALSE(last.status.has_value());
  EXPECT_EQ(last.status.error().code, ErrorCode::kBusy);
}

TEST_F(EngineTest, EndsAllRequestsWhenItStops) {
  start({.running_max = 1, .stream_tokens = 1});
  std::vector<RequestHandle> handles;
  for (int i = 0; i < 3; ++i) handles.push_back(submit(request("x", -1)));
  engine_.reset();
  for (const RequestHandle& handle : handles) {
    ASSERT_TRUE(handle->finished());
    EXPECT_EQ(handle->result().cancel_reason, CancelReason::kShutdown);
  }
}

TEST_F(EngineTest, TheSnapshotCountsWhatHappened) {
  start({});
  answer(request(std::string(70, 'x'), 10));
  const auto counted = [this] { return engine_->snapshot().counters.ended[size_t(FinishReason::kLength)] == 1; };
  while (!counted()) std::this_thread::yield();  // The reader may be quicker than the end of the step.
  const EngineSnapshot seen = engine_->snapshot();
  EXPECT_EQ(seen.counters.requests, 1u);
  EXPECT_EQ(seen.counters.prompt_tokens, 70u);
  EXPECT_EQ(seen.counters.generated_tokens, 10u);
  EXPECT_EQ(seen.counters.computed_tokens, 79u);
  EXPECT_EQ(seen.prefix_nodes, 1);
  EXPECT_TRUE(seen.cost.known());
}

TEST_F(EngineTest, ReadersGetAnEndWhileAStepHangsAndTheEngineRecovers) {
  start({});
  engine_.reset();
  auto runner = std::make_unique<testing::HookedRunner>(*loaded_->model);
  std::atomic<bool> hangs{true};
  runner->before_step = [&](const model::StepBatch&) { hangs.wait(true); };
  EngineLimits limits;
  limits.watchdog = {Duration::from_ms(300), Duration::from_ms(700), Duration::from_ms(900)};
  std::atomic<int> lost{0};
  engine_ = Engine::start(std::move(runner), *tokenizer_, limits, clock_, {.on_lost = [&] { ++lost; }}).value();
  EXPECT_TRUE(engine_->is_ready());
  const Answer given = answer(request("hangs", 10));
  EXPECT_EQ(given.result.finish_reason, FinishReason::kFailed);
  ASSERT_TRUE(given.result.error.has_value());
  EXPECT_FALSE(engine_->is_ready());
  EXPECT_EQ(engine_->submit(request("x", 1)).status.error().code, ErrorCode::kBusy);
  while (lost == 0) std::this_thread::yield();
  const EngineHealth health = engine_->snapshot().health;
  EXPECT_EQ(health.condition, EngineCondition::kLost);
  EXPECT_EQ(health.hangs, 1u);
  EXPECT_EQ(health.requests_ended, 1u);
  hangs = false;
  hangs.notify_all();
  Submitted next;
  while (!next.handle) next = engine_->submit(request("goes on", 10));
  EXPECT_EQ(read_answer(**next.handle, call_).tokens, alone("goes on", 10));
  engine_.reset();
}

TEST_F(EngineTest, AnIdleEngineIsWell) {
  start({});
  EXPECT_TRUE(engine_->is_ready());
  answer(request("x", 2));
  EXPECT_TRUE(engine_->is_ready());
  EXPECT_EQ(engine_->health().hangs, 0u);
}

TEST_F(EngineTest, ManyThreadsMaySubmitReadAndCancel) {
  start({.running_max = 4, .tokens_per_step = 32, .stream_tokens = 3});
  std::atomic<int> ended{0};
  const auto client = [&](int number) {
    for (int i = 0; i < 10; ++i) {
      Submitted submitted = engine_->submit(request(std::string(static_cast<size_t>(10 * number + i + 1), 'z'), 8));
      if (!submitted.status) continue;
      if (i % 3 == 0) (*submitted.handle)->cancel(CancelReason::kUser);
      const Answer given = read_answer(**submitted.handle, call_);
      EXPECT_NE(given.result.finish_reason, FinishReason::kFailed);
      ++ended;
    }
  };
  std::vector<std::thread> clients;
  for (int number = 0; number < 4; ++number) clients.emplace_back(client, number);
  for (std::thread& thread : clients) thread.join();
  EXPECT_EQ(ended, 40);
}

}  // namespace
}  // namespace infer::engine
