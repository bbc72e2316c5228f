// The parts of a reply that tell how it came about: usage, timings, log probabilities, and what Infer-OS adds.
// Thread safety: pure functions, plain values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/json.h"
#include "base/time.h"
#include "engine/request.h"
#include "sampling/logprobs.h"
#include "tokenizer/tokenizer.h"

namespace infer::api {

// What replies to one request have in common.
struct AnswerFacts {
  std::string id;  // Of the request.
  std::string model;
  int64_t created = 0;  // Seconds since 1970.
  Instant deadline;
  uint64_t seed = 0;
};

// Of all choices of a reply, which share the prompt (or have several).
struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t generated_tokens = 0;

  void add(const engine::RequestResult& result, bool shares_prompt);
};
// {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details": {"cached_tokens"}}
Json usage_json(const Usage& usage);

// As llama.cpp's server tells them: prompt_n and prompt_ms are of what had to be computed of the prompt, until the
// first token; predicted_ms lies between the first and the last token. Rates of nothing are null.
Json timings_json(const engine::RequestResult& result);

// How the answer came to its end, and when.
Json infer_os_json(const AnswerFacts& facts, const engine::RequestResult& result);

// "stop" or "length", the only ends that OpenAI's clients know; what is cut off never looks complete.
std::string_view finish_reason_of(const engine::RequestResult& result);

// {"token", "logprob", "bytes", "top_logprobs": [...]} of one token.
Json logprob_json(const sampling::Logprobs& logprobs, const tokenizer::Tokenizer& tokenizer);

}  // namespace infer::api
