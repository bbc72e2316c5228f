#include "api/openai_routes.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/format.h"
#include "testing/api_server.h"

namespace infer::api {
namespace {

using testing::ApiServer;
using testing::at;

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kCompletions = "/v1/completions";

// One server for all tests of the file: loading takes longer than any of them.
const ApiServer& server() {
  static const ApiServer kServer;
  return kServer;
}

std::string text(const Json& json) { return std::string(json.as_string().value_or("(no text)")); }

std::string chat_body(const std::string& more) {
  return R"({"messages":[{"role":"user","content":"Once upon a time"}],"temperature":0,"max_tokens":8)" + more + "}";
}
std::string completion_body(const std::string& more) {
  return R"({"prompt":"Once upon a time","temperature":0,"max_tokens":8)" + more + "}";
}

// Status and error of a request that must be refused.
Json refused(int status, const std::string& path, const std::string& body) {
  const http::Response response = server().send("POST", path, body);
  EXPECT_EQ(response.status, status) << body << "\n" << response.body;
  const Json json = Json::parse(response.body).value();
  EXPECT_TRUE(at(json, "error", "message").as_string()) << response.body;
  EXPECT_TRUE(at(json, "error", "type").as_string());
  EXPECT_NE(at(json, "error").find("param"), nullptr);
  EXPECT_NE(at(json, "error").find("code"), nullptr);
  return at(json, "error");
}

TEST(OpenAiRoutes, AChatIsAnsweredWhole) {
  const Json reply = server().post(kChat, chat_body(""));
  EXPECT_EQ(at(reply, "id").as_string()->substr(0, 9), "chatcmpl-");
  EXPECT_EQ(at(reply, "object").as_string(), "chat.completion");
  EXPECT_GE(at(reply, "created").as_int(), 1'700'000'000);
  EXPECT_EQ(at(reply, "model").as_string(), "tales");
  EXPECT_EQ(at(reply, "choices").elements().size(), 1u);
  EXPECT_EQ(at(reply, "choices", 0, "index").as_int(), 0);
  EXPECT_EQ(at(reply, "choices", 0, "message", "role").as_string(), "assistant");
  EXPECT_FALSE(at(reply, "choices", 0, "message", "content").as_string()->empty());
  EXPECT_EQ(at(reply, "choices", 0, "finish_reason").as_string(), "length");
  EXPECT_EQ(at(reply, "usage", "completion_tokens").as_int(), 8);
  EXPECT_EQ(*at(reply, "usage", "total_tokens").as_int(), *at(reply, "usage", "prompt_tokens").as_int() + 8);
  EXPECT_TRUE(at(reply, "usage", "prompt_tokens_details", "cached_tokens").as_int());
  EXPECT_EQ(at(reply, "timings", "predicted_n").as_int(), 8);
  EXPECT_EQ(at(reply, "infer_os", "finish_reason").as_string(), "length");
  EXPECT_EQ(at(reply, "infer_os", "stage").as_string(), "normal");
  EXPECT_GT(at(reply, "infer_os", "deadline_slack_ms").as_double(), 0);
}

TEST(OpenAiRoutes, AStreamSaysTheSameAsAWholeReply) {
  for (const char* path : {kChat, kCompletions}) {
    const bool is_chat = path == kChat;
    const auto body = is_chat ? chat_body : completion_body;
    const Json whole = server().post(path, body(""));
    const ApiServer::Stream stream =
        server().stream(path, body(R"(,"stream":true,"stream_options":{"include_usage":true})"));
    EXPECT_EQ(stream.head.headers.find("Content-Type"), "text/event-stream; charset=utf-8");
    ASSERT_GE(stream.events.size(), 4u);
    EXPECT_EQ(stream.events.back(), "[DONE]");
    std::string streamed, reason;
    std::set<std::string> ids;
    for (size_t i = 0; i + 2 < stream.events.size(); ++i) {
      const Json chunk = stream.json(i);
      EXPECT_EQ(at(chunk, "object").as_string(), is_chat ? "chat.completion.chunk" : "text_completion");
      EXPECT_TRUE(chunk.find("usage") != nullptr && chunk.find("usage")->is_null());
      ids.insert(text(at(chunk, "id")));
      const Json& piece = is_chat ? at(chunk, "choices", 0, "delta", "content") : at(chunk, "choices", 0, "text");
      streamed += piece.as_string().value_or("");
      if (const auto given = at(chunk, "choices", 0, "finish_reason").as_string()) reason = *given;
    }
    EXPECT_EQ(ids.size(), 1u);
    EXPECT_EQ(streamed,
              text(is_chat ? at(whole, "choices", 0, "message", "content") : at(whole, "choices", 0, "text")));
    EXPECT_EQ(reason, "length");
    const Json last = stream.json(stream.events.size() - 2);
    EXPECT_TRUE(at(last, "choices").elements().empty());
    EXPECT_EQ(at(last, "usage", "completion_tokens").as_int(), 8);
  }
}

TEST(OpenAiRoutes, TheFirstChunkOfAChatNamesTheRole) {
  const ApiServer::Stream stream = server().stream(kChat, chat_body(R"(,"stream":true)"));
  EXPECT_EQ(at(stream.json(0), "choices", 0, "delta", "role").as_string(), "assistant");
  EXPECT_EQ(at(stream.json(0), "choices", 0, "delta", "content").as_string(), "");
  EXPECT_EQ(stream.json(0).find("usage"), nullptr);
}

TEST(OpenAiRoutes, TheSamePromptAgainIsTakenFromTheCache) {
  std::string story;
  for (int i = 0; i < 40; ++i) story += "The king rode out once more. ";
  const std::string body = Json::object().set("prompt", story).set("max_tokens", 2).dump();
  (void)server().post(kCompletions, body);
  const Json again = server().post(kCompletions, body);
  EXPECT_GE(at(again, "usage", "prompt_tokens_details", "cached_tokens").as_int(), 64);
  EXPECT_EQ(at(again, "timings", "cache_n").as_int(), at(again, "infer_os", "cached_tokens").as_int());
}

TEST(OpenAiRoutes, AStopStringEndsTheAnswerBeforeIt) {
  const Json whole = server().post(kCompletions, completion_body(""));
  const std::string answer = text(at(whole, "choices", 0, "text"));
  const std::string stop = answer.substr(5, 4);
  for (const Json& given : {Json(stop), Json::array().push("never seen").push(stop)}) {
    const Json cut = server().post(kCompletions, completion_body(",\"stop\":" + given.dump()));
    EXPECT_EQ(text(at(cut, "choices", 0, "text")), answer.substr(0, answer.find(stop)));
    EXPECT_EQ(at(cut, "choices", 0, "finish_reason").as_string(), "stop");
  }
}

TEST(OpenAiRoutes, ASeedRepeatsAnAnswer) {
  const std::string wild = R"({"prompt":"The wolf","temperature":1.5,"max_tokens":24,"seed":)";
  const auto answer = [&](const std::string& seed) {
    return text(at(server().post(kCompletions, wild + seed + "}"), "choices", 0, "text"));
  };
  EXPECT_EQ(answer("11"), answer("11"));
  EXPECT_NE(answer("11"), answer("12"));
  const Json unseeded = server().post(kCompletions, R"({"prompt":"The wolf","temperature":1.5,"max_tokens":24})");
  // The seed that it drew gives the same again.
  EXPECT_TRUE(at(unseeded, "infer_os", "seed").as_double());
}

// Token by token of a greedy answer: the first choice refused, another made certain.
TEST(OpenAiRoutes, ABiasRefusesATokenOrMakesItCertain) {
  const auto first_token = [](const Json& reply) {
    return text(at(reply, "choices", 0, "logprobs", "content", 0, "token"));
  };
  const std::string probabilities = R"(,"logprobs":true,"top_logprobs":3)";
  const std::string best = first_token(server().post(kChat, chat_body(probabilities)));
  const tokenizer::Tokenizer& tokenizer = server().model().tokenizer;
  TokenId token = 0;
  while (tokenizer.piece(token, false) != best) ++token;
  const Json without = server().post(kChat, chat_body(probabilities + format(R"(,"logit_bias":{{"{}":-100}})", token)));
  EXPECT_NE(first_token(without), best);
  const Json always = server().post(kCompletions, completion_body(format(R"(,"logit_bias":{{"{}":100}})", token)));
  std::string expected;
  for (int i = 0; i < 8; ++i) expected += best;
  EXPECT_EQ(text(at(always, "choices", 0, "text")), expected);
  const Json response = server().post(
      "/v1/responses",
      format(R"({{"input":"Once","temperature":0,"max_output_tokens":8,"logit_bias":{{"{}":100}}}})", token));
  EXPECT_EQ(text(at(response, "output", 0, "content", 0, "text")), expected);
}

TEST(OpenAiRoutes, ManyChoicesAreAsManyAnswersOfOnePrompt) {
  const Json reply = server().post(
      kChat, R"({"messages":[{"role":"user","content":"The wolf"}],"n":3,"temperature":1.5,"seed":1,"max_tokens":16})");
  ASSERT_EQ(at(reply, "choices").elements().size(), 3u);
  std::set<std::string> answers;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(at(reply, "choices", i, "index").as_int(), i);
    answers.insert(text(at(reply, "choices", i, "message", "content")));
  }
  EXPECT_EQ(answers.size(), 3u);
  const Json one = server().post(kChat, R"({"messages":[{"role":"user","content":"The wolf"}],"max_tokens":16})");
  EXPECT_EQ(at(reply, "usage", "prompt_tokens").as_int(), at(one, "usage", "prompt_tokens").as_int());
}

TEST(OpenAiRoutes, PromptsComeAsTextTokensOrListsOfThem) {
  const std::vector<TokenId> tokens = server().model().tokenizer.encode("Once upon a time", {});
  const std::string rest = R"(,"temperature":0,"max_tokens":8})";
  const std::string expected = text(at(server().post(kCompletions, completion_body("")), "choices", 0, "text"));
  const std::string ids = Json::array_of(tokens).dump();
  EXPECT_EQ(text(at(server().post(kCompletions, "{\"prompt\":" + ids + rest), "choices", 0, "text")), expected);
  const Json two = server().post(kCompletions, "{\"prompt\":[" + ids + ",\"Once upon a time\"]" + rest);
  ASSERT_EQ(at(two, "choices").elements().size(), 2u);
  EXPECT_EQ(text(at(two, "choices", 1, "text")), expected);
  EXPECT_EQ(at(two, "usage", "prompt_tokens").as_int(), static_cast<int64_t>(2 * tokens.size()));
}

TEST(OpenAiRoutes, LogprobsHaveOneEntryForEachToken) {
  const Json chat = server().post(kChat, chat_body(R"(,"logprobs":true,"top_logprobs":3)"));
  const auto& content = at(chat, "choices", 0, "logprobs", "content").elements();
  ASSERT_EQ(content.size(), 8u);
  std::string joined;
  for (const Json& token : content) {
    joined += text(at(token, "token"));
    EXPECT_LE(at(token, "logprob").as_double(), 0);
    ASSERT_EQ(at(token, "top_logprobs").elements().size(), 3u);
    // Greedy: the token is the likeliest one.
    EXPECT_EQ(at(token, "top_logprobs", 0, "token").as_string(), at(token, "token").as_string());
    EXPECT_EQ(at(token, "bytes").elements().size(), at(token, "token").as_string()->size());
  }
  EXPECT_EQ(joined, text(at(chat, "choices", 0, "message", "content")));

  const Json completion = server().post(kCompletions, completion_body(R"(,"logprobs":2)"));
  const Json& lists = at(completion, "choices", 0, "logprobs");
  EXPECT_EQ(at(lists, "tokens").elements().size(), 8u);
  EXPECT_EQ(at(lists, "token_logprobs").elements().size(), 8u);
  EXPECT_EQ(at(lists, "top_logprobs", 0).members().size(), 2u);
  EXPECT_EQ(at(lists, "text_offset", 1).as_int(), static_cast<int64_t>(text(at(lists, "tokens", 0)).size()));
}

TEST(OpenAiRoutes, LogprobsOfAStreamAreThoseOfAWholeReply) {
  const std::string more = R"(,"logprobs":true,"top_logprobs":1)";
  const Json whole = server().post(kChat, chat_body(more));
  const ApiServer::Stream stream = server().stream(kChat, chat_body(more + R"(,"stream":true)"));
  Json streamed = Json::array();
  for (size_t i = 0; i + 1 < stream.events.size(); ++i) {
    const Json chunk = stream.json(i);
    for (const Json& token : at(chunk, "choices", 0, "logprobs", "content").elements()) streamed.push(token);
  }
  EXPECT_EQ(streamed.dump(), at(whole, "choices", 0, "logprobs", "content").dump());
}

TEST(OpenAiRoutes, AResponseHasTheLogprobsOfItsText) {
  const std::string body = R"({"input":"Once upon a time","temperature":0,"max_output_tokens":8,"top_logprobs":2)";
  const Json whole = server().post("/v1/responses", body + "}");
  const Json& content = at(whole, "output", 0, "content", 0);
  ASSERT_EQ(at(content, "logprobs").elements().size(), 8u);
  EXPECT_EQ(at(whole, "top_logprobs").as_int(), 2);
  std::string tokens;
  for (const Json& each : at(content, "logprobs").elements()) {
    tokens += text(at(each, "token"));
    EXPECT_LE(at(each, "logprob").as_double(), 0.0);
    EXPECT_EQ(at(each, "top_logprobs").elements().size(), 2u);
    EXPECT_EQ(text(at(each, "top_logprobs", 0, "token")), text(at(each, "token")));
  }
  EXPECT_EQ(tokens, text(at(content, "text")));
  // The same from a stream, each with the text that it belongs to; and by the name that OpenAI gives to the wish.
  const ApiServer::Stream stream =
      server().stream("/v1/responses", body + R"(,"stream":true,"include":["message.output_text.logprobs"]})");
  Json streamed = Json::array();
  for (size_t i = 0; i < stream.events.size(); ++i) {
    const Json event = stream.json(i);
    if (at(event, "type").as_string() != "response.output_text.delta") continue;
    std::string delta;
    for (const Json& each : at(event, "logprobs").elements()) {
      delta += text(at(each, "token"));
      streamed.push(each);
    }
    EXPECT_EQ(delta, text(at(event, "delta")));
  }
  EXPECT_EQ(streamed.dump(), at(content, "logprobs").dump());
  const Json without = server().post("/v1/responses", R"({"input":"Once","max_output_tokens":2})");
  EXPECT_TRUE(at(without, "output", 0, "content", 0, "logprobs").elements().empty());
  (void)refused(400, "/v1/responses", R"({"input":"x","top_logprobs":21})");
}

TEST(OpenAiRoutes, AnAnswerFollowsItsSchema) {
  const std::string schema =
      R"({"type":"object","properties":{"age":{"type":"integer","minimum":0,"maximum":120}},"required":["age"]})";
  const Json reply = server().post(
      kChat, R"({"messages":[{"role":"user","content":"The king"}],"max_tokens":60,"n":2,"response_format":)"
             R"({"type":"json_schema","json_schema":{"name":"king","schema":)" +
                 schema + "}}}");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(at(reply, "choices", i, "finish_reason").as_string(), "stop");
    const auto answer = Json::parse(text(at(reply, "choices", i, "message", "content")));
    ASSERT_TRUE(answer.has_value()) << reply.dump();
    const std::optional<int64_t> age = at(*answer, "age").as_int();
    EXPECT_TRUE(age && *age >= 0 && *age <= 120) << answer->dump();
  }
}

TEST(OpenAiRoutes, TextsBecomeVectorsOfUnitLength) {
  const Json reply = server().post("/v1/embeddings", R"({"input":["The king","A wolf"]})");
  ASSERT_EQ(at(reply, "data").elements().size(), 2u) << reply.dump();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(at(reply, "data", i, "index").as_int(), i);
    double square = 0;
    for (const Json& value : at(reply, "data", i, "embedding").elements())
      square += *value.as_double() * *value.as_double();
    EXPECT_NEAR(square, 1, 1e-4);
  }
  EXPECT_EQ(at(reply, "usage", "prompt_tokens").as_int(), at(reply, "usage", "total_tokens").as_int());
  const Json packed = server().post("/v1/embeddings", R"({"input":"The king","encoding_format":"base64"})");
  // Four bytes a number, four digits for three bytes.
  const size_t numbers = at(reply, "data", 0, "embedding").elements().size();
  EXPECT_EQ(text(at(packed, "data", 0, "embedding")).size(), (4 * numbers + 2) / 3 * 4);
  (void)refused(400, "/v1/embeddings", R"({"input":"x","dimensions":8})");
  (void)refused(400, "/v1/embeddings", "{}");
}

