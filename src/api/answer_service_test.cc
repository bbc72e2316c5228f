#include "api/answer_service.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "api/openai_routes.h"
#include "http/event_stream.h"
#include "testing/api_server.h"
#include "testing/hooked_runner.h"
#include "testing/property.h"
#include "testing/tcp_peer.h"

namespace infer::api {
namespace {

using testing::ApiServer;
using testing::ApiServerOptions;
using testing::at;

constexpr const char* kCompletions = "/v1/completions";
// Of about 500 tokens: long enough to be ended by somebody else.
constexpr const char* kLong = R"({"prompt":"Once","max_tokens":-1,"ignore_eos":true,"stream":true})";

bool take_head(const http::Response&) { return true; }

// Waits for the engine to have done something and to have nothing left to do; it publishes behind each step, so that a
// client may be quicker.
bool becomes_idle(const ApiServer& server) {
  const Instant until = server.clock().now() + Duration::from_seconds(60);
  while (server.clock().now() < until) {
    const engine::EngineSnapshot seen = server.engine().snapshot();
    const auto& ended = seen.counters.ended;
    uint64_t all = 0;
    for (const uint64_t each : ended) all += each;
    if (all > 0 && all == seen.counters.requests && server.service().calls() == 0) return true;
    std::this_thread::yield();
  }
  return false;
}

// Waits for the service to have let go of all calls.
bool becomes_free(const ApiServer& server) {
  const Instant until = server.clock().now() + Duration::from_seconds(60);
  while (server.service().calls() > 0 && server.clock().now() < until) std::this_thread::yield();
  return server.service().calls() == 0;
}

// A server whose answers stand still behind some tokens until they may go on: on a machine under load they would else
// be complete before it is noticed that somebody ends them.
class HeldAnswers {
 public:
  ApiServerOptions options() {
    ApiServerOptions options{.context = 2048};
    options.limits.watchdog = {.silent_after = Duration::from_seconds(120),
                               .hung_after = Duration::from_seconds(180),
                               .lost_after = Duration::from_seconds(240)};
    options.make_runner = [this](model::Model& model) {
      auto runner = std::make_unique<testing::HookedRunner>(model);
      runner->before_step = [this, steps = 0](const model::StepBatch&) mutable {
        if (++steps > 8) may_go_.wait(false);
      };
      return runner;
    };
    return options;
  }
  void let_go() {
    may_go_ = true;
    may_go_.notify_all();
  }

