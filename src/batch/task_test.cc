#include "batch/task.h"

#include <gtest/gtest.h>

namespace infer::batch {
namespace {

Task defaults() {
  Task task;
  task.options.tokens_max = 64;
  task.sampling.seed = 9;
  return task;
}

TEST(Task, ALineSaysWhatToDoAndTheDefaultsTheRest) {
  const auto tasks = parse_tasks(R"({"id": "a", "prompt": "Once", "max_tokens": 5, "temperature": 0, "stop": "."}

{"turns": ["one", "two"], "deadline": 1.5, "priority": "low", "stop": ["x", "y"], "seed": 3}
)",
                                 defaults());
  ASSERT_TRUE(tasks.has_value()) << tasks.error().message;
  ASSERT_EQ(tasks->size(), 2u);
  const Task& first = (*tasks)[0];
  EXPECT_EQ(first.id, "a");
  EXPECT_EQ(first.turns, std::vector<std::string>{"Once"});
  EXPECT_EQ(first.options.tokens_max, 5);
  EXPECT_EQ(first.options.stops, std::vector<std::string>{"."});
  EXPECT_EQ(first.sampling.temperature, 0);
  EXPECT_EQ(first.sampling.seed, 9u);
  EXPECT_FALSE(first.deadline.has_value());
  const Task& second = (*tasks)[1];
  EXPECT_EQ(second.id, "3");  // Its line.
  EXPECT_EQ(second.turns.size(), 2u);
  EXPECT_EQ(second.options.tokens_max, 64);
  EXPECT_EQ(second.deadline, Duration::from_ms(1500));
  EXPECT_EQ(second.priority, engine::Priority::kLow);
  EXPECT_EQ(second.options.stops.size(), 2u);
  EXPECT_EQ(second.sampling.seed, 3u);
}

TEST(Task, ErrorsNameTheLineAndWhatWasExpected) {
  const auto message = [](std::string_view line) {
    const auto tasks = parse_tasks("{\"prompt\": \"x\"}\n" + std::string(line), defaults());
    EXPECT_FALSE(tasks.has_value()) << line;
    if (tasks) return std::string();
    EXPECT_EQ(tasks.error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(tasks.error().message.substr(0, 8), "line 2: ");
    return tasks.error().message;
  };
  EXPECT_NE(message("{\"promt\": \"x\"}").find("\"promt\" is unknown"), std::string::npos);
  EXPECT_NE(message("[1]").find("must be a JSON object"), std::string::npos);
  EXPECT_NE(message("{}").find("is missing"), std::string::npos);
  EXPECT_NE(message("{\"prompt\": \"a\", \"turns\": [\"b\"]}").find("exclude"), std::string::npos);
  EXPECT_NE(message("{\"prompt\": 3}").find("must be a string"), std::string::npos);
  EXPECT_NE(message("{\"turns\": []}").find("is missing"), std::string::npos);
  EXPECT_NE(message("{\"prompt\": \"a\", \"max_tokens\": -1}").find("from 0 to"), std::string::npos);
  EXPECT_NE(message("{\"prompt\": \"a\", \"top_p\": 1.5}").find("top_p"), std::string::npos);
  EXPECT_NE(message("{\"prompt\": \"a\", \"deadline\": 0}").find("above 0"), std::string::npos);
  EXPECT_NE(message("{\"prompt\": \"a\", \"id\": \"1\"}").find("line 1 too"), std::string::npos);
  EXPECT_NE(message("{\"prompt\": ").find("line 2"), std::string::npos);
}

TEST(Task, ResultsAreKnownByTheirIds) {
  EXPECT_EQ(*parse_result_ids("{\"id\":\"a\",\"text\":\"\"}\n{\"id\":\"b\"}\n"), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(parse_result_ids("")->empty());
  EXPECT_EQ(parse_result_ids("{\"prompt\":\"a\"}").error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(parse_result_ids("nonsense").error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace infer::batch
