// The API over the model that is built into the program, behind a real server on loopback, for tests.
// Ownership: owns everything. Thread safety: one thread, but for send().
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/answer_service.h"
#include "api/json.h"
#include "api/served_model.h"
#include "chat/chat_template.h"
#include "engine/engine.h"
#include "engine/grammar_cache.h"
#include "engine/step_runner.h"
#include "gguf/file.h"
#include "http/client.h"
#include "http/server.h"
#include "model/model.h"
#include "os/system_clock.h"
#include "os/thread_pool.h"
#include "telemetry/recorder.h"
#include "tokenizer/tokenizer.h"

namespace infer::testing {

struct ApiServerOptions {
  int context = 512;  // Longer answers take longer, for tests that end them early.
  engine::EngineLimits limits{};
  api::AnswerServiceOptions service{.seed = 7};
  std::string chat_template{};  // "": the fallback.
  std::string model_path{};     // "": the built-in model's file.
  int threads = 2;              // 0: as many as the program takes.
  // What computes the steps; empty: the model.
  std::function<std::unique_ptr<engine::StepRunner>(model::Model& model)> make_runner{};
};

class ApiServer {
 public:
  explicit ApiServer(const ApiServerOptions& options = {});

  const api::ServedModel& model() const { return *model_; }
  engine::Engine& engine() const { return *engine_; }
  const api::AnswerService& service() const { return *service_; }
  const telemetry::Recorder& recorder() const { return recorder_; }
  const Clock& clock() const { return clock_; }
  std::string url() const { return server_->url(); }
  uint16_t port() const { return server_->port(); }

  // A whole exchange.
  http::Response send(std::string_view method, std::string_view path, std::string body = "",
                      const http::Headers& headers = {}) const;
  // The same, with the answer's JSON.
  api::Json post(std::string_view path, const std::string& body) const;
  // The data of the events of a stream, "[DONE]" included, and its head.
  struct Stream {
    http::Response head;
    std::vector<std::string> events;
    api::Json json(size_t event) const;
  };
  Stream stream(std::string_view path, const std::string& body) const;

 private:
  os::SystemClock clock_;
  telemetry::Recorder recorder_;
  std::unique_ptr<gguf::File> file_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;
  std::unique_ptr<chat::ChatTemplate> chat_;
  std::unique_ptr<os::ThreadPool> pool_;
  std::unique_ptr<model::Model> loaded_;
  std::unique_ptr<engine::Engine> engine_;
  std::optional<engine::GrammarCache> grammars_;
  std::optional<api::ServedModel> model_;
  std::unique_ptr<api::AnswerService> service_;
  std::unique_ptr<http::Server> server_;
};

// One place further: null where there is no such.
inline const api::Json& step_into(const api::Json& json, int index) {
  static const api::Json kNull;
  const auto place = static_cast<size_t>(index);
  return place < json.elements().size() ? json.elements()[place] : kNull;
}
inline const api::Json& step_into(const api::Json& json, std::string_view key) {
  static const api::Json kNull;
  const api::Json* const member = json.find(key);
  return member != nullptr ? *member : kNull;
}
// at(json, "choices", 0, "text") is json["choices"][0]["text"], null where there is no such place; a part of `json`.
template <class... Steps>
const api::Json& at(const api::Json& json, const Steps&... steps) {
  const api::Json* place = &json;
  ((place = &step_into(*place, steps)), ...);
  return *place;
}

}  // namespace infer::testing
