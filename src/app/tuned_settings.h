// What tuning found as a configuration file that `serve --config` reads, and the way back.
// Thread safety: one thread.
#pragma once

#include <string>

#include "base/result.h"
#include "control/tuner.h"

namespace infer::app {

// The file's text; `why` becomes its comment.
std::string tuned_yaml(const control::TuneSetting& setting, const control::TuneGoal& goal, const std::string& why);

// Writes it; what was at `path` before is kept as PATH.before.
Status write_tuned(const std::string& path, const std::string& text);
// What was there before comes back; where nothing was, the file goes. kNotFound: nothing was written there.
Status undo_tuned(const std::string& path);

}  // namespace infer::app