TEST(OpenAiRoutes, WrongValuesAreRefusedInTheShapeOfTheApi) {
  struct Case {
    const char* path;
    const char* body;
    const char* param;
    const char* code;
  };
  const Case cases[] = {
      {kChat, "{}", "messages", "missing_required_parameter"},
      {kChat, R"({"messages":[]})", "messages", "invalid_value"},
      {kChat, R"({"messages":"hi"})", "messages", "invalid_type"},
      {kChat, R"({"messages":[{"content":"x"}]})", "messages[0].role", "missing_required_parameter"},
      {kChat, R"({"messages":[{"role":"king","content":"x"}]})", "messages[0].role", "invalid_value"},
      {kChat, R"({"messages":[{"role":"user","content":7}]})", "messages[0].content", "invalid_type"},
      {kChat, R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})", "messages[0].content[0].type",
       "invalid_value"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"temperature":3})", "temperature", "invalid_value"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"temperature":"hot"})", "temperature", "invalid_type"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"n":0})", "n", "invalid_value"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"stop":[""]})", "stop", "invalid_value"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"top_logprobs":2})", "top_logprobs", "invalid_value"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"stream_options":{}})", "stream_options", "invalid_value"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"infer_os":{"deadline_ms":0}})", "infer_os.deadline_ms",
       "invalid_value"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"logit_bias":{"5":101}})", "logit_bias.5",
       "invalid_value"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"logit_bias":{"5":"1"}})", "logit_bias.5", "invalid_type"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"logit_bias":{"5":null}})", "logit_bias.5",
       "invalid_type"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"logit_bias":{"king":1}})", "logit_bias", "invalid_value"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"logit_bias":{"-1":1}})", "logit_bias", "invalid_value"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"logit_bias":[5]})", "logit_bias", "invalid_type"},
      {kCompletions, R"({"prompt":"x","logit_bias":{"99999999":1}})", "logit_bias", "invalid_value"},
      {kChat, R"({"messages":[{"role":"user","content":"x"}],"response_format":{"type":"xml"}})",
       "response_format.type", "invalid_value"},
      {kCompletions, "{}", "prompt", "missing_required_parameter"},
      {kCompletions, R"({"prompt":[]})", "prompt", "invalid_value"},
      {kCompletions, R"({"prompt":{"a":1}})", "prompt", "invalid_type"},
      {kCompletions, R"({"prompt":[1,99999999]})", "prompt", "invalid_value"},
      {kCompletions, R"({"prompt":"x","echo":true})", "echo", "unsupported_parameter"},
      {kCompletions, R"({"prompt":"x","suffix":"y"})", "suffix", "unsupported_parameter"},
      {kCompletions, R"({"prompt":"x","best_of":3})", "best_of", "unsupported_parameter"},
  };
  for (const Case& one : cases) {
    const Json error = refused(400, one.path, one.body);
    EXPECT_EQ(text(at(error, "param")), one.param) << one.body;
    EXPECT_EQ(text(at(error, "code")), one.code) << one.body;
  }
}

