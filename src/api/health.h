// Whether answers can be expected: found from what the engine published last and from what it has been given since, so
// that it can be told even when the engine hangs.
// Thread safety: pure functions, plain values.
#pragma once

#include <string>

#include "api/deliverer.h"
#include "api/json.h"
#include "base/time.h"
#include "engine/engine_limits.h"
#include "engine/engine_snapshot.h"

namespace infer::api {

struct Health {
  bool is_ready = true;
  std::string reason;  // Why not.
  int calls = 0;       // Under way.
  int running = 0;     // In the engine.
  int waiting = 0;
};

// Not ready: something has waited for the engine, and no step ended, for eight steps of the longest kind and at least
// 2 s; for 60 s while no step was ever measured.
Health look_at_health(const engine::EngineSnapshot& engine, const engine::EngineLimits& limits,
                      const Activity& activity, Instant now);

// {"status": "healthy" | "unhealthy", "timestamp": "2026-01-31T12:00:00.000Z", "ready", "reason", ...}
Json health_json(const Health& health, WallTime now);

// UTC, to the millisecond.
std::string iso_time(WallTime time);

}  // namespace infer::api
