#include "testing/api_server.h"

#include <gtest/gtest.h>

#include <utility>

#include "api/openai_routes.h"
#include "base/log.h"
#include "chat/answer_markers.h"
#include "engine/vocabulary_trie.h"
#include "http/event_stream.h"
#include "testing/machine_kernels.h"

namespace infer::testing {

namespace {

constexpr size_t kEventBytesMax = 1 << 20;

}  // namespace

ApiServer::ApiServer(const ApiServerOptions& options) {
  NullLog log;
  const CallContext call{clock_, Deadline::never(), {}};
  file_ = gguf::File::open(options.model_path.empty() ? INFER_SOURCE_DIR "/models/tales-q8_0.gguf" : options.model_path)
              .value();
  tokenizer_ = tokenizer::Tokenizer::from_gguf(*file_, log).value();
  chat_ = options.chat_template.empty() ? chat::ChatTemplate::fallback()
                                        : chat::ChatTemplate::parse(options.chat_template, "", "").value();
  pool_ = std::make_unique<os::ThreadPool>(options.threads);
  const int sequences = options.limits.running_max;
  loaded_ =
      model::Model::load(*file_, *machine_kernels().front(), *pool_,
                         {.context = options.context, .sequences = sequences, .logits_per_step = sequences}, call, {})
          .value();
  auto runner = options.make_runner ? options.make_runner(*loaded_) : engine::make_model_runner(*loaded_);
  engine_ = engine::Engine::start(std::move(runner), *tokenizer_, options.limits, clock_).value();
  std::vector<TokenId> markers = chat::find_marker_tokens(*chat_, *tokenizer_);
  grammars_.emplace(engine::make_vocabulary_trie(*tokenizer_, markers), 8);
  model_.emplace(api::ServedModel{.id = "tales",
                                  .aliases = {"storyteller"},
                                  .created = 1'700'000'000,
                                  .tokenizer = *tokenizer_,
                                  .chat = *chat_,
                                  .clock = clock_,
                                  .grammars = *grammars_,
                                  .markers = std::move(markers),
                                  .context = loaded_->options().context,
                                  .context_trained = loaded_->config().context_trained,
                                  .token_bytes_max = api::longest_token_bytes(*tokenizer_),
                                  .recorder = &recorder_});
  service_ = api::AnswerService::start(*model_, *engine_, options.service).value();
  http::Site site;
  site.render_refusal = api::openai_refusal;
  add_service_routes(site.routes, *service_, *engine_, clock_);
  add_openai_routes(site.routes, *service_, *model_);
  server_ = http::Server::start({}, std::move(site), clock_, log).value();
}

http::Response ApiServer::send(std::string_view method, std::string_view path, std::string body,
                               const http::Headers& headers) const {
  http::Client client;
  auto response = client.send(
      {.method = std::string(method), .url = url() + std::string(path), .headers = headers, .body = std::move(body)},
      {clock_, Deadline::never(), {}});
  EXPECT_TRUE(response.has_value()) << response.error().message;
  if (response) return *std::move(response);
  http::Response none;
  none.status = 0;
  return none;
}

api::Json ApiServer::post(std::string_view path, const std::string& body) const {
  const http::Response response = send("POST", path, body);
  const auto json = api::Json::parse(response.body);
  EXPECT_TRUE(json.has_value()) << response.body;
  return json ? *json : api::Json();
}

ApiServer::Stream ApiServer::stream(std::string_view path, const std::string& body) const {
  Stream stream;
  http::Client client;
  http::EventStreamParser parser(kEventBytesMax);
  const auto on_body = [&](std::string_view bytes) {
    auto events = parser.parse(bytes);
    EXPECT_TRUE(events.has_value()) << events.error().message;
    if (!events) return false;
    for (http::ServerSentEvent& event : *events) stream.events.push_back(std::move(event.data));
    return true;
  };
  auto response = client.stream({.method = "POST", .url = url() + std::string(path), .headers = {}, .body = body},
                                [](const http::Response&) { return true; }, on_body, {clock_, Deadline::never(), {}});
  EXPECT_TRUE(response.has_value()) << response.error().message;
  if (response) stream.head = *std::move(response);
  return stream;
}

api::Json ApiServer::Stream::json(size_t event) const {
  auto json = event < events.size() ? api::Json::parse(events[event]) : api::Json();
  EXPECT_TRUE(json.has_value());
  return json ? *json : api::Json();
}

}  // namespace infer::testing