 private:
  std::atomic<bool> may_go_{false};
};

uint64_t ended_with(const ApiServer& server, engine::FinishReason reason) {
  return server.engine().snapshot().counters.ended[static_cast<size_t>(reason)];
}

TEST(AnswerService, AClientThatGoesWithinAStreamCancelsItsRequest) {
  HeldAnswers held;
  const ApiServer server(held.options());
  http::Client client;
  const auto leave = [](std::string_view) { return false; };
  const auto answer =
      client.stream({.method = "POST", .url = server.url() + kCompletions, .headers = {}, .body = kLong}, take_head,
                    leave, {server.clock(), Deadline::never(), {}});
  EXPECT_FALSE(answer.has_value());
  EXPECT_TRUE(becomes_free(server));
  held.let_go();
  ASSERT_TRUE(becomes_idle(server));
  EXPECT_EQ(ended_with(server, engine::FinishReason::kCancelled), 1u);
}

TEST(AnswerService, AClientThatGoesBeforeAWholeReplyCancelsItToo) {
  HeldAnswers held;
  const ApiServer server(held.options());
  CancelSource cancel;
  std::thread leave([&] {
    while (server.engine().snapshot().counters.generated_tokens < 5) std::this_thread::yield();
    cancel.cancel(CancelReason::kUser);
  });
  http::Client client;
  const auto answer = client.send({.method = "POST",
                                   .url = server.url() + kCompletions,
                                   .headers = {},
                                   .body = R"({"prompt":"Once","max_tokens":-1,"ignore_eos":true})"},
                                  {server.clock(), Deadline::never(), cancel.token()});
  leave.join();
  EXPECT_FALSE(answer.has_value());
  EXPECT_TRUE(becomes_free(server));
  held.let_go();
  ASSERT_TRUE(becomes_idle(server));
  EXPECT_EQ(ended_with(server, engine::FinishReason::kCancelled), 1u);
}

TEST(AnswerService, ARequestIsCancelledByItsId) {
  HeldAnswers held;
  const ApiServer server(held.options());
  http::Headers headers;
  headers.add("X-Request-Id", "story-1");
  http::Client client;
  std::string body;
  bool told = false;
  const auto on_body = [&](std::string_view bytes) {
    body += bytes;
    if (!told) {
      told = true;
      const http::Response cancelled = server.send("POST", "/v1/requests/story-1/cancel");
      EXPECT_EQ(cancelled.status, 200);
      EXPECT_EQ(at(Json::parse(cancelled.body).value(), "cancelled").as_bool(), true);
      held.let_go();
    }
    return true;
  };
  const auto answer =
      client.stream({.method = "POST", .url = server.url() + kCompletions, .headers = headers, .body = kLong},
                    take_head, on_body, {server.clock(), Deadline::never(), {}});
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_NE(body.find(R"("finish_reason":"cancelled")"), std::string::npos);
  EXPECT_NE(body.find(R"("cancel_reason":"user")"), std::string::npos);
  EXPECT_NE(body.find(R"("finish_reason":"length")"), std::string::npos);  // It does not look complete.
  EXPECT_EQ(server.send("POST", "/v1/requests/story-1/cancel").status, 404);
}

TEST(AnswerService, ADeadlineKeepsWhatIsThereAndMarksIt) {
  const ApiServer server;
  const Json late =
      server.post(kCompletions, R"({"prompt":"Once","max_tokens":-1,"ignore_eos":true,"infer_os":{"deadline_ms":60}})");
  // On a machine under load the first token may come too late; then the error says so.
  if (late.find("error") != nullptr) {
    EXPECT_EQ(at(late, "error", "code").as_string(), "deadline_exceeded");
    return;
  }
  EXPECT_EQ(at(late, "choices", 0, "finish_reason").as_string(), "length");
  if (at(late, "infer_os", "finish_reason").as_string() == "deadline") {
    EXPECT_EQ(at(late, "infer_os", "passed_limit").as_string(), "total");
    EXPECT_LE(at(late, "infer_os", "deadline_slack_ms").as_double(), 0);
  }
}

TEST(AnswerService, ADeadlineThatCannotBeMetIsAnErrorThatIsNotToBeRepeated) {
  const ApiServer server;
  // Learnt from: then what cannot be met is refused at once.
  (void)server.post(kCompletions, R"({"prompt":"Once","max_tokens":20})");
  while (server.engine().snapshot().running > 0) std::this_thread::yield();  // Published after the answer is out.
  std::string words;
  for (int i = 0; i < 90; ++i) words += "The king rode out. ";
  http::Headers headers;
  headers.add("X-Request-Timeout", "1ms");
  const http::Response late = server.send("POST", kCompletions, Json::object().set("prompt", words).dump(), headers);
  EXPECT_EQ(late.status, 504) << late.body;
  EXPECT_EQ(late.headers.find("X-Should-Retry"), "false");
  EXPECT_EQ(at(Json::parse(late.body).value(), "error", "code").as_string(), "deadline_exceeded");
}

TEST(AnswerService, WhatTheEngineNeverHadIsCountedByItsReason) {
  const ApiServer server;
  const auto count = [&](telemetry::Rejection reason) {
    return server.recorder().rejections()[static_cast<size_t>(reason)];
  };
  (void)server.send("POST", kCompletions, R"({"prompt":7})");
  EXPECT_EQ(count(telemetry::Rejection::kInvalid), 1u);
  std::string words;
  for (int i = 0; i < 600; ++i) words += "king ";
  (void)server.send("POST", kCompletions, Json::object().set("prompt", words).dump());
  EXPECT_EQ(count(telemetry::Rejection::kTooLong), 1u);
  (void)server.post(kCompletions, R"({"prompt":"Once","max_tokens":2})");
  EXPECT_EQ(count(telemetry::Rejection::kDeadline) + count(telemetry::Rejection::kQueueFull), 0u);
}

TEST(AnswerService, TooManyRequestsAreToldToComeBack) {
  const ApiServer server({.limits = {.running_max = 1, .waiting_max = 2}, .service = {.seed = 7}});
  std::vector<std::thread> clients;
  std::atomic<int> answered{0}, refused{0};
  for (int i = 0; i < 12; ++i) {
    clients.emplace_back([&] {
      const http::Response response =
          server.send("POST", kCompletions, R"({"prompt":"Once","max_tokens":200,"ignore_eos":true})");
      if (response.status == 200) ++answered;
      if (response.status != 503) return;
      ++refused;
      EXPECT_TRUE(response.headers.find("Retry-After").has_value());
      EXPECT_EQ(at(Json::parse(response.body).value(), "error", "code").as_string(), "overloaded");
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(answered + refused, 12);
  EXPECT_GE(answered, 1);
  ASSERT_TRUE(becomes_idle(server));
}

TEST(AnswerService, AClientThatReadsNothingHoldsUpNobody) {
  const ApiServer server;
  testing::TcpPeer silent(server.port());
  const std::string body = kLong;
  silent.send("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\n\r\n" + body);
  const Json reply = server.post(kCompletions, R"({"prompt":"The wolf","max_tokens":5,"ignore_eos":true})");
  EXPECT_EQ(at(reply, "usage", "completion_tokens").as_int(), 5);
}

// ---- Anything at all.

Json random_value(Rng& rng, int depth) {
  switch (rng.below(depth > 3 ? 6 : 8)) {
    case 0: return {};
    case 1: return rng.below(2) == 0;
    case 2: return static_cast<int64_t>(rng.next());
    case 3: return static_cast<int>(rng.below(40)) - 5;
    case 4: return rng.uniform() * 4 - 1;
    case 5: return std::string(rng.below(12), static_cast<char>('a' + rng.below(26)));
    case 6: {
      Json list = Json::array();
      for (uint32_t i = rng.below(4); i > 0; --i) list.push(random_value(rng, depth + 1));
      return list;
    }
    default: {
      Json object = Json::object();
      for (const char* key : {"type", "role", "content", "name", "function", "schema", "text", "deadline_ms"}) {
        if (rng.below(3) == 0) object.set(key, random_value(rng, depth + 1));
      }
      return object;
    }
  }
}

// A good body with some of its fields replaced, so that most of it is read.
std::string random_body(Rng& rng) {
  Json body = Json::object();
  body.set("prompt", "Once").set("max_tokens", 2);
  body.set("messages", Json::array().push(Json::object().set("role", "user").set("content", "x")));
  for (const char* key : {"model",
                          "prompt",
                          "messages",
                          "max_tokens",
                          "temperature",
                          "top_p",
                          "top_k",
                          "n",
                          "stop",
                          "stream",
                          "seed",
                          "stream_options",
                          "logprobs",
                          "top_logprobs",
                          "response_format",
                          "grammar",
                          "json_schema",
                          "tools",
                          "tool_choice",
                          "infer_os",
                          "logit_bias",
                          "ignore_eos",
                          "chat_template_kwargs",
                          "best_of",
                          "input"}) {
    if (rng.below(8) == 0) body.set(key, random_value(rng, 0));
  }
  // So that nothing runs for long.
  if (body.find("max_tokens")->as_int().value_or(-1) < 0 || *body.find("max_tokens")->as_int() > 4) {
    body.set("max_tokens", 3);
  }
  std::string text = body.dump();
  if (rng.below(10) == 0) text.resize(rng.below(static_cast<uint32_t>(text.size()) + 1));
  if (rng.below(10) == 0 && !text.empty())
    text[rng.below(static_cast<uint32_t>(text.size()))] = static_cast<char>(rng.next());
  return text;
}

TEST(AnswerService, NoBodyMakesItFail) {
  const ApiServer server;
  testing::for_each_case(300, [&](Rng& rng) {
    const std::string body = random_body(rng);
    for (const char* path : {"/v1/chat/completions", kCompletions, "/v1/responses", "/v1/embeddings"}) {
      const http::Response response = server.send("POST", path, body);
      EXPECT_TRUE(response.status == 200 || (response.status >= 400 && response.status < 500) ||
                  response.status == 503 || response.status == 504)
          << response.status << " " << path << " " << body << "\n"
          << response.body;
    }
  });
  EXPECT_EQ(server.send("GET", "/health").status, 200);
}

}  // namespace
}  // namespace infer::api