TEST(OpenAiRoutes, BodiesThatAreNoObjectsAreRefused) {
  for (const char* body : {"", "{", "[]", "7", "{\"messages\":}", "\xff\xfe"}) {
    (void)refused(400, kChat, body);
  }
}

TEST(OpenAiRoutes, HarmlessFieldsAreIgnoredAndNullMeansAbsent) {
  const Json reply = server().post(
      kChat,
      chat_body(R"(,"user":"me","store":true,"metadata":{"a":"b"},"service_tier":"auto","top_p":null,"stop":null)"));
  EXPECT_EQ(at(reply, "object").as_string(), "chat.completion");
}

TEST(OpenAiRoutes, APromptThatDoesNotFitSaysByHowMuch) {
  std::string words;
  for (int i = 0; i < 600; ++i) words += "king ";
  const Json error = refused(400, kCompletions, Json::object().set("prompt", words).dump());
  EXPECT_EQ(text(at(error, "code")), "context_length_exceeded");
  EXPECT_NE(text(at(error, "message")).find("maximum context length is 512 tokens"), std::string::npos);
  // So long that it is refused unread.
  const Json huge = refused(400, kCompletions, Json::object().set("prompt", std::string(4 << 20, 'x')).dump());
  EXPECT_EQ(text(at(huge, "code")), "context_length_exceeded");
}

