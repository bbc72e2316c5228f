// Replies of POST /v1/responses: a response with its output items, or the events by which it grows.
// Thread safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/answer_facts.h"
#include "api/answer_writer.h"
#include "chat/answer_parser.h"

namespace infer::api {

struct ResponsesAnswerOptions {
  AnswerFacts facts;
  bool is_stream = false;
  chat::AnswerParser::Options parser;
  // What the reply repeats of its request: "instructions", "temperature" ...
  Json echoed = Json::object();
};

class ResponsesAnswer final : public AnswerWriter {
 public:
  explicit ResponsesAnswer(ResponsesAnswerOptions options);

  std::string begin() override;
  std::string add(size_t choice, engine::AnswerPiece piece) override;
  std::string end_choice(size_t choice, const engine::RequestResult& result) override;
  std::string end() override;
  std::string failed(const ApiError& error) override;
  Json whole() override;

 private:
  enum class Kind { kReasoning, kMessage, kCall };
  struct Item {
    Kind kind;
    std::string id;
    std::string text;  // Or the arguments of a call.
    chat::ToolCall call{};
    bool is_complete = false;
  };

  std::string take(chat::AnswerParser::Parts parts);
  std::string grow(Kind kind, std::string_view text);
  std::string add_call(chat::ToolCall call);
  std::string open(Kind kind);
  std::string close();
  Json item_json(const Item& item, bool is_open) const;
  Json response_json(std::string_view status) const;
  std::string event(std::string_view type, const Json& data);
  // Of the last item.
  Json place() const;

  const ResponsesAnswerOptions options_;
  chat::AnswerParser parser_;
  std::vector<Item> items_;
  int64_t sequence_ = 0;
  int64_t reasoning_tokens_ = 0;
  std::optional<engine::RequestResult> result_;
  std::optional<ApiError> error_;
};

}  // namespace infer::api
