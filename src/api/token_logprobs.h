// Brings the log probabilities of an answer's tokens together with the parts of its text that they make: a message of a
// response has those of its own tokens, and none of what the model thought or called.
//
// Text and tokens are counted in bytes, so both must be of one answer from its beginning. Thread safety: none, one
// answer.
#pragma once

#include <cstddef>
#include <deque>

#include "api/json.h"
#include "api/served_model.h"
#include "sampling/logprobs.h"

namespace infer::api {

class TokenLogprobs {
 public:
  // The next token.
  void add(const sampling::Logprobs& logprobs, const ServedModel& model);

  // The text has `more` bytes more. All of it but the last `held` bytes has become parts now, the last `content` bytes
  // of that content: the tokens that have bytes of these, as a list. Tokens before them are forgotten.
  Json take(size_t more, size_t content, size_t held);

 private:
  struct Token {
    Json json;
    size_t begin = 0;
    size_t end = 0;
  };

  std::deque<Token> tokens_;
  size_t token_bytes_ = 0;
  size_t text_bytes_ = 0;
};

}  // namespace infer::api
