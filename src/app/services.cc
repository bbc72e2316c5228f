#include "app/services.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "app/text_width.h"
#include "base/format.h"
#include "kernels/dispatch.h"
#include "os/cpu_features.h"
#include "os/environment.h"
#include "os/terminal.h"

namespace infer::app {
namespace {

constexpr const char* kRed = "\x1b[31m";
constexpr const char* kYellow = "\x1b[33m";
constexpr const char* kDim = "\x1b[2m";
constexpr const char* kPlain = "\x1b[0m";

bool wants_colour(bool is_terminal) {
  if (!is_terminal) return false;
  const std::optional<std::string> no_colour = os::environment_variable("NO_COLOR");
  if (no_colour && !no_colour->empty()) return false;
  return os::environment_variable("TERM").value_or("") != "dumb";
}

}  // namespace

Status Output::write(std::string_view text) {
  errno = 0;
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (written) return {};
  const int reason = errno;
  if (reason == EPIPE) reader_gone_ = true;
  return Error{ErrorCode::kIo, format("writing to standard output: {}", std::strerror(reason))};
}

void ErrorStream::raw(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);  // Where would a failure be reported?
  std::fflush(stderr);
}

void ErrorStream::line(const char* colour, std::string_view label, std::string_view message) {
  std::string text = "inferos: ";
  if (!label.empty()) text += colour_ ? format("{}{}{} ", colour, label, kPlain) : format("{} ", label);
  text += message;
  raw(text + "\n");
}

void ErrorStream::write(LogLevel level, std::string_view message) {
  if (!tells(level)) return;
  switch (level) {
    case LogLevel::kDebug: return line(kDim, "debug:", message);
    case LogLevel::kInfo: return line(kDim, "note:", message);
    case LogLevel::kWarning: return line(kYellow, "warning:", message);
    case LogLevel::kError: return error(message);
  }
}

void ErrorStream::error(std::string_view message) {
  raw(colour_ ? format("{}inferos:{} {}\n", kRed, kPlain, message) : format("inferos: {}\n", message));
}

void ErrorStream::remark(std::string_view text) {
  if (!is_terminal_) return;
  const std::string fitting = fit_width(text, os::terminal_columns(os::StandardStream::kError).value_or(80) - 1);
  raw(colour_ ? format("{}{}{}\n", kDim, fitting, kPlain) : fitting + "\n");
}

void ErrorStream::quote(std::string_view text) {
  if (!is_terminal_) return;
  raw(colour_ ? format("{}{}{}", kDim, text, kPlain) : std::string(text));
}

Services::Services()
    : start_(clock_.now()),
      input_is_terminal_(os::is_terminal(os::StandardStream::kInput)),
      output_is_terminal_(os::is_terminal(os::StandardStream::kOutput)),
      err_(os::is_terminal(os::StandardStream::kError), wants_colour(os::is_terminal(os::StandardStream::kError))) {}

CallContext Services::call(std::optional<Duration> deadline) const {
  return {clock_, deadline ? Deadline::at(start_ + *deadline) : Deadline::never(), interrupt_.token()};
}

Result<const kernels::KernelTable*> Services::kernels() const {
  const os::CpuFeatures cpu = os::detect_cpu_features();
  const kernels::IsaSupport support{
      .avx2_fma_f16c = cpu.avx2 && cpu.fma && cpu.f16c,
      .avx512_vnni = cpu.avx512f && cpu.avx512bw && cpu.avx512dq && cpu.avx512vl && cpu.avx512_vnni,
      .amx_int8 = cpu.amx_int8,
      .stream = kernels::weight_stream_for(cpu.vendor, cpu.family)};
  const std::string forced = os::environment_variable("INFEROS_FORCE_ISA").value_or("");
  auto table = kernels::select_kernels(support, forced);
  if (table) return table;
  // The user's setting is wrong, whatever the kernels call it.
  return Error{ErrorCode::kInvalidArgument, "INFEROS_FORCE_ISA: " + table.error().message};
}

ProgressBar Services::progress(std::string what, ProgressUnit unit) {
  ProgressBar::Write write;
  if (err_.is_terminal()) write = [this](std::string_view text) { err_.raw(text); };
  const auto columns = [] { return os::terminal_columns(os::StandardStream::kError).value_or(80); };
  return ProgressBar(clock_, std::move(write), columns, std::move(what), unit);
}

}  // namespace infer::app
