#include "api/chat_request.h"

#include <gtest/gtest.h>

#include <string>

#include "api/responses_request.h"
#include "base/log.h"
#include "chat/answer_markers.h"
#include "engine/grammar_cache.h"
#include "engine/vocabulary_trie.h"
#include "grammar/token_automaton.h"
#include "testing/api_server.h"
#include "testing/byte_tokenizer.h"
#include "testing/test_clock.h"
#include "tokenizer/handmade_vocabulary.h"

namespace infer::api {
namespace {

class ChatRequestTest : public ::testing::Test {
 protected:
  ChatRequest read(const std::string& fields) {
    error_.reset();
    const Json body =
        Json::parse(R"({"messages":[{"role":"user","content":"Hi"}])" + (fields.empty() ? "" : "," + fields) + "}")
            .value();
    FieldReader reader(body, error_);
    return read_chat_request(reader, model_, 5);
  }
  ChatRequest read_response(const std::string& text) {
    error_.reset();
    const Json body = Json::parse(text).value();
    FieldReader reader(body, error_);
    return read_responses_request(reader, model_, 5);
  }
  // Whether an answer that follows the grammar can be that text.
  bool accepts(const std::shared_ptr<grammar::TokenAutomaton>& grammar, std::string_view text) const {
    grammar::Constraint constraint(grammar);
    for (const TokenId token : tokenizer_->encode(text, {})) {
      if (!constraint.accept(token)) return false;
    }
    return constraint.may_end();
  }

