// Replies of POST /v1/chat/completions: a chat.completion, or a stream of chat.completion.chunk events.
// Thread safety: one thread at a time. Ownership: borrows the model.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/answer_facts.h"
#include "api/answer_writer.h"
#include "api/served_model.h"
#include "api/text_event.h"
#include "chat/answer_parser.h"

namespace infer::api {

struct ChatAnswerOptions {
  AnswerFacts facts;
  size_t choices = 1;
  bool is_stream = false;
  bool includes_usage = false;
  bool has_logprobs = false;
  chat::AnswerParser::Options parser;
};

class ChatAnswer final : public AnswerWriter {
 public:
  ChatAnswer(ChatAnswerOptions options, const tokenizer::Tokenizer& tokenizer);

  std::string begin() override;
  std::string add(size_t choice, engine::AnswerPiece piece) override;
  std::string end_choice(size_t choice, const engine::RequestResult& result) override;
  std::string end() override;
  std::string failed(const ApiError& error) override;
  Json whole() override;

 private:
  struct State {
    chat::AnswerParser parser;
    std::string content{}, reasoning{};        // Whole replies only.
    std::vector<chat::ToolCall> tool_calls{};  // With their ids.
    Json logprobs = Json::array();             // Not yet sent.
    std::optional<TextEvent> content_event{};  // With nothing but content in it.
    std::optional<engine::RequestResult> result;
  };

  std::string take(size_t choice, chat::AnswerParser::Parts parts);
  std::string content_event(size_t choice, std::string content);
  std::string delta_event(size_t choice, Json delta);
  std::string event(Json choices, std::optional<Json> usage, const engine::RequestResult* result) const;
  Json head(std::string_view object) const;
  Json logprobs_of(State& state) const;
  Json message_of(const State& state) const;
  std::string_view finish_reason(const State& state) const;

  const ChatAnswerOptions options_;
  const tokenizer::Tokenizer& tokenizer_;
  std::vector<State> states_;
  Usage usage_;
};

}  // namespace infer::api
