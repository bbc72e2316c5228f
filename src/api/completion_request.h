// POST /v1/completions: the body.
// Thread safety: pure functions, plain values.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api/field_reader.h"
#include "api/generation_fields.h"
#include "api/served_model.h"
#include "base/ids.h"

namespace infer::api {

// A text, or the tokens themselves.
using CompletionPrompt = std::variant<std::string, std::vector<TokenId>>;

struct CompletionRequest {
  GenerationFields generation;
  std::vector<CompletionPrompt> prompts{};  // Each gets generation.choices answers.
  int top_logprobs = -1;                    // -1: none.
};

// A text, a list of tokens, or a list of these, `choices` answers to each of which are few enough.
std::vector<CompletionPrompt> read_prompts(FieldReader& fields, std::string_view name, int vocabulary, int choices);

CompletionRequest read_completion_request(FieldReader& fields, const ServedModel& model, uint64_t seed);

}  // namespace infer::api
