#include "api/completion_request.h"

#include <optional>
#include <utility>

#include "base/format.h"

namespace infer::api {

namespace {

// What OpenAI generates where nothing is said.
constexpr int kTokensDefault = 16;

bool is_token_list(const Json& value) {
  return value.is_array() && !value.elements().empty() && value.elements().front().as_int();
}

std::optional<std::vector<TokenId>> read_tokens(FieldReader& fields, const Json& list, int vocabulary) {
  std::vector<TokenId> tokens;
  tokens.reserve(list.elements().size());
  for (const Json& element : list.elements()) {
    const std::optional<int64_t> token = element.as_int();
    if (!token) {
      fields.fail_kind("prompt", "an array of tokens", element);
      return std::nullopt;
    }
    if (*token < 0 || *token >= vocabulary) {
      fields.fail("prompt",
                  format("Invalid 'prompt': token {} is not in the vocabulary of {} tokens.", *token, vocabulary));
      return std::nullopt;
    }
    tokens.push_back(static_cast<TokenId>(*token));
  }
  return tokens;
}

void read_prompt(FieldReader& fields, const Json& given, int vocabulary, CompletionRequest& request) {
  if (const auto text = given.as_string()) {
    request.prompts.emplace_back(std::string(*text));
  } else if (is_token_list(given)) {
    if (auto tokens = read_tokens(fields, given, vocabulary)) request.prompts.emplace_back(*std::move(tokens));
  } else {
    fields.fail_kind("prompt", "a string, an array of tokens, or an array of these", given);
  }
}

void read_prompts(FieldReader& fields, int vocabulary, CompletionRequest& request) {
  const Json* given = fields.any("prompt");
  if (given == nullptr) return fields.fail_missing("prompt");
  if (!given->is_array() || is_token_list(*given)) return read_prompt(fields, *given, vocabulary, request);
  const size_t count = given->elements().size();
  if (count == 0) return fields.fail("prompt", "Invalid 'prompt': expected at least one prompt.");
  if (count * static_cast<size_t>(request.generation.choices) > kChoicesMax) {
    return fields.fail("prompt", format("Invalid 'prompt': {} prompts with {} answers each are more than {}.", count,
                                        request.generation.choices, kChoicesMax));
  }
  for (const Json& each : given->elements()) read_prompt(fields, each, vocabulary, request);
}

// Which change the answer, so that they cannot be ignored.
void refuse_unsupported(FieldReader& fields, int choices) {
  if (fields.boolean("echo").value_or(false)) {
    fields.fail("echo", "'echo' is not supported: put the prompt in front of the answer yourself.",
                "unsupported_parameter");
  }
  if (!fields.text("suffix").value_or("").empty()) {
    fields.fail("suffix", "'suffix' is not supported: this server continues texts, it does not fill gaps.",
                "unsupported_parameter");
  }
  const auto best_of = fields.integer("best_of", 1, kChoicesMax);
  if (best_of && *best_of != choices) {
    fields.fail("best_of", "'best_of' other than 'n' is not supported.", "unsupported_parameter");
  }
}

}  // namespace

CompletionRequest read_completion_request(FieldReader& fields, const ServedModel& model, uint64_t seed) {
  CompletionRequest request{.generation = read_generation_fields(fields, model, seed)};
  request.generation.tokens_max =
      static_cast<int>(fields.integer("max_tokens", -1, int64_t{1} << 30).value_or(kTokensDefault));
  // OpenAI's limit is 5, that of its API for chats 20.
  if (const auto top = fields.integer("logprobs", 0, engine::kTopLogprobsMax)) {
    request.top_logprobs = static_cast<int>(*top);
  }
  refuse_unsupported(fields, request.generation.choices);
  read_prompts(fields, model.tokenizer.vocabulary_size(), request);
  return request;
}

}  // namespace infer::api
