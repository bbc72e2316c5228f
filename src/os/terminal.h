// What the standard streams are connected to. Facts only: whether to colour or to draw is decided by app/, which also
// knows NO_COLOR and its own flags.
#pragma once

#include <optional>

namespace infer::os {

enum class StandardStream { kInput, kOutput, kError };

bool is_terminal(StandardStream stream);
// Width of the terminal in columns; nullopt when the stream is no terminal or does not tell. It changes when the user
// resizes the window, so ask again before drawing.
std::optional<int> terminal_columns(StandardStream stream);

}  // namespace infer::os
