// The prefix cache on disk of a server, for the model that it serves.
// Thread safety: one thread.
#pragma once

#include <memory>

#include "app/command_line.h"
#include "app/loading.h"
#include "app/services.h"
#include "kv/prefix_store.h"

namespace infer::app {

// Null where none was asked for, or where the folder cannot be used, with a warning.
std::unique_ptr<kv::PrefixStore> open_prefix_cache(const ModelChoice& choice, const LoadedModel& loaded,
                                                   Services& services);

}  // namespace infer::app
