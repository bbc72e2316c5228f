// Replies of POST /v1/responses: a response with its output items, or the events by which it grows.
// Thread safety: one thread at a time. Ownership: borrows the model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/answer_facts.h"
#include "api/answer_writer.h"
#include "api/served_model.h"
#include "api/token_logprobs.h"
#include "chat/answer_parser.h"

namespace infer::api {

struct ResponsesAnswerOptions {
  AnswerFacts facts;
  bool is_stream = false;
  bool has_logprobs = false;
  chat::AnswerParser::Options parser;
  // What the reply repeats of its request: "instructions", "temperature" ...
  Json echoed = Json::object();
};

class ResponsesAnswer final : public AnswerWriter {
 public:
  ResponsesAnswer(ResponsesAnswerOptions options, const ServedModel& model);

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
    Json logprobs = Json::array();  // Of the tokens of a message, where they are wanted.
  };

  // `logprobs`: of the tokens of the content.
  std::string take(chat::AnswerParser::Parts parts, Json logprobs);
  std::string grow(Kind kind, std::string_view text, Json logprobs = Json::array());
  std::string add_call(chat::ToolCall call);
  std::string open(Kind kind);
  std::string close();
  Json item_json(const Item& item, bool is_open) const;
  Json response_json(std::string_view status) const;
  std::string event(std::string_view type, const Json& data);
  // Of the last item.
  Json place() const;

  const ResponsesAnswerOptions options_;
  const ServedModel& model_;
  chat::AnswerParser parser_;
  TokenLogprobs logprobs_;
  std::vector<Item> items_;
  int64_t sequence_ = 0;
  int64_t reasoning_tokens_ = 0;
  std::optional<engine::RequestResult> result_;
  std::optional<ApiError> error_;
};

}  // namespace infer::api
