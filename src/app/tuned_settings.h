// What tuning found as a configuration file that `serve --config` reads, and the way back.
// Thread safety: one thread.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "control/tuner.h"

namespace infer::app {

struct Tuned {
  control::TuneSetting setting{};
  control::TuneGoal goal{};
  bool searched_sequences = false;  // Else the file leaves a server its own number.
  std::optional<int> draft_max{};   // Where it was measured.
  std::string why;                  // Becomes the file's comment.
};
// The file's text.
std::string tuned_yaml(const Tuned& tuned);

// Whether a file can be written there, before much work is done for it. The error is the system's.
Status check_writable(const std::string& path);
// Writes it; what was at `path` before is kept as PATH.before.
Status write_tuned(const std::string& path, const std::string& text);
// What was there before comes back; where nothing was, the file goes. kNotFound: nothing was written there.
Status undo_tuned(const std::string& path);

}  // namespace infer::app
