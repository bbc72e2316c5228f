#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "app/commands.h"
#include "app/exit_code.h"
#include "app/local_server.h"
#include "app/serve_config.h"
#include "base/bytes.h"
#include "base/format.h"
#include "control/preset.h"
#include "os/environment.h"
#include "os/interrupt.h"
#include "os/restart.h"
#include "os/wake_signal.h"

namespace infer::app {
namespace {

// How often is looked for Ctrl-C, which wakes nobody.
constexpr Duration kLook = Duration::from_ms(50);
constexpr Duration kLastBytes = Duration::from_ms(200);

// Which, and why.
std::string preset_text(const LocalServer& server, const control::Config& config) {
  return control::preset_reason(config.policy.preset, server.model().parameters);
}

api::Json as_json(const LocalServer& server, const control::Config& config) {
  const LoadedModel& loaded = server.loaded();
  const model::MemoryEstimate memory = loaded.model->memory();
  return api::Json::object()
      .set("url", server.url())
      .set("model", server.model().id)
      .set("ctx", server.model().context)
      .set("parallel", server.engine().limits().running_max)
      .set("weights_bytes", memory.weights_bytes)
      .set("kv_bytes_max", memory.kv_bytes)
      .set("buffers_bytes", memory.buffers_bytes)
      .set("draft_model", server.draft().model ? api::Json(server.draft().name) : api::Json())
      .set("draft_bytes_max", server.draft().model ? api::Json(server.draft().model->memory().total()) : api::Json())
      .set("isa", loaded.model->kernels().name)
      .set("threads", loaded.model->threads())
      .set("preset", preset_text(server, config))
      .set("load_ms", loaded.load_time.ms())
      .set("token_file", server.token().path.empty() ? api::Json() : api::Json(server.token().path));
}

std::string token_text(const AgentToken& token) {
  std::string text = token.is_new ? token.text : token.path.empty() ? "that of INFEROS_AGENT_TOKEN" : "as before";
  if (!token.path.empty()) text += format(", in {}", token.path);
  return text;
}

std::string draft_text(const LocalServer& server) {
  const LoadedDraft& draft = server.draft();
  if (!draft.model) return "";
  const model::MemoryEstimate& memory = draft.model->memory();
  return format("  drafts    {}, {}: weights {}, KV cache up to {}, buffers {}\n", draft.name,
                format_bytes(memory.total()), format_bytes(memory.weights_bytes), format_bytes(memory.kv_bytes),
                format_bytes(memory.buffers_bytes));
}

std::string as_text(const LocalServer& server, const control::Config& config, bool wants_token) {
  const LoadedModel& loaded = server.loaded();
  const model::MemoryEstimate memory = loaded.model->memory();
  const std::string url = server.url();
  const std::string post = wants_token ? " -H 'X-Inferos-Token: TOKEN'" : "";
  return format("serving {} on {}\n", server.model().id, url) +
         format("  model     {}, {:.1f} million parameters\n", loaded.name,
                static_cast<double>(server.model().parameters) / 1e6) +
         format("  context   {} tokens, {} requests at once\n", server.model().context,
                server.engine().limits().running_max) +
         format("  memory    {}: weights {}, KV cache up to {}, buffers {}\n", format_bytes(memory.total()),
                format_bytes(memory.weights_bytes), format_bytes(memory.kv_bytes), format_bytes(memory.buffers_bytes)) +
         draft_text(server) +
         format("  kernels   {}, {} threads\n", loaded.model->kernels().name, loaded.model->threads()) +
         format("  preset    {}\n", preset_text(server, config)) +
         format("  token     {}\n\n", token_text(server.token())) + format("curl {}/v1/health{}\n", url, post) +
         format(
             "curl {}/v1/chat/completions{} -d '{{\"messages\":[{{\"role\":\"user\",\"content\":\"Tell me a "
             "story.\"}}]}}'\n",
             url, post) +
         format(
             "curl -N {}/v1/completions{} -d '{{\"prompt\":\"Once upon a time\",\"max_tokens\":64,"
             "\"stream\":true}}'\n\n",
             url, post);
}

// Or for the engine's thread to be lost.
void wait_for_end(const LocalServer& server, Services& services) {
  os::WakeSignal never;
  while (!services.interrupt().token().cancelled() && !server.is_lost()) {
    never.wait_until(services.clock().now() + kLook);
  }
}

// In the environment of a server that began anew: the port that it had, and how often it did.
constexpr const char* kRestartVariable = "INFEROS_RESTARTED";

struct Restart {
  unsigned port = 0;
  unsigned count = 0;
};

Restart read_restart() {
  const std::string text = os::environment_variable(kRestartVariable).value_or("");
  Restart restart;
  if (std::sscanf(text.c_str(), "%u %u", &restart.port, &restart.count) != 2 || restart.port > 65535) return {};
  return restart;
}

// All requests were ended with an error when the engine hung; their last bytes get a moment to leave. Returns when the
// process cannot begin anew.
Error begin_anew(LocalServer& server, const Restart& before, Services& services) {
  const Clock& clock = services.clock();
  services.err().write(LogLevel::kError, "the engine's thread is lost: the server begins anew");
  const unsigned port = server.port();
  (void)server.drain({clock, Deadline::at(clock.now() + kLastBytes), CancelToken()});
  return os::restart_program(services.arguments(), kRestartVariable, format("{} {}", port, before.count + 1));
}

Status drain(LocalServer& server, const ServeCommand& options, Services& services) {
  const int calls = server.service().calls();
  if (calls > 0) {
    services.err().remark(
        format("finishing {} {}; Ctrl-C again stops at once", calls, calls == 1 ? "request" : "requests"));
  }
  CancelSource again;
  const os::InterruptGuard guard(again);
  const Clock& clock = services.clock();
  const Status drained = server.drain({clock, Deadline::at(clock.now() + options.drain), again.token()});
  // Interrupted, it may have waited only for connections that were about to close.
  const int cut_off = server.service().calls();
  if (!drained && cut_off > 0) {
    services.err().write(LogLevel::kWarning,
                         format("{} {} cut off", cut_off, cut_off == 1 ? "request was" : "requests were"));
  }
  return {};
}

Result<uint64_t> count_model_parameters(const std::string& path) {
  INFER_ASSIGN(const auto file, open_model_file(path));
  return count_parameters(*file);
}

}  // namespace

Status serve_command(const ServeCommand& given, Services& services) {
  const os::InterruptGuard guard(services.interrupt());
  INFER_ASSIGN(ServeConfig config, configure_serve(given, os::environment_variable, count_model_parameters));
  const Restart restart = read_restart();
  if (restart.count > 0) config.command.taken_over_port = static_cast<uint16_t>(restart.port);
  const ServeCommand& options = config.command;
  INFER_TRY(options.sampling.validate());
  services.err().set_level(config.config.log_level);
  const CallContext call = services.call(std::nullopt);
  INFER_ASSIGN(const auto server, LocalServer::start(config, call, services));
  const bool wants_token = !server->token().text.empty() && server->url().find("127.0.0.1") == std::string::npos &&
                           server->url().find("localhost") == std::string::npos;
  if (restart.count > 0) {  // Whoever reads standard output knows the server.
    services.err().write(LogLevel::kWarning, format("serving again on {}, restart {}", server->url(), restart.count));
  } else {
    INFER_TRY(options.json ? services.out().write_json(as_json(*server, config.config))
                           : services.out().write(as_text(*server, config.config, wants_token)));
  }
  finish_storing_weights(*server->loaded().model, call, services);
  wait_for_end(*server, services);
  const Error failure = server->is_lost() ? begin_anew(*server, restart, services) : Error{ErrorCode::kCancelled, ""};
  if (!server->is_lost()) INFER_TRY(drain(*server, options, services));
  if (server->engine().is_ready()) return {};
  // Its thread hangs, and would be waited for.
  services.err().error(server->is_lost() ? failure.message : "the engine hangs and is left behind");
  std::_Exit(kExitOther);
}

}  // namespace infer::app
