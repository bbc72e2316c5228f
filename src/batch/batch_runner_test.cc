#include "batch/batch_runner.h"

#include <gtest/gtest.h>

#include <map>

#include "engine/generation.h"
#include "os/system_clock.h"
#include "testing/byte_tokenizer.h"
#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"

namespace infer::batch {
namespace {

class BatchRunner : public ::testing::Test {
 protected:
  void SetUp() override {
    loaded_ = testing::load_random({.vocabulary = testing::kByteTokens, .seed = 4}, *testing::machine_kernels().front(),
                                   2, {.context = 512, .sequences = 2, .logits_per_step = 4});
    engine_ = engine::Engine::start(engine::make_model_runner(*loaded_->model), *tokenizer_, {.running_max = 4}, clock_)
                  .value();
  }
  Task task(const std::string& id, std::vector<std::string> turns, int tokens) {
    Task made;
    made.id = id;
    made.turns = std::move(turns);
    made.options = {.tokens_max = tokens, .ignore_end_tokens = true};
    made.sampling.temperature = 0;
    return made;
  }
  // Results by id.
  std::map<std::string, TaskResult> run(const std::vector<Task>& tasks, const BatchOptions& options) {
    std::map<std::string, TaskResult> results;
    const Status status = run_batch(*engine_, *tokenizer_, tasks, options, call_, [&](const TaskResult& result) {
      EXPECT_TRUE(results.emplace(result.task->id, result).second);
      return Status();
    });
    EXPECT_TRUE(status.has_value()) << status.error().message;
    EXPECT_EQ(results.size(), tasks.size());
    return results;
  }

  const os::SystemClock clock_;
  CancelSource cancel_;
  const CallContext call_{clock_, Deadline::never(), cancel_.token()};
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_ = testing::make_byte_tokenizer(false);
  std::unique_ptr<testing::LoadedModel> loaded_;
  std::unique_ptr<engine::Engine> engine_;
};

TEST_F(BatchRunner, EachTurnGoesOnFromTheOneBefore) {
  std::vector<Task> tasks;
  for (int i = 0; i < 7; ++i) tasks.push_back(task(std::to_string(i), {"first", "second", "third"}, 5 + i));
  const auto results = run(tasks, {.workers = 3});
  const auto alone = testing::load_random({.vocabulary = testing::kByteTokens, .seed = 4},
                                          *testing::machine_kernels().front(), 1, {.context = 512});
  for (const Task& each : tasks) {
    const TaskResult& result = results.at(each.id);
    ASSERT_EQ(result.turns.size(), 3u);
    const auto conversation = engine::Conversation::make(*alone->model, *tokenizer_, each.sampling).value();
    for (size_t turn = 0; turn < 3; ++turn) {
      const auto tokens = tokenizer_->encode(each.turns[turn], {.add_special = false});
      EXPECT_EQ(result.turns[turn].text, conversation->generate(tokens, each.options, alone->call(), {})->text);
    }
    EXPECT_EQ(result.finish_reason, engine::FinishReason::kLength);
  }
}

TEST_F(BatchRunner, ATasksDeadlineEndsItAndKeepsWhatItHas) {
  Task endless = task("endless", std::vector<std::string>(1000, "more"), 20);
  endless.deadline = Duration::from_ms(30);
  const auto results = run({endless, task("short", {"x"}, 2)}, {});
  // It runs out of time, or of context before that on a very quick machine.
  const TaskResult& result = results.at("endless");
  EXPECT_LT(result.turns.size(), 1000u);
  EXPECT_TRUE(result.overshoot.has_value());
  EXPECT_EQ(results.at("short").finish_reason, engine::FinishReason::kLength);
  EXPECT_FALSE(results.at("short").overshoot.has_value());
}

TEST_F(BatchRunner, ATaskThatCannotWorkFailsAloneWithTheReason) {
  const auto results = run({task("long", {std::string(600, 'x')}, 1), task("good", {"x"}, 1)}, {});
  EXPECT_EQ(results.at("long").finish_reason, engine::FinishReason::kFailed);
  ASSERT_TRUE(results.at("long").error.has_value());
  EXPECT_NE(results.at("long").error->message.find("600 tokens"), std::string::npos);
  EXPECT_EQ(results.at("good").finish_reason, engine::FinishReason::kLength);
}

TEST_F(BatchRunner, StoppingEndsWhatRunsWithoutAResult) {
  std::vector<Task> tasks;
  for (int i = 0; i < 5; ++i) tasks.push_back(task(std::to_string(i), {"x"}, i == 0 ? 1 : -1));
  int results = 0;
  const Status status = run_batch(*engine_, *tokenizer_, tasks, {.workers = 2}, call_, [&](const TaskResult&) {
    ++results;
    cancel_.cancel(CancelReason::kUser);
    return Status();
  });
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(results, 1);
}

TEST_F(BatchRunner, AResultThatCannotBeHandedOverStopsTheBatch) {
  const std::vector<Task> tasks{task("a", {"x"}, 1), task("b", {"x"}, 1)};
  const Status status = run_batch(*engine_, *tokenizer_, tasks, {.workers = 1}, call_,
                                  [](const TaskResult&) { return Status(Error{ErrorCode::kIo, "disk full"}); });
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().message, "disk full");
}

}  // namespace
}  // namespace infer::batch