  const testing::TestClock clock_;
  const std::unique_ptr<tokenizer::Tokenizer> tokenizer_ = testing::make_byte_tokenizer(false);
  const std::unique_ptr<chat::ChatTemplate> chat_ =
      chat::ChatTemplate::parse(
          "{% for t in tools or [] %}{{ t.function.name }};{% endfor %}{% for m in messages %}<{{ "
          "m.role }}>{{ m.content }}{% endfor %}{# <tool_call> #}<tool_call>",
          "", "")
          .value();
  engine::GrammarCache grammars_{engine::make_vocabulary_trie(*tokenizer_), 4};
  const ServedModel model_{.id = "m",
                           .aliases = {},
                           .tokenizer = *tokenizer_,
                           .chat = *chat_,
                           .clock = clock_,
                           .grammars = grammars_,
                           .context = 256,
                           .token_bytes_max = 1};
  std::optional<ApiError> error_;
};

TEST_F(ChatRequestTest, SettingsAreTakenOver) {
  const ChatRequest request = read(
      R"("temperature":0.5,"top_p":0.25,"min_p":0.125,"top_k":7,"seed":-3,"presence_penalty":1,"frequency_penalty":-1,)"
      R"("repetition_penalty":1.5,"max_tokens":9,"max_completion_tokens":4,"n":3,"stop":["a","b"],"ignore_eos":true,)"
      R"("logprobs":true,"top_logprobs":4)");
  ASSERT_FALSE(error_) << error_->message;
  const sampling::SamplingParams& params = request.generation.sampling;
  EXPECT_EQ(params.temperature, 0.5f);
  EXPECT_EQ(params.top_p, 0.25f);
  EXPECT_EQ(params.min_p, 0.125f);
  EXPECT_EQ(params.top_k, 7);
  EXPECT_EQ(params.seed, static_cast<uint64_t>(-3));
  EXPECT_EQ(params.presence_penalty, 1);
  EXPECT_EQ(params.frequency_penalty, -1);
  EXPECT_EQ(params.repeat_penalty, 1.5f);
  EXPECT_EQ(request.generation.tokens_max, 4);  // The newer name wins.
  EXPECT_EQ(request.generation.choices, 3);
  EXPECT_EQ(request.generation.stops, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(request.generation.ignore_end_tokens);
  EXPECT_EQ(request.top_logprobs, 4);
}

TEST_F(ChatRequestTest, WhatIsNotSaidIsTheModels) {
  const ChatRequest request = read("");
  EXPECT_EQ(request.generation.sampling.temperature, model_.sampling.temperature);
  EXPECT_EQ(request.generation.sampling.seed, 5u);
  EXPECT_EQ(request.generation.tokens_max, -1);
  EXPECT_EQ(request.top_logprobs, -1);
  EXPECT_EQ(request.generation.grammar, nullptr);
}

TEST_F(ChatRequestTest, FormatsBecomeGrammars) {
  const char* schema = R"({"type":"object","properties":{"age":{"type":"integer"}},"required":["age"]})";
  const std::string formats[] = {
      std::string(R"("response_format":{"type":"json_schema","json_schema":{"name":"n","schema":)") + schema + "}}",
      std::string(R"("response_format":{"type":"json_object","schema":)") + schema + "}",
      std::string(R"("json_schema":)") + schema};
  for (const std::string& format : formats) {
    const ChatRequest request = read(format);
    ASSERT_FALSE(error_) << error_->message;
    ASSERT_NE(request.generation.grammar, nullptr) << format;
    EXPECT_TRUE(accepts(request.generation.grammar, R"({"age": 7})"));
    EXPECT_FALSE(accepts(request.generation.grammar, R"({"name": 7})"));
  }
  EXPECT_TRUE(accepts(read(R"("response_format":{"type":"json_object"})").generation.grammar, R"({"name": [7]})"));
  EXPECT_EQ(read(R"("response_format":{"type":"text"})").generation.grammar, nullptr);
  EXPECT_TRUE(accepts(read(R"("grammar":"root ::= \"yes\"")").generation.grammar, "yes"));
  (void)read(R"("grammar":"root ::= \"yes\"","response_format":{"type":"json_object"})");
  EXPECT_TRUE(error_);
  (void)read(R"("grammar":"root ::= (")");
  ASSERT_TRUE(error_);
  EXPECT_EQ(error_->param, "grammar");
}

TEST_F(ChatRequestTest, ToolsReachTheTemplateAsChoiceSays) {
  const std::string tools =
      R"("tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}},)"
      R"({"type":"function","name":"g"}])";
  const auto names = [&](const std::string& choice) {
    const ChatRequest request = read(tools + choice);
    EXPECT_FALSE(error_) << error_->message;
    const auto prompt = chat_->render({.messages = {}, .tools = request.tools, .variables = {}, .now = {}});
    return prompt->text.substr(0, prompt->text.find("<tool_call>"));
  };
  EXPECT_EQ(names(""), "f;g;");
  EXPECT_EQ(names(R"(,"tool_choice":"auto")"), "f;g;");
  EXPECT_EQ(names(R"(,"tool_choice":"none")"), "");
  EXPECT_EQ(names(R"(,"tool_choice":{"type":"function","function":{"name":"g"}})"), "g;");
  const auto required = read(tools + R"(,"tool_choice":"required")").generation.grammar;
  ASSERT_NE(required, nullptr);
  EXPECT_TRUE(accepts(required, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>"));
  EXPECT_FALSE(accepts(required, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"b\": 1}}\n</tool_call>"));
  EXPECT_FALSE(accepts(required, "Rather not."));
  (void)read(tools + R"(,"tool_choice":{"type":"function","function":{"name":"h"}})");
  EXPECT_TRUE(error_);
}

// A vocabulary of bytes, and three words of Mistral's as control tokens.
TEST_F(ChatRequestTest, ARequiredCallMayBeginWithAControlToken) {
  tokenizer::HandmadeVocabulary words;
  words.start_byte_level();
  const TokenId calls = words.add("[TOOL_CALLS]", tokenizer::TokenKind::kControl);
  const TokenId arguments = words.add("[ARGS]", tokenizer::TokenKind::kControl);
  const TokenId other = words.add("[INST]", tokenizer::TokenKind::kControl);
  NullLog log;
  const auto tokenizer = tokenizer::make_tokenizer(words.data(), log).value();
  const auto chat = chat::ChatTemplate::parse("{{ tools }}[TOOL_CALLS]f[ARGS]{}", "", "").value();
  const std::vector<TokenId> markers = chat::find_marker_tokens(*chat, *tokenizer);
  EXPECT_EQ(markers, (std::vector<TokenId>{calls, arguments}));
  engine::GrammarCache grammars(engine::make_vocabulary_trie(*tokenizer, markers), 4);
  const ServedModel model{.id = "m",
                          .aliases = {},
                          .tokenizer = *tokenizer,
                          .chat = *chat,
                          .clock = clock_,
                          .grammars = grammars,
                          .markers = markers,
                          .context = 256,
                          .token_bytes_max = 1};
  const Json body =
      Json::parse(
          R"({"messages":[{"role":"user","content":"Hi"}],"tool_choice":"required","parallel_tool_calls":false,)"
          R"("tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":)"
          R"({"type":"integer"}},"required":["a"]}}}]})")
          .value();
  FieldReader reader(body, error_);
  const ChatRequest request = read_chat_request(reader, model, 1);
  ASSERT_FALSE(error_) << error_->message;
  EXPECT_TRUE(request.has_one_call_at_most);
  EXPECT_EQ(make_request(request.generation, {1}, model, -1).options.shown_controls, markers);
  grammar::Constraint constraint(request.generation.grammar);
  EXPECT_FALSE(constraint.allows(other));
  EXPECT_FALSE(constraint.allows(arguments));
  ASSERT_TRUE(constraint.accept(calls));
  EXPECT_FALSE(constraint.allows(calls));
  ASSERT_TRUE(constraint.accept(tokenizer->encode("f", {}).at(0)));
  ASSERT_TRUE(constraint.accept(arguments));
  for (const TokenId token : tokenizer->encode(R"({"a": 1})", {})) ASSERT_TRUE(constraint.accept(token));
  EXPECT_TRUE(constraint.must_end());
}

TEST_F(ChatRequestTest, TheSameGrammarServesRequestsThatAskForIt) {
  const std::string format = R"("response_format":{"type":"json_schema","json_schema":{"schema":{"type":"integer"}}})";
  const auto first = read(format).generation.grammar;
  EXPECT_EQ(read(format).generation.grammar, first);
  EXPECT_NE(read(R"("response_format":{"type":"json_object"})").generation.grammar, first);
}

TEST_F(ChatRequestTest, MessagesKeepWhatTheySay) {
  error_.reset();
  const Json body =
      Json::parse(
          R"({"messages":[{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
      {"role":"assistant","content":null,"reasoning_content":"why","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},
      {"role":"tool","tool_call_id":"c1","content":"42"}]})")
          .value();
  FieldReader reader(body, error_);
  const ChatRequest request = read_chat_request(reader, model_, 1);
  ASSERT_FALSE(error_) << error_->message;
  ASSERT_EQ(request.messages.size(), 3u);
  EXPECT_EQ(request.messages[0].role, "system");
  EXPECT_EQ(request.messages[0].content, "ab");
  EXPECT_EQ(request.messages[1].reasoning, "why");
  EXPECT_EQ(request.messages[1].tool_calls.at(0).name, "f");
  EXPECT_EQ(request.messages[2].tool_call_id, "c1");
}

TEST_F(ChatRequestTest, AResponsesRequestIsAChat) {
  const ChatRequest request = read_response(
      R"({"instructions":"Be brief.","input":[{"role":"user","content":[{"type":"input_text","text":"Hi"}]},)"
      R"({"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},)"
      R"({"type":"function_call_output","call_id":"c1","output":"42"}],"max_output_tokens":8,)"
      R"("text":{"format":{"type":"json_schema","name":"n","schema":{"type":"integer"}}}})");
  ASSERT_FALSE(error_) << error_->message;
  ASSERT_EQ(request.messages.size(), 4u);
  EXPECT_EQ(request.messages[0].role, "system");
  EXPECT_EQ(request.messages[1].content, "Hi");
  EXPECT_EQ(request.messages[2].tool_calls.at(0).id, "c1");
  EXPECT_EQ(request.messages[3].content, "42");
  EXPECT_EQ(request.generation.tokens_max, 8);
  EXPECT_TRUE(accepts(request.generation.grammar, "17"));
  for (const char* refused : {R"({"input":"x","previous_response_id":"r"})", R"({"input":"x","background":true})", "{}",
                              R"({"input":[{"type":"computer_call"}]})"}) {
    (void)read_response(refused);
    EXPECT_TRUE(error_) << refused;
  }
}

}  // namespace
}  // namespace infer::api
