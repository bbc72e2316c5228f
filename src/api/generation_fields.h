// The fields by which every request of the OpenAI API says how its answer is to be made; those of llama.cpp's and
// vLLM's servers that OpenAI's lacks are understood too.
// Thread safety: pure functions.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/field_reader.h"
#include "api/served_model.h"
#include "base/call_context.h"
#include "engine/request.h"
#include "grammar/rules.h"
#include "grammar/token_automaton.h"
#include "sampling/sampler.h"

namespace infer::api {

inline constexpr int kChoicesMax = 128;  // Of all prompts of a request together.

struct GenerationFields {
  sampling::SamplingParams sampling;
  int tokens_max = -1;  // -1: until the context is full.
  std::vector<std::string> stops{};
  int choices = 1;
  bool ignore_end_tokens = false;
  bool is_stream = false;
  bool includes_usage = false;  // In a chunk of its own at the end of a stream.
  // What the answer follows; null: any text.
  std::shared_ptr<grammar::TokenAutomaton> grammar{};
  bool shows_markers = false;  // Of the model: the answer is taken apart by them.
};

// Fails for a model that is not served.
void check_model(FieldReader& fields, const ServedModel& model);
// `seed`: where the request names none.
GenerationFields read_generation_fields(FieldReader& fields, const ServedModel& model, uint64_t seed);

// {"type": "text" | "json_object" | "json_schema", "json_schema": {"schema": ...}}, as response_format has it.
std::shared_ptr<grammar::TokenAutomaton> read_format(FieldReader& fields, std::string_view name,
                                                     const ServedModel& model);

// The grammar that `make_rules` makes, for the model's vocabulary; one that an earlier request had serves again.
// `source`: all that decides what is made. Null when it fails, and the field at `name` has failed.
std::shared_ptr<grammar::TokenAutomaton> compile_grammar(
    FieldReader& fields, std::string_view name, const ServedModel& model, std::string_view source,
    const std::function<Result<grammar::RootedRules>()>& make_rules);

// The engine's request for all choices of one prompt.
engine::Request make_request(const GenerationFields& fields, std::vector<TokenId> prompt, const ServedModel& model,
                             int top_logprobs);
// Fails for a prompt that does not fit into the context; `param` is the field that has it.
std::optional<ApiError> check_prompt(size_t tokens, const ServedModel& model, std::string_view param);
// Before a text is encoded: whether it could be short enough at all.
std::optional<ApiError> check_text(size_t bytes, const ServedModel& model, std::string_view param);

}  // namespace infer::api
