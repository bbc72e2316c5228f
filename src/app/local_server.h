// A model behind an HTTP server: loads it, starts the engine, and joins both with the routes of the API.
//
// Thread safety: one owner. Ownership: owns all of it; what declares itself first lives longest. Destroying it ends
// every request.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "api/answer_service.h"
#include "api/control_service.h"
#include "api/served_model.h"
#include "app/agent_token.h"
#include "app/draft_loading.h"
#include "app/engine_target.h"
#include "app/loading.h"
#include "app/serve_config.h"
#include "app/services.h"
#include "base/call_context.h"
#include "base/result.h"
#include "chat/chat_template.h"
#include "engine/engine.h"
#include "engine/grammar_cache.h"
#include "http/server.h"
#include "quality/quality_work.h"

namespace infer::app {

class LocalServer {
 public:
  // Serves when it returns. kBusy: the port is taken, which is found out before anything is loaded.
  static Result<std::unique_ptr<LocalServer>> start(const ServeConfig& config, const CallContext& call,
                                                    Services& services);

  const LoadedModel& loaded() const { return loaded_; }
  const LoadedDraft& draft() const { return draft_; }
  const api::ServedModel& model() const { return *model_; }
  const engine::Engine& engine() const { return *engine_; }
  const api::AnswerService& service() const { return *service_; }
  const AgentToken& token() const { return token_; }
  std::string url() const { return http_->url(); }
  uint16_t port() const { return http_->port(); }
  // The engine's thread is lost: the process has to begin anew. Any thread.
  bool is_lost() const { return lost_.load(); }

  // Takes no new requests, and returns when those under way are answered, or when the call says stop.
  Status drain(const CallContext& call) {
    control_->end_events();
    return http_->drain(call);
  }

 private:
  LocalServer() = default;
  Status load(const ServeConfig& config, const CallContext& call, Services& services);
  Status start_agent(const ServeConfig& serve, Services& services);
  Status listen(const ServeConfig& config, Services& services);

  std::atomic<bool> lost_{false};
  LoadedModel loaded_;
  LoadedDraft draft_;
  std::unique_ptr<chat::ChatTemplate> chat_;
  quality::EvaluationText evaluation_text_;
  std::optional<quality::QualityWork> quality_work_;
  std::unique_ptr<engine::Engine> engine_;
  std::optional<EngineTarget> target_;
  std::unique_ptr<api::ControlService> control_;
  std::optional<engine::GrammarCache> grammars_;
  std::optional<api::ServedModel> model_;
  std::unique_ptr<api::AnswerService> service_;
  AgentToken token_;
  std::unique_ptr<http::Server> http_;
};

}  // namespace infer::app
