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

std::optional<std::vector<TokenId>> read_tokens(FieldReader& fields, std::string_view name, const Json& list,
                                                int vocabulary) {
  std::vector<TokenId> tokens;
  tokens.reserve(list.elements().size());
  for (const Json& element : list.elements()) {
    const std::optional<int64_t> token = element.as_int();
    if (!token) {
      fields.fail_kind(name, "an array of tokens", element);
      return std::nullopt;
    }
    if (*token < 0 || *token >= vocabulary) {
      fields.fail(name,
                  format("Invalid '{}': token {} is not in the vocabulary of {} tokens.", name, *token, vocabulary));
      return std::nullopt;
    }
    tokens.push_back(static_cast<TokenId>(*token));
  }
  return tokens;
}

void read_prompt(FieldReader& fields, std::string_view name, const Json& given, int vocabulary,
                 std::vector<CompletionPrompt>& prompts) {
  if (const auto text = given.as_string()) {
    prompts.emplace_back(std::string(*text));
  } else if (is_token_list(given)) {
    if (auto tokens = read_tokens(fields, name, given, vocabulary)) prompts.emplace_back(*std::move(tokens));
  } else {
    fields.fail_kind(name, "a string, an array of tokens, or an array of these", given);
  }
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

std::vector<CompletionPrompt> read_prompts(FieldReader& fields, std::string_view name, int vocabulary, int choices) {
  std::vector<CompletionPrompt> prompts;
  const Json* given = fields.any(name);
  if (given == nullptr) {
    fields.fail_missing(name);
    return prompts;
  }
  if (!given->is_array() || is_token_list(*given)) {
    read_prompt(fields, name, *given, vocabulary, prompts);
    return prompts;
  }
  const size_t count = given->elements().size();
  if (count == 0) fields.fail(name, format("Invalid '{}': expected at least one text.", name));
  if (count * static_cast<size_t>(choices) > kChoicesMax) {
    fields.fail(name, format("Invalid '{}': {} texts with {} answers each are more than {}.", name, count, choices,
                             kChoicesMax));
    return prompts;
  }
  for (const Json& each : given->elements()) read_prompt(fields, name, each, vocabulary, prompts);
  return prompts;
}

CompletionRequest read_completion_request(FieldReader& fields, const ServedModel& model, uint64_t seed) {
  CompletionRequest request{.generation = read_generation_fields(fields, model, seed)};
  request.generation.tokens_max =
      static_cast<int>(fields.integer("max_tokens", -1, int64_t{1} << 30).value_or(kTokensDefault));
  // OpenAI's limit is 5, that of its API for chats 20.
  if (const auto top = fields.integer("logprobs", 0, engine::kTopLogprobsMax)) {
    request.top_logprobs = static_cast<int>(*top);
  }
  refuse_unsupported(fields, request.generation.choices);
  request.prompts = read_prompts(fields, "prompt", model.tokenizer.vocabulary_size(), request.generation.choices);
  return request;
}

}  // namespace infer::api
