// inferos serve whose engine hangs in the next step once there is a file named by INFER_TEST_HANG; it takes the file
// away, so that it hangs once.
#include <cstdio>
#include <memory>
#include <string>
#include <variant>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/services.h"
#include "os/environment.h"
#include "os/folder.h"
#include "os/wake_signal.h"
#include "testing/hooked_runner.h"

int main(int argc, char** argv) {
  using namespace infer;
  app::Services services;
  services.set_arguments({argv, argv + argc});
  const std::string file = os::environment_variable("INFER_TEST_HANG").value_or("");
  services.make_runner = [file](model::Model& model) {
    auto runner = std::make_unique<testing::HookedRunner>(model);
    runner->before_step = [file](const model::StepBatch&) {
      if (!os::file_bytes(file)) return;
      (void)os::remove_file(file);
      os::WakeSignal never;
      while (true) never.wait_until(Instant::never());
    };
    return runner;
  };
  const auto invocation = app::parse_command_line(argc, argv);
  if (!invocation) return 2;
  const Status status = app::serve_command(std::get<app::ServeCommand>(*invocation), services);
  if (!status) std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return status ? 0 : 1;
}
