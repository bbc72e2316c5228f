#include "api/chat_answer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "http/event_stream.h"
#include "testing/api_server.h"
#include "testing/byte_tokenizer.h"

namespace infer::api {
namespace {

using testing::at;

engine::AnswerPiece piece(std::string text) { return {.token = 1, .text = std::move(text), .logprobs = std::nullopt}; }

engine::RequestResult result(engine::FinishReason reason) {
  engine::RequestResult ended;
  ended.finish_reason = reason;
  ended.stage = "normal";
  ended.prompt_tokens = 100;
  ended.cached_tokens = 64;
  ended.generated_tokens = 11;
  ended.submitted = Instant::from_ns(0);
  ended.started = Instant::from_ns(1'000'000);
  ended.first_token = Instant::from_ns(19'000'000);
  ended.last_token = Instant::from_ns(119'000'000);
  ended.ended = Instant::from_ns(120'000'000);
  return ended;
}

class ChatAnswerTest : public ::testing::Test {
 protected:
  ChatAnswer make(bool is_stream, chat::AnswerParser::Options parser = {}) {
    return {{.facts = {.id = "req_1", .model = "m", .created = 1700000000, .deadline = Instant::from_ns(620'000'000)},
             .is_stream = is_stream,
             .parser = std::move(parser)},
            *tokenizer_};
  }
  // What a client of the stream puts together, and how many of its events had each part.
  static std::vector<Json> events(const std::string& bytes) {
    http::EventStreamParser parser(1 << 20);
    auto parsed = parser.parse(bytes).value();
    std::vector<Json> all;
    for (const http::ServerSentEvent& event : parsed) {
      if (event.data != "[DONE]") all.push_back(Json::parse(event.data).value());
    }
    return all;
  }

  const std::unique_ptr<tokenizer::Tokenizer> tokenizer_ = testing::make_byte_tokenizer(false);
  const chat::AnswerParser::Options tools_{.reasoning = {.open = "<think>", .close = "</think>"},
                                           .finds_tool_calls = true,
                                           .tool_call_format = chat::ToolCallFormat::kHermes};
};

TEST_F(ChatAnswerTest, AToolCallBecomesACallAndItsReason) {
  const std::string answer =
      "<think>A tool.</think>Let me see.<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": "
      "\"Rome\"}}</tool_call>";
  ChatAnswer whole = make(false, tools_);
  for (const char c : answer) (void)whole.add(0, piece(std::string(1, c)));
  (void)whole.end_choice(0, result(engine::FinishReason::kStop));
  const Json reply = whole.whole();
  const Json& message = at(reply, "choices", 0, "message");
  EXPECT_EQ(at(message, "content").as_string(), "Let me see.");
  EXPECT_EQ(at(message, "reasoning_content").as_string(), "A tool.");
  EXPECT_EQ(at(message, "tool_calls", 0, "type").as_string(), "function");
  EXPECT_EQ(at(message, "tool_calls", 0, "function", "name").as_string(), "weather");
  EXPECT_EQ(Json::parse(*at(message, "tool_calls", 0, "function", "arguments").as_string())->dump(),
            R"({"city":"Rome"})");
  EXPECT_FALSE(at(message, "tool_calls", 0, "id").as_string()->empty());
  EXPECT_EQ(at(reply, "choices", 0, "finish_reason").as_string(), "tool_calls");

  ChatAnswer stream = make(true, tools_);
  std::string bytes = stream.begin();
  for (const char c : answer) bytes += stream.add(0, piece(std::string(1, c)));
  bytes += stream.end_choice(0, result(engine::FinishReason::kStop)) + stream.end();
  std::string content, reasoning;
  std::vector<Json> calls;
  for (const Json& event : events(bytes)) {
    const Json& delta = at(event, "choices", 0, "delta");
    content += at(delta, "content").as_string().value_or("");
    reasoning += at(delta, "reasoning_content").as_string().value_or("");
    for (const Json& call : at(delta, "tool_calls").elements()) calls.push_back(call);
  }
  EXPECT_EQ(content, "Let me see.");
  EXPECT_EQ(reasoning, "A tool.");
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(at(calls[0], "index").as_int(), 0);
  EXPECT_EQ(at(calls[0], "function", "name").as_string(), "weather");
  EXPECT_EQ(at(events(bytes).back(), "choices", 0, "finish_reason").as_string(), "tool_calls");
}

TEST_F(ChatAnswerTest, ACallWithoutWordsHasNoContent) {
  ChatAnswer whole = make(false, tools_);
  (void)whole.add(0, piece("<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>"));
  (void)whole.end_choice(0, result(engine::FinishReason::kStop));
  const Json reply = whole.whole();
  EXPECT_TRUE(at(reply, "choices", 0, "message").find("content")->is_null());
}

TEST_F(ChatAnswerTest, UsageAndTimingsFollowFromTheResult) {
  ChatAnswer whole = make(false);
  (void)whole.add(0, piece("Hi"));
  (void)whole.end_choice(0, result(engine::FinishReason::kStop));
  const Json reply = whole.whole();
  EXPECT_EQ(
      at(reply, "usage").dump(),
      R"({"prompt_tokens":100,"completion_tokens":11,"total_tokens":111,"prompt_tokens_details":{"cached_tokens":64}})");
  EXPECT_EQ(at(reply, "timings", "prompt_n").as_int(), 36);
  EXPECT_DOUBLE_EQ(*at(reply, "timings", "prompt_ms").as_double(), 18);
  EXPECT_DOUBLE_EQ(*at(reply, "timings", "prompt_per_second").as_double(), 2000);
  EXPECT_DOUBLE_EQ(*at(reply, "timings", "predicted_ms").as_double(), 100);
  EXPECT_DOUBLE_EQ(*at(reply, "timings", "predicted_per_second").as_double(), 100);  // Ten of eleven tokens.
  EXPECT_DOUBLE_EQ(*at(reply, "infer_os", "deadline_slack_ms").as_double(), 500);
  EXPECT_DOUBLE_EQ(*at(reply, "infer_os", "queue_ms").as_double(), 1);
}

TEST_F(ChatAnswerTest, WhatWasCutOffNeverLooksComplete) {
  using engine::FinishReason;
  for (const FinishReason reason : {FinishReason::kLength, FinishReason::kDeadline, FinishReason::kCancelled,
                                    FinishReason::kNoToken, FinishReason::kFailed}) {
    ChatAnswer whole = make(false);
    (void)whole.end_choice(0, result(reason));
    const Json reply = whole.whole();
    EXPECT_EQ(at(reply, "choices", 0, "finish_reason").as_string(), "length");
    EXPECT_EQ(at(reply, "infer_os", "finish_reason").as_string(), engine::finish_reason_name(reason));
  }
}

TEST_F(ChatAnswerTest, AnErrorWithinAStreamIsAnEventAndItsEnd) {
  ChatAnswer stream = make(true);
  (void)stream.begin();
  EXPECT_EQ(stream.failed(deadline_passed("too late")),
            "data: {\"error\":{\"message\":\"too late\",\"type\":\"server_error\",\"param\":null,\"code\":"
            "\"deadline_exceeded\"}}\n\ndata: [DONE]\n\n");
}

}  // namespace
}  // namespace infer::api
