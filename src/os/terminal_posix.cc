#if !defined(_WIN32)

#include <sys/ioctl.h>
#include <unistd.h>

#include "os/terminal.h"

namespace infer::os {

namespace {

int descriptor(StandardStream stream) {
  switch (stream) {
    case StandardStream::kInput: return STDIN_FILENO;
    case StandardStream::kOutput: return STDOUT_FILENO;
    case StandardStream::kError: return STDERR_FILENO;
  }
  return -1;
}

}  // namespace

bool is_terminal(StandardStream stream) { return ::isatty(descriptor(stream)) == 1; }

std::optional<int> terminal_columns(StandardStream stream) {
  struct winsize size{};
  if (::ioctl(descriptor(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return std::nullopt;
  return size.ws_col;
}

}  // namespace infer::os

#endif
