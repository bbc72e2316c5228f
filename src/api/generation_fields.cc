#include "api/generation_fields.h"

#include <charconv>
#include <limits>
#include <utility>

#include "api/json_schema.h"
#include "base/format.h"
#include "base/quoted_text.h"
#include "grammar/gbnf.h"
#include "grammar/json_rules.h"

namespace infer::api {

namespace {

using SharedGrammar = std::shared_ptr<grammar::TokenAutomaton>;

constexpr int kTokensMax = std::numeric_limits<int>::max();

}  // namespace

void check_model(FieldReader& fields, const ServedModel& model) {
  const auto name = fields.text("model");
  if (!name || name->empty() || model.answers_to(*name)) return;
  fields.fail({.status = 404,
               .message = format("The model '{}' does not exist; this server has '{}'.", *name, model.id),
               .param = "model",
               .code = "model_not_found"});
}

namespace {

template <class T>
void assign(std::optional<double> given, T& target) {
  if (given) target = static_cast<T>(*given);
}

void read_sampling(FieldReader& fields, sampling::SamplingParams& params) {
  assign(fields.number("temperature", 0, 2), params.temperature);
  assign(fields.number("top_p", 0, 1), params.top_p);
  assign(fields.number("min_p", 0, 1), params.min_p);
  assign(fields.number("presence_penalty", -2, 2), params.presence_penalty);
  assign(fields.number("frequency_penalty", -2, 2), params.frequency_penalty);
  assign(fields.number("repetition_penalty", 0.01, 10), params.repeat_penalty);  // vLLM's name and
  assign(fields.number("repeat_penalty", 0.01, 10), params.repeat_penalty);      // llama.cpp's.
  if (const auto k = fields.integer("top_k", -1, kTokensMax)) params.top_k = static_cast<int>(std::max<int64_t>(*k, 0));
  if (const auto n = fields.integer("repeat_last_n", -1, kTokensMax)) params.penalty_window = static_cast<int>(*n);
  constexpr int64_t kLowest = std::numeric_limits<int64_t>::min(), kHighest = std::numeric_limits<int64_t>::max();
  if (const auto seed = fields.integer("seed", kLowest, kHighest)) params.seed = static_cast<uint64_t>(*seed);
}

// {"1234": -100, ...}: tokens by their numbers, and what is added to their logits.
void read_biases(FieldReader& fields, int vocabulary, std::vector<sampling::LogitBias>& biases) {
  constexpr double kBiasMax = 100;
  const Json* given = fields.object("logit_bias");
  if (given == nullptr) return;
  FieldReader inside = fields.inside("logit_bias", *given);
  for (const auto& [key, value] : given->members()) {
    int token = -1;
    const auto end = std::from_chars(key.data(), key.data() + key.size(), token);
    if (end.ec != std::errc() || end.ptr != key.data() + key.size() || token < 0 || token >= vocabulary) {
      fields.fail("logit_bias", format("Invalid key in 'logit_bias': {}. Expected the number of a token, from 0 to {}.",
                                       quoted(key), vocabulary - 1));
      return;
    }
    const std::optional<double> bias = inside.number(key, -kBiasMax, kBiasMax);
    if (!bias && !inside.failed()) inside.fail_kind(key, "a number", value);
    if (inside.failed()) return;
    biases.push_back({token, static_cast<float>(*bias)});
  }
}

std::vector<std::string> read_stops(FieldReader& fields) {
  constexpr size_t kStopsMax = 16;  // OpenAI's limit is 4.
  std::vector<std::string> stops;
  const Json* given = fields.any("stop");
  if (given == nullptr) return stops;
  if (const auto one = given->as_string()) {
    stops.emplace_back(*one);
  } else if (!given->is_array()) {
    fields.fail_kind("stop", "a string or an array of strings", *given);
  }
  for (const Json& element : given->elements()) {
    const auto text = element.as_string();
    if (!text) fields.fail_kind("stop", "a string or an array of strings", element);
    stops.emplace_back(text.value_or(""));
  }
  if (stops.size() > kStopsMax) {
    fields.fail("stop", format("Invalid 'stop': {} strings, but at most {} are possible.", stops.size(), kStopsMax));
  }
  for (const std::string& stop : stops) {
    if (stop.empty()) fields.fail("stop", "Invalid 'stop': a stop string must not be empty.");
  }
  return stops;
}

void read_streaming(FieldReader& fields, GenerationFields& read) {
  read.is_stream = fields.boolean("stream").value_or(false);
  const Json* options = fields.object("stream_options");
  if (options == nullptr) return;
  if (!read.is_stream) {
    fields.fail("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.");
  }
  read.includes_usage = fields.inside("stream_options", *options).boolean("include_usage").value_or(false);
}

// The grammar of a schema that stands at `name`.
SharedGrammar compile_schema(FieldReader& fields, std::string_view name, const ServedModel& model, const Json& schema) {
  return compile_grammar(fields, name, model, "schema " + schema.dump(), [&] { return rules_of_schema(schema); });
}

void read_grammar(FieldReader& fields, const ServedModel& model, GenerationFields& read) {
  int given = 0;
  if (const auto gbnf = fields.text("grammar"); gbnf && !gbnf->empty()) {  // llama.cpp's
    read.grammar = compile_grammar(fields, "grammar", model, "gbnf " + std::string(*gbnf),
                                   [&] { return grammar::parse_gbnf(*gbnf); });
    ++given;
  }
  if (const Json* schema = fields.any("json_schema")) {  // llama.cpp's
    read.grammar = compile_schema(fields, "json_schema", model, *schema);
    ++given;
  }
  if (const SharedGrammar format = read_format(fields, "response_format", model)) {
    read.grammar = format;
    ++given;
  }
  if (given > 1) {
    fields.fail("response_format", "'grammar', 'json_schema' and 'response_format' exclude each other.");
  } else if (given > 0 && read.ignore_end_tokens) {
    fields.fail("ignore_eos", "'ignore_eos' excludes a grammar: the answer ends where that says.");
  }
}

}  // namespace

SharedGrammar compile_grammar(FieldReader& fields, std::string_view name, const ServedModel& model,
                              std::string_view source,
                              const std::function<Result<grammar::RootedRules>()>& make_rules) {
  Result<SharedGrammar> made = model.grammars.get(source, [&]() -> Result<grammar::Grammar> {
    INFER_ASSIGN(const grammar::RootedRules made_rules, make_rules());
    return grammar::Grammar::compile(made_rules.rules, made_rules.root);
  });
  if (made) return *std::move(made);
  fields.fail(name, format("Invalid '{}': {}", fields.path_of(name), made.error().message));
  return nullptr;
}

SharedGrammar read_format(FieldReader& fields, std::string_view name, const ServedModel& model) {
  const Json* format = fields.object(name);
  if (format == nullptr) return nullptr;
  FieldReader inside = fields.inside(name, *format);
  const std::string_view type = inside.text("type").value_or("");
  if (type == "text") return nullptr;
  if (type == "json_object") {
    // llama.cpp's server takes a schema here.
    if (const Json* schema = inside.object("schema")) return compile_schema(inside, "schema", model, *schema);
    return compile_grammar(fields, name, model, "any JSON object", grammar::any_json_object);
  }
  if (type != "json_schema") {
    inside.fail("type", infer::format("Invalid '{}': expected 'text', 'json_object' or 'json_schema'.",
                                      inside.path_of("type")));
    return nullptr;
  }
  // Where the API for responses has the schema, and where that for chats has it.
  if (const Json* schema = inside.any("schema")) return compile_schema(inside, "schema", model, *schema);
  const Json* described = inside.object("json_schema");
  if (described == nullptr) {
    inside.fail_missing("json_schema");
    return nullptr;
  }
  FieldReader deeper = inside.inside("json_schema", *described);
  if (const Json* schema = deeper.any("schema")) return compile_schema(deeper, "schema", model, *schema);
  deeper.fail_missing("schema");
  return nullptr;
}

GenerationFields read_generation_fields(FieldReader& fields, const ServedModel& model, uint64_t seed) {
  GenerationFields read{.sampling = model.sampling};
  read.sampling.seed = seed;
  check_model(fields, model);
  read_sampling(fields, read.sampling);
  read.stops = read_stops(fields);
  read.choices = static_cast<int>(fields.integer("n", 1, engine::kAnswersMax).value_or(1));
  read.ignore_end_tokens = fields.boolean("ignore_eos").value_or(false);
  read_streaming(fields, read);
  read_grammar(fields, model, read);
  read_biases(fields, model.tokenizer.vocabulary_size(), read.sampling.biases);
  if (fields.failed()) return read;
  if (const Status valid = read.sampling.validate(); !valid) fields.fail("temperature", valid.error().message);
  return read;
}

engine::Request make_request(const GenerationFields& fields, std::vector<TokenId> prompt, const ServedModel& model,
                             int top_logprobs) {
  engine::Request request{.prompt = std::move(prompt),
                          .options = {.tokens_max = fields.tokens_max,
                                      .ignore_end_tokens = fields.ignore_end_tokens,
                                      .stops = fields.stops,
                                      .grammar = fields.grammar},
                          .sampling = fields.sampling,
                          .limits = {Deadline::at(Instant())},
                          .answers = fields.choices,
                          .top_logprobs = top_logprobs};
  // Grammars know the markers as text.
  if (fields.shows_markers || fields.grammar) request.options.shown_controls = model.markers;
  return request;
}

std::optional<ApiError> check_prompt(size_t tokens, const ServedModel& model, std::string_view param) {
  if (tokens == 0) {
    return ApiError{.message = "The prompt is empty and the model adds no token of its own: give some text.",
                    .param = std::string(param),
                    .code = "invalid_value"};
  }
  // Room for one token of the answer must be left.
  if (tokens < static_cast<size_t>(model.context)) return std::nullopt;
  return ApiError{
      .message = format("This model's maximum context length is {} tokens, but the prompt has {}: shorten it, or start "
                        "the server with a larger --ctx.",
                        model.context, tokens),
      .param = std::string(param),
      .code = "context_length_exceeded"};
}

std::optional<ApiError> check_text(size_t bytes, const ServedModel& model, std::string_view param) {
  const size_t tokens_least = bytes / std::max<size_t>(1, model.token_bytes_max);
  if (tokens_least < static_cast<size_t>(model.context)) return std::nullopt;
  return ApiError{
      .message = format("This model's maximum context length is {} tokens, but the prompt has {} bytes, which are {} "
                        "tokens at least: shorten it, or start the server with a larger --ctx.",
                        model.context, bytes, tokens_least),
      .param = std::string(param),
      .code = "context_length_exceeded"};
}

}  // namespace infer::api
