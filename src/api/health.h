// What GET /health answers: the truth about the engine, also while its thread hangs (engine/watchdog.h).
// Thread safety: pure functions.
#pragma once

#include "api/json.h"
#include "base/time.h"
#include "engine/engine_snapshot.h"

namespace infer::api {

// {"status": "healthy" | "unhealthy", "timestamp": "2026-01-31T12:00:00.000Z", "ready", "reason", "requests": {...}}.
// calls: requests of clients that are under way. The snapshot was asked for just now.
Json health_json(const engine::EngineSnapshot& engine, int calls, WallTime now);

}  // namespace infer::api
