// The fields by which every request of the OpenAI API says how its answer is to be made; those of llama.cpp's and
// vLLM's servers that OpenAI's lacks are understood too.
// Thread safety: pure functions.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/field_reader.h"
#include "api/served_model.h"
#include "base/call_context.h"
#include "engine/request.h"
#include "grammar/grammar.h"
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
  std::shared_ptr<const grammar::Grammar> grammar{};
};

// Fails for a model that is not served.
void check_model(FieldReader& fields, const ServedModel& model);
// `seed`: where the request names none.
GenerationFields read_generation_fields(FieldReader& fields, const ServedModel& model, uint64_t seed);

// {"type": "text" | "json_object" | "json_schema", "json_schema": {"schema": ...}}, as response_format has it.
std::shared_ptr<const grammar::Grammar> read_format(FieldReader& fields, std::string_view name);
// The grammar of a schema that stands at `name`.
std::shared_ptr<const grammar::Grammar> compile_schema(FieldReader& fields, std::string_view name, const Json& schema);

// The engine's request for all choices of one prompt.
engine::Request make_request(const GenerationFields& fields, std::vector<TokenId> prompt, const ServedModel& model,
                             int top_logprobs);
// Fails for a prompt that does not fit into the context; `param` is the field that has it.
std::optional<ApiError> check_prompt(size_t tokens, const ServedModel& model, std::string_view param);
// Before a text is encoded: whether it could be short enough at all.
std::optional<ApiError> check_text(size_t bytes, const ServedModel& model, std::string_view param);

}  // namespace infer::api
