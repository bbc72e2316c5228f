#include <optional>
#include <string>

#include "app/commands.h"
#include "app/local_server.h"
#include "app/serve_config.h"
#include "base/bytes.h"
#include "base/format.h"
#include "os/environment.h"
#include "os/interrupt.h"
#include "os/wake_signal.h"

namespace infer::app {
namespace {

// How often is looked for Ctrl-C, which wakes nobody.
constexpr Duration kLook = Duration::from_ms(50);

api::Json as_json(const LocalServer& server) {
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
      .set("isa", loaded.model->kernels().name)
      .set("threads", loaded.model->threads())
      .set("load_ms", loaded.load_time.ms())
      .set("token_file", server.token().path.empty() ? api::Json() : api::Json(server.token().path));
}

std::string token_text(const AgentToken& token) {
  std::string text = token.is_new ? token.text : token.path.empty() ? "that of INFEROS_AGENT_TOKEN" : "as before";
  if (!token.path.empty()) text += format(", in {}", token.path);
  return text;
}

std::string as_text(const LocalServer& server, bool wants_token) {
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
         format("  kernels   {}, {} threads\n", loaded.model->kernels().name, loaded.model->threads()) +
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

void wait_for_interrupt(Services& services) {
  os::WakeSignal never;
  while (!services.interrupt().token().cancelled()) never.wait_until(services.clock().now() + kLook);
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
  if (!drained) {
    services.err().write(LogLevel::kWarning, format("{} requests were cut off", server.service().calls()));
  }
  return {};
}

}  // namespace

Status serve_command(const ServeCommand& given, Services& services) {
  const os::InterruptGuard guard(services.interrupt());
  INFER_ASSIGN(const ServeConfig config, configure_serve(given, os::environment_variable));
  const ServeCommand& options = config.command;
  INFER_TRY(options.sampling.validate());
  services.err().set_level(config.config.log_level);
  const CallContext call = services.call(std::nullopt);
  INFER_ASSIGN(const auto server, LocalServer::start(config, call, services));
  const bool wants_token = !server->token().text.empty() && server->url().find("127.0.0.1") == std::string::npos &&
                           server->url().find("localhost") == std::string::npos;
  INFER_TRY(options.json ? services.out().write_json(as_json(*server))
                         : services.out().write(as_text(*server, wants_token)));
  finish_storing_weights(*server->loaded().model, call, services);
  wait_for_interrupt(services);
  return drain(*server, options, services);
}

}  // namespace infer::app
