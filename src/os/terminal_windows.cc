#if defined(_WIN32)

#include "os/windows_api.h"

#include "os/terminal.h"

namespace infer::os {

namespace {

HANDLE handle_of(StandardStream stream) {
  switch (stream) {
    case StandardStream::kInput: return ::GetStdHandle(STD_INPUT_HANDLE);
    case StandardStream::kOutput: return ::GetStdHandle(STD_OUTPUT_HANDLE);
    case StandardStream::kError: return ::GetStdHandle(STD_ERROR_HANDLE);
  }
  return INVALID_HANDLE_VALUE;
}

}  // namespace

bool is_terminal(StandardStream stream) {
  DWORD mode = 0;
  return ::GetConsoleMode(handle_of(stream), &mode) != 0;
}

std::optional<int> terminal_columns(StandardStream stream) {
  // Only screen buffers have a size; for the input, that of the output is the same window's.
  CONSOLE_SCREEN_BUFFER_INFO info{};
  const StandardStream screen = stream == StandardStream::kInput ? StandardStream::kOutput : stream;
  if (!is_terminal(stream) || !::GetConsoleScreenBufferInfo(handle_of(screen), &info)) return std::nullopt;
  return info.srWindow.Right - info.srWindow.Left + 1;
}

}  // namespace infer::os

#endif
