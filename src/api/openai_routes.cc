#include "api/openai_routes.h"

#include <utility>

#include "api/chat_answer.h"
#include "api/chat_request.h"
#include "api/completion_answer.h"
#include "api/completion_request.h"
#include "api/embeddings.h"
#include "api/health.h"
#include "api/responses_answer.h"
#include "api/responses_request.h"

namespace infer::api {

namespace {

using http::Access;
using http::Request;
using http::ResponseSink;

AnswerFacts facts_of(const CallInput& input, const GenerationFields& generation) {
  return {.id = input.id,
          .model = input.model.id,
          .created = input.created,
          .deadline = input.call.deadline.when(),
          .seed = generation.sampling.seed};
}

std::vector<engine::Request> one(engine::Request request) {
  std::vector<engine::Request> requests;
  requests.push_back(std::move(request));
  return requests;
}

chat::AnswerParser::Options parser_options(const ChatRequest& request, const ChatPrompt& prompt,
                                           const ServedModel& model) {
  return {.reasoning = model.chat.reasoning_tags(),
          .starts_in_reasoning = prompt.starts_in_reasoning,
          .finds_tool_calls = !request.tools.empty(),
          .tool_call_format = model.chat.tool_call_format(),
          .has_one_call_at_most = request.has_one_call_at_most};
}

Preparation prepare_chat(const Json& body, const CallInput& input) {
  std::optional<ApiError> error;
  FieldReader fields(body, error);
  const ChatRequest request = read_chat_request(fields, input.model, input.seed);
  if (error) return *std::move(error);
  auto rendered = render_chat(request, input.model, input.model.clock.wall_time());
  if (auto* failed = std::get_if<ApiError>(&rendered)) return std::move(*failed);
  ChatPrompt& prompt = std::get<ChatPrompt>(rendered);

  const GenerationFields& generation = request.generation;
  ChatAnswerOptions options{.facts = facts_of(input, generation),
                            .choices = static_cast<size_t>(generation.choices),
                            .is_stream = generation.is_stream,
                            .includes_usage = generation.includes_usage,
                            .has_logprobs = request.top_logprobs >= 0,
                            .parser = parser_options(request, prompt, input.model)};
  return PreparedAnswer{
      .requests = one(make_request(generation, std::move(prompt.tokens), input.model, request.top_logprobs)),
      .writer = std::make_unique<ChatAnswer>(std::move(options), input.model.tokenizer),
      .is_stream = generation.is_stream};
}

// What a reply repeats of its request.
Json echoed_fields(const Json& body, const GenerationFields& generation) {
  Json echoed = Json::object();
  echoed.set("temperature", generation.sampling.temperature).set("top_p", generation.sampling.top_p);
  const std::pair<const char*, Json> defaults[] = {
      {"instructions", {}},
      {"max_output_tokens", {}},
      {"metadata", Json::object()},
      {"parallel_tool_calls", true},
      {"text", Json::object().set("format", Json::object().set("type", "text"))},
      {"tool_choice", "auto"},
      {"tools", Json::array()},
      {"top_logprobs", 0}};
  for (const auto& [name, otherwise] : defaults) {
    const Json* given = body.find(name);
    echoed.set(name, given != nullptr && !given->is_null() ? *given : otherwise);
  }
  return echoed.set("previous_response_id", nullptr).set("store", false).set("truncation", "disabled");
}

Preparation prepare_response(const Json& body, const CallInput& input) {
  std::optional<ApiError> error;
  FieldReader fields(body, error);
  const ChatRequest request = read_responses_request(fields, input.model, input.seed);
  if (error) return *std::move(error);
  auto rendered = render_chat(request, input.model, input.model.clock.wall_time());
  if (auto* failed = std::get_if<ApiError>(&rendered)) return std::move(*failed);
  ChatPrompt& prompt = std::get<ChatPrompt>(rendered);
  ResponsesAnswerOptions options{.facts = facts_of(input, request.generation),
                                 .is_stream = request.generation.is_stream,
                                 .has_logprobs = request.top_logprobs >= 0,
                                 .parser = parser_options(request, prompt, input.model),
                                 .echoed = echoed_fields(body, request.generation)};
  return PreparedAnswer{
      .requests = one(make_request(request.generation, std::move(prompt.tokens), input.model, request.top_logprobs)),
      .writer = std::make_unique<ResponsesAnswer>(std::move(options), input.model),
      .is_stream = request.generation.is_stream};
}

std::variant<std::vector<TokenId>, ApiError> encode_prompt(const CompletionPrompt& prompt, std::string_view name,
                                                           const ServedModel& model) {
  std::vector<TokenId> tokens;
  if (const auto* text = std::get_if<std::string>(&prompt)) {
    if (auto error = check_text(text->size(), model, name)) return *std::move(error);
    tokens = model.tokenizer.encode(*text, {});
  } else {
    tokens = std::get<std::vector<TokenId>>(prompt);
  }
  if (auto error = check_prompt(tokens.size(), model, name)) return *std::move(error);
  return tokens;
}

Preparation prepare_completion(const Json& body, const CallInput& input) {
  std::optional<ApiError> error;
  FieldReader fields(body, error);
  const CompletionRequest request = read_completion_request(fields, input.model, input.seed);
  if (error) return *std::move(error);
  const GenerationFields& generation = request.generation;
  PreparedAnswer prepared{.is_stream = generation.is_stream};
  for (const CompletionPrompt& prompt : request.prompts) {
    auto tokens = encode_prompt(prompt, "prompt", input.model);
    if (auto* failed = std::get_if<ApiError>(&tokens)) return std::move(*failed);
    prepared.requests.push_back(
        make_request(generation, std::get<std::vector<TokenId>>(std::move(tokens)), input.model, request.top_logprobs));
    if (input.call.should_stop()) return deadline_passed("the deadline passed while the prompts were read");
  }
  CompletionAnswerOptions options{.facts = facts_of(input, generation),
                                  .choices = prepared.requests.size() * static_cast<size_t>(generation.choices),
                                  .choices_per_prompt = static_cast<size_t>(generation.choices),
                                  .is_stream = generation.is_stream,
                                  .includes_usage = generation.includes_usage,
                                  .has_logprobs = request.top_logprobs >= 0};
  prepared.writer = std::make_unique<CompletionAnswer>(std::move(options), input.model.tokenizer);
  return prepared;
}

Preparation prepare_embedding(const Json& body, const CallInput& input) {
  std::optional<ApiError> error;
  FieldReader fields(body, error);
  const EmbeddingRequest request = read_embedding_request(fields, input.model);
  if (error) return *std::move(error);
  PreparedAnswer prepared;
  for (const CompletionPrompt& text : request.inputs) {
    auto tokens = encode_prompt(text, "input", input.model);
    if (auto* failed = std::get_if<ApiError>(&tokens)) return std::move(*failed);
    prepared.requests.push_back({.prompt = std::get<std::vector<TokenId>>(std::move(tokens)),
                                 .options = {},
                                 .sampling = {},
                                 .limits = {Deadline::at(Instant())},
                                 .pooling = engine::Pooling::kMean});
    if (input.call.should_stop()) return deadline_passed("the deadline passed while the texts were read");
  }
  prepared.writer = std::make_unique<EmbeddingAnswer>(input.model.id, prepared.requests.size(), request.is_base64);
  return prepared;
}

http::Response json_reply(int status, const Json& body) {
  return http::make_response(status, "application/json", body.dump());
}

// OpenAI's fields, and llama.cpp's "meta".
Json model_json(const ServedModel& model) {
  Json meta = Json::object();
  meta.set("n_vocab", model.tokenizer.vocabulary_size())
      .set("n_ctx", model.context)
      .set("n_ctx_train", model.context_trained)
      .set("n_params", model.parameters)
      .set("size", model.file_bytes);
  return Json::object()
      .set("id", model.id)
      .set("object", "model")
      .set("created", model.created)
      .set("owned_by", "infer-os")
      .set("aliases", Json::array_of(model.aliases))
      .set("meta", std::move(meta));
}

}  // namespace

void add_openai_routes(http::RouteTable& routes, AnswerService& service, const ServedModel& model) {
  const auto add = [&](const char* path, PrepareAnswer prepare) {
    routes.add("POST", path, Access::kOpen,
               [&service, prepare = std::move(prepare)](Request request, const ResponseSink& sink) {
                 service.answer(std::move(request), sink, prepare);
               });
  };
  add("/v1/chat/completions", prepare_chat);
  add("/v1/completions", prepare_completion);
  add("/v1/responses", prepare_response);
  add("/v1/embeddings", prepare_embedding);

  routes.add("GET", "/v1/models", Access::kOpen, [&model](const Request&, const ResponseSink& sink) {
    sink.reply(
        json_reply(200, Json::object().set("object", "list").set("data", Json::array().push(model_json(model)))));
  });
  routes.add("GET", "/v1/models/{id}", Access::kOpen, [&model](const Request& request, const ResponseSink& sink) {
    if (model.answers_to(request.parameter("id"))) return (void)sink.reply(json_reply(200, model_json(model)));
    sink.reply(error_response({.status = 404,
                               .message = "this server has no model of that name; GET /v1/models lists what it has",
                               .param = "model",
                               .code = "model_not_found"}));
  });
}

void add_service_routes(http::RouteTable& routes, AnswerService& service, const engine::Engine& engine,
                        const Clock& clock) {
  const auto health = [&service, &engine, &clock](const Request&, const ResponseSink& sink) {
    const engine::EngineSnapshot seen = engine.snapshot();
    sink.reply(json_reply(seen.health.ready() ? 200 : 503, health_json(seen, service.calls(), clock.wall_time())));
  };
  routes.add("GET", "/health", Access::kOpen, health);
  routes.add("GET", "/v1/health", Access::kOpen, health);
  routes.add(
      "POST", "/v1/requests/{id}/cancel", Access::kOpen,
      [&service](const Request& request, const ResponseSink& sink) { service.cancel(request.parameter("id"), sink); });
}

}  // namespace infer::api