TEST(OpenAiRoutes, OnlyTheModelThatIsServedAnswers) {
  const Json error = refused(404, kChat, R"({"model":"gpt-9","messages":[{"role":"user","content":"x"}]})");
  EXPECT_EQ(text(at(error, "code")), "model_not_found");
  for (const char* name : {"tales", "storyteller", ""}) {
    const Json reply = server().post(kChat, chat_body(std::string(",\"model\":\"") + name + "\""));
    EXPECT_EQ(at(reply, "model").as_string(), "tales");
  }
}

TEST(OpenAiRoutes, ModelsAreListed) {
  const Json list = Json::parse(server().send("GET", "/v1/models").body).value();
  EXPECT_EQ(at(list, "object").as_string(), "list");
  EXPECT_EQ(at(list, "data", 0, "id").as_string(), "tales");
  EXPECT_EQ(at(list, "data", 0, "object").as_string(), "model");
  EXPECT_EQ(at(list, "data", 0, "created").as_int(), 1'700'000'000);
  EXPECT_EQ(server().send("GET", "/v1/models/storyteller").status, 200);
  EXPECT_EQ(server().send("GET", "/v1/models/other").status, 404);
}

TEST(OpenAiRoutes, HealthTellsTheTime) {
  for (const char* path : {"/health", "/v1/health"}) {
    const http::Response response = server().send("GET", path);
    EXPECT_EQ(response.status, 200);
    const Json health = Json::parse(response.body).value();
    EXPECT_EQ(at(health, "status").as_string(), "healthy");
    EXPECT_EQ(at(health, "ready").as_bool(), true);
    EXPECT_EQ(text(at(health, "timestamp")).size(), std::string("2026-01-31T12:00:00.000Z").size());
  }
}

TEST(OpenAiRoutes, UnknownPathsAndMethodsAreToldInTheShapeOfTheApi) {
  const http::Response unknown = server().send("GET", "/v1/nothing");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(text(at(Json::parse(unknown.body).value(), "error", "code")), "unknown_url");
  const http::Response method = server().send("DELETE", kChat);
  EXPECT_EQ(method.status, 405);
  EXPECT_EQ(text(at(Json::parse(method.body).value(), "error", "code")), "method_not_allowed");
}

TEST(OpenAiRoutes, RepliesCarryTheIdOfTheRequest) {
  http::Headers headers;
  headers.add("X-Request-Id", "my-request.1");
  const http::Response given = server().send("POST", kChat, chat_body(""), headers);
  EXPECT_EQ(given.headers.find("X-Request-Id"), "my-request.1");
  const http::Response made = server().send("POST", kChat, chat_body(""));
  const http::Response failed = server().send("POST", kChat, "{}");
  EXPECT_EQ(made.headers.find("X-Request-Id")->substr(0, 4), "req_");
  EXPECT_NE(made.headers.find("X-Request-Id"), failed.headers.find("X-Request-Id"));
  const Json body = Json::parse(made.body).value();
  EXPECT_EQ(text(at(body, "infer_os", "request_id")), made.headers.find("X-Request-Id"));
  headers.set("X-Request-Id", "no spaces allowed");
  EXPECT_EQ(server().send("POST", kChat, "{}", headers).headers.find("X-Request-Id")->substr(0, 4), "req_");
}

}  // namespace
}  // namespace infer::api
