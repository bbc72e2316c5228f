// inferos: the program. Reads the command line, runs one command, reports how it ended.
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/exit_code.h"
#include "app/services.h"

namespace {

using namespace infer;
using namespace infer::app;

struct Dispatch {
  Services& services;

  Status operator()(const ShowText& show) { return services.out().write(show.text); }
  Status operator()(const RunOptions& options) { return run_command(options, services); }
  Status operator()(const InspectOptions& options) { return inspect_command(options, services); }
  Status operator()(const TokenizeOptions& options) { return tokenize_command(options, services); }
  Status operator()(const PerplexityCommand& options) { return perplexity_command(options, services); }
  Status operator()(const BenchOptions& options) { return bench_command(options, services); }
  Status operator()(const MakeModelOptions& options) { return make_model_command(options, services); }
  Status operator()(const BatchCommand& options) { return batch_command(options, services); }
  Status operator()(const TuneCommand& options) { return tune_command(options, services); }
  Status operator()(const AbCommand& options) { return ab_command(options, services); }
  Status operator()(const ServeCommand& options) { return serve_command(options, services); }
};

int report(const Error& error, bool json, Services& services) {
  const int code = exit_code(error.code);
  services.err().error(error.message);
  if (json && !services.out().json_written()) {
    api::Json body = api::Json::object();
    body.set("code", error_code_name(error.code)).set("exit_code", code).set("message", error.message);
    // A second failure, to write this, changes nothing: the first is already told.
    (void)services.out().write_json(api::Json::object().set("error", std::move(body)));
  }
  return code;
}

int run_program(int argc, char** argv) {
#ifdef SIGPIPE
  std::signal(SIGPIPE, SIG_IGN);  // A reader that goes away is an error of a write, not a sudden end.
#endif
#ifdef SIGXFSZ
  std::signal(SIGXFSZ, SIG_IGN);  // So is a file that grows beyond its limit.
#endif
  Services services;
  services.set_arguments({argv, argv + argc});
  auto invocation = parse_command_line(argc, argv);
  if (!invocation) return report(invocation.error(), wants_json(argc, argv), services);
  const Status status = std::visit(Dispatch{services}, *invocation);
  if (services.out().reader_gone()) return kExitOk;  // | head has seen enough.
  return status ? kExitOk : report(status.error(), wants_json(argc, argv), services);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_program(argc, argv);
  } catch (const std::bad_alloc&) {  // Small allocations are not checked one by one; large ones never come here.
    std::fputs("inferos: out of memory: the system refuses even small amounts; close other programs\n", stderr);
    return kExitMemory;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "inferos: internal error: %s\n", error.what());
    return kExitOther;
  }
}
