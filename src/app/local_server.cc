#include "app/local_server.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "api/control_routes.h"
#include "api/openai_routes.h"
#include "app/evaluation_text.h"
#include "app/prefix_cache.h"
#include "app/state_folder.h"
#include "base/format.h"
#include "chat/answer_markers.h"
#include "engine/vocabulary_trie.h"
#include "kv/kernel_check.h"
#include "os/entropy.h"
#include "os/folder.h"
#include "telemetry/timestamp.h"

namespace infer::app {
namespace {

// Each with some megabytes of masks when it was used a lot.
constexpr size_t kGrammarsKept = 32;

bool is_loopback(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

Error as_serve_error(Error error, uint16_t port) {
  if (error.code != ErrorCode::kBusy) return std::move(error).with_context("serve");
  return Error{ErrorCode::kBusy,
               format("serve: port {} is in use, perhaps by another inferos: stop that, or choose another with --port "
                      "(0: a free one)",
                      port)};
}

// 0: a free one.
uint16_t listening_port(const ServeCommand& options) {
  return options.taken_over_port.value_or(static_cast<uint16_t>(options.port.value_or(0)));
}

// Whether the port can be had, before a model is loaded for nothing.
Status check_port(const ServeCommand& options, uint16_t port, Services& services) {
  http::Site nothing;
  nothing.render_refusal = api::openai_refusal;
  const auto probe = http::Server::start({.address = options.host, .port = port}, std::move(nothing), services.clock(),
                                         services.err());
  return probe ? Status() : as_serve_error(probe.error(), port);
}

// "llama-3.gguf" is called "llama-3", the embedded model "tales".
std::string model_id(const std::string& path) {
  if (path.empty()) return "tales";
  std::string name = model_display_name(path);
  constexpr std::string_view kEnding = ".gguf";
  if (name.size() > kEnding.size() && name.ends_with(kEnding)) name.resize(name.size() - kEnding.size());
  return name;
}

// One line each, whatever the text is: as a JSON string.
api::ContentLog content_log(Services& services) {
  return [&services](std::string_view id, std::string_view what, std::string_view text) {
    if (!services.err().tells(LogLevel::kInfo)) return;
    services.err().raw(
        format("{} {} {} {}\n", telemetry::timestamp(services.clock().wall_time()), id, what, api::Json(text).dump()));
  };
}

// 0: none.
std::optional<Duration> time_limit(int ms) { return ms > 0 ? std::optional(Duration::from_ms(ms)) : std::nullopt; }

}  // namespace

Status LocalServer::load(const ServeConfig& config, const CallContext& call, Services& services) {
  const ServeCommand& options = config.command;
  model::ModelOptions model_options = model_options_of(options.model);
  model_options.sequences = options.parallel;
  // Each answer wants its logits, and drafts want some besides (engine/speculation.h).
  model_options.logits_per_step = options.parallel + kDraftRows;
  model_options.tokens_per_step = std::max(model_options.tokens_per_step, options.parallel);
  INFER_ASSIGN(loaded_, load_model(options.model, model_options, true, call, services));
  INFER_ASSIGN(draft_, load_draft(options.model, loaded_, options.parallel, call, services));
  // That the embedded model has no template is no news.
  INFER_ASSIGN(chat_, options.model.path.empty() ? chat::ChatTemplate::from_gguf(*loaded_.file, *loaded_.tokenizer)
                                                 : load_chat_template(loaded_, services));
  engine::EngineLimits limits;
  limits.running_max = options.parallel;
  limits.speculation.draft_max = options.model.draft_max;
  auto text =
      read_evaluation_text(config.config.evaluation.dataset, *loaded_.tokenizer, loaded_.model->options().context);
  if (!text) return std::move(text).error().with_context("quality.dataset");
  evaluation_text_ = *std::move(text);
  quality_work_.emplace(evaluation_text_, loaded_.model->kernels().log_sum_exp, loaded_.tokenizer->vocabulary_size());
  limits.waiting_max = config.config.server.waiting_max;
  engine::EngineParts parts{.on_lost = [this] { lost_.store(true); },
                            .idle = &*quality_work_,
                            .store = open_prefix_cache(options.model, loaded_, services),
                            .draft = draft_.model ? engine::make_model_runner(*draft_.model) : nullptr};
  INFER_ASSIGN(engine_, engine::Engine::start(services.make_runner(*loaded_.model), *loaded_.tokenizer, limits,
                                              services.clock(), std::move(parts)));
  const kv::KernelCheck check = kv::check_kernels(loaded_.model->kernels());
  target_.emplace(*engine_, options.model.levels, model_id(options.model.path), &*quality_work_,
                  control::Capabilities{.int8_works = check.works_8(), .int4_works = check.works_4()});
  INFER_TRY(start_agent(config, services));
  std::vector<TokenId> markers = chat::find_marker_tokens(*chat_, *loaded_.tokenizer);
  grammars_.emplace(engine::make_vocabulary_trie(*loaded_.tokenizer, markers), kGrammarsKept);
  model_.emplace(api::ServedModel{.id = model_id(options.model.path),
                                  .aliases = options.aliases,
                                  .created = services.clock().wall_time().unix_ms / 1000,
                                  .tokenizer = *loaded_.tokenizer,
                                  .chat = *chat_,
                                  .clock = services.clock(),
                                  .grammars = *grammars_,
                                  .markers = std::move(markers),
                                  .context = loaded_.model->options().context,
                                  .context_trained = loaded_.model->config().context_trained,
                                  .token_bytes_max = api::longest_token_bytes(*loaded_.tokenizer),
                                  .parameters = count_parameters(*loaded_.file),
                                  .file_bytes = loaded_.file->file_bytes(),
                                  .sampling = options.sampling,
                                  .defaults = {.deadline = options.deadline,
                                               .first_token = time_limit(config.config.deadlines.first_token_ms),
                                               .stall = time_limit(config.config.deadlines.stall_ms),
                                               .staged = options.staged},
                                  .recorder = &control_->recorder(),
                                  .log_content = options.log_content ? content_log(services) : nullptr});
  INFER_ASSIGN(const auto random, os::random_words());
  INFER_ASSIGN(service_, api::AnswerService::start(*model_, *engine_, {.seed = random[0]}));
  return {};
}

Status LocalServer::listen(const ServeConfig& config, Services& services) {
  const ServeCommand& options = config.command;
  const uint16_t port = listening_port(options);
  http::GateOptions gate;
  gate.token = token_.text;
  if (!is_loopback(options.host)) {
    gate.serves_other_machines = true;
    gate.token_for_everything = true;
  }
  http::Site site;
  site.gate = http::Gate(std::move(gate));
  site.render_refusal = api::render_refusal;
  add_service_routes(site.routes, *service_, *engine_, services.clock());
  add_openai_routes(site.routes, *service_, *model_);
  add_control_routes(site.routes, *control_);
  if (options.verbose) {
    site.on_answered = [&services](const http::AccessRecord& record) {
      if (!services.err().tells(LogLevel::kInfo)) return;
      services.err().raw(format("{} {} {} {} {} {} bytes {:.1f} ms\n",
                                telemetry::timestamp(services.clock().wall_time()), record.peer, record.method,
                                record.target, record.status, record.response_bytes, record.taken.ms()));
    };
  }
  auto server = http::Server::start({.address = options.host, .port = port, .threads = config.config.server.io_threads},
                                    std::move(site), services.clock(), services.err());
  if (!server) return as_serve_error(std::move(server).error(), port);
  http_ = *std::move(server);
  return {};
}

// The history lies beside the token, by port, so that servers at the same time have one each.
Status LocalServer::start_agent(const ServeConfig& serve, Services& services) {
  control::Config config = serve.config;
  config.model_parameters = count_parameters(*loaded_.file);
  const std::string folder = state_folder();
  if (config.telemetry.history_file.empty() && !folder.empty()) {
    config.telemetry.history_file = os::path_in(folder, format("history-{}.db", serve.command.port.value_or(0)));
  }
  INFER_ASSIGN(control_, api::ControlService::start(config, *target_, services.clock(), services.err()));
  return {};
}

Result<std::unique_ptr<LocalServer>> LocalServer::start(const ServeConfig& config, const CallContext& call,
                                                        Services& services) {
  const ServeCommand& options = config.command;
  const auto port = static_cast<uint16_t>(options.port.value_or(0));
  if (const uint16_t wanted = listening_port(options)) INFER_TRY(check_port(options, wanted, services));
  auto server = std::unique_ptr<LocalServer>(new LocalServer());
  INFER_ASSIGN(server->token_, read_agent_token(port, config.config.server.token));
  INFER_TRY(server->load(config, call, services));
  INFER_TRY(server->listen(config, services));
  return server;
}

}  // namespace infer::app
