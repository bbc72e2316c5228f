// A session at the prompt: lines in, answers out, until the user leaves. The conversation's KV cache stays between
// turns, so that each line costs only itself. Errors of a turn are shown and the session goes on. Thread safety: one
// thread.
#pragma once

#include "app/command_line.h"
#include "app/loading.h"
#include "app/services.h"
#include "base/result.h"

namespace infer::app {

Status run_interactive(const RunOptions& options, LoadedModel& loaded, Services& services);

}  // namespace infer::app
