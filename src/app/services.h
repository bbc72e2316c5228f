// What every command needs of the world: the clock, the standard streams, where notes go, and when to stop.
//
// Streams: the answer goes to `out` (standard output) and nothing else does; notes, progress and errors go to standard
// error. Progress lines and colours appear only on a terminal, colours never with NO_COLOR.
// Ownership: made by main, lives as long as the command. Thread safety: one thread, but for `interrupt`.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/json.h"
#include "app/progress.h"
#include "base/call_context.h"
#include "base/log.h"
#include "base/result.h"
#include "engine/step_runner.h"
#include "kernels/kernel_table.h"
#include "model/model.h"
#include "os/system_clock.h"

namespace infer::app {

// Standard output. Everything written is flushed at once, because somebody may be reading along.
class Output {
 public:
  // kIo with the system's reason (a full disk). When the reader went away (| head) nothing is said: reader_gone() is
  // set, and the caller should end.
  Status write(std::string_view text);
  Status write_json(const api::Json& json) {
    json_written_ = true;
    return write(json.dump(2) + "\n");
  }
  // With --json there is one document, whatever happens: once it is written, an error can only be an exit code.
  bool json_written() const { return json_written_; }
  bool reader_gone() const { return reader_gone_; }

 private:
  bool reader_gone_ = false;
  bool json_written_ = false;
};

// Standard error: "inferos: warning: ..." lines.
class ErrorStream final : public Log {
 public:
  ErrorStream(bool is_terminal, bool colour) : is_terminal_(is_terminal), colour_(colour) {}

  // What is worth less than the level is left out; at first that is all below a warning.
  void write(LogLevel level, std::string_view message) override;
  void set_level(LogLevel level) override { level_ = level; }
  bool tells(LogLevel level) const { return level >= level_; }
  void raw(std::string_view text);
  void error(std::string_view message);
  // A remark in grey for people, on one line; nothing when piped.
  void remark(std::string_view text);
  // The same without a line feed, for a text that goes on on standard output.
  void quote(std::string_view text);
  bool is_terminal() const { return is_terminal_; }

 private:
  void line(const char* colour, std::string_view label, std::string_view message);

  bool is_terminal_;
  bool colour_;
  std::atomic<LogLevel> level_{LogLevel::kWarning};
};

class Services {
 public:
  Services();

  const Clock& clock() const { return clock_; }
  Instant start() const { return start_; }
  Output& out() { return out_; }
  ErrorStream& err() { return err_; }
  bool input_is_terminal() const { return input_is_terminal_; }
  bool output_is_terminal() const { return output_is_terminal_; }
  CancelSource& interrupt() { return interrupt_; }
  // As main() got them, for a program that begins anew.
  void set_arguments(std::vector<std::string> arguments) { arguments_ = std::move(arguments); }
  const std::vector<std::string>& arguments() const { return arguments_; }
  // What computes a server's steps; tests take another one.
  std::function<std::unique_ptr<engine::StepRunner>(model::Model&)> make_runner = engine::make_model_runner;

  // Until Ctrl-C, and `deadline` after the start of the program.
  CallContext call(std::optional<Duration> deadline) const;
  // The best kernels of this machine, or those of INFEROS_FORCE_ISA.
  Result<const kernels::KernelTable*> kernels() const;
  // A progress line on standard error, when that is a terminal.
  ProgressBar progress(std::string what, ProgressUnit unit);

 private:
  os::SystemClock clock_;
  Instant start_;
  bool input_is_terminal_;
  bool output_is_terminal_;
  Output out_;
  ErrorStream err_;
  CancelSource interrupt_;
  std::vector<std::string> arguments_;
};

}  // namespace infer::app
