// Reads lines from a person: with editing, history and the keys that they know. From anything but a terminal it reads
// plain lines.
//
// Ctrl-C clears the line, Ctrl-D on an empty one ends. Arrow keys bring back earlier lines, also of earlier sessions:
// the last kHistoryLines are kept in a file of the user's own that nobody else may read. A history that cannot be read
// or written is no reason to fail. Thread safety: one thread. Only one at a time may live: the terminal and the locale
// are process-wide.
#pragma once

#include <memory>
#include <string>

namespace infer::app {

class LineEditor {
 public:
  static constexpr int kHistoryLines = 1000;
  enum class Outcome { kLine, kCleared, kEnd };
  struct Line {
    Outcome outcome = Outcome::kEnd;
    std::string text;  // Without the line feed.
  };

  // `history_path` "": no history is kept.
  static std::unique_ptr<LineEditor> for_terminal(const std::string& history_path);
  static std::unique_ptr<LineEditor> for_pipe();
  virtual ~LineEditor() = default;

  virtual Line read(const std::string& prompt) = 0;
  virtual void remember(const std::string& text) = 0;
};

// In the state folder (app/state_folder.h); "" when there is none.
std::string history_path();

}  // namespace infer::app
