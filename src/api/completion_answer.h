// Replies of POST /v1/completions: a text_completion, or a stream of such events.
// Thread safety: one thread at a time. Ownership: borrows the tokenizer.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "api/answer_facts.h"
#include "api/answer_writer.h"
#include "api/text_event.h"
#include "tokenizer/tokenizer.h"

namespace infer::api {

struct CompletionAnswerOptions {
  AnswerFacts facts;
  size_t choices = 1;             // Of all prompts together; those of a prompt follow each other.
  size_t choices_per_prompt = 1;  // Which share their prompt's tokens.
  bool is_stream = false;
  bool includes_usage = false;
  bool has_logprobs = false;
};

class CompletionAnswer final : public AnswerWriter {
 public:
  CompletionAnswer(CompletionAnswerOptions options, const tokenizer::Tokenizer& tokenizer)
      : options_(std::move(options)), tokenizer_(tokenizer), states_(options_.choices) {}

  std::string add(size_t choice, engine::AnswerPiece piece) override;
  std::string end_choice(size_t choice, const engine::RequestResult& result) override;
  std::string end() override;
  std::string failed(const ApiError& error) override;
  Json whole() override;

 private:
  // As the API has them: lists side by side, one entry for each token.
  struct LogprobLists {
    Json tokens = Json::array();
    Json logprobs = Json::array();
    Json top = Json::array();
    Json offsets = Json::array();
  };
  struct State {
    std::string text;  // Whole replies only.
    LogprobLists logprobs;
    size_t offset = 0;                  // Of the next token in the text, in bytes.
    std::optional<TextEvent> within{};  // Events before the last one, where no logprobs are in them.
    std::optional<engine::RequestResult> result;
  };

  void note_logprobs(State& state, const sampling::Logprobs& logprobs);
  Json logprobs_of(State& state) const;
  Json head() const;
  std::string event(size_t choice, std::string text, const engine::RequestResult* result);

  const CompletionAnswerOptions options_;
  const tokenizer::Tokenizer& tokenizer_;
  std::vector<State> states_;
  Usage usage_;
};

}  // namespace infer::api
