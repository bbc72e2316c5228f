#include "api/health.h"

#include <numeric>

#include "base/format.h"
#include "telemetry/timestamp.h"

namespace infer::api {

Json health_json(const engine::EngineSnapshot& engine, int calls, WallTime now) {
  const engine::EngineHealth& health = engine.health;
  Json reason;
  if (!health.ready()) {
    reason = format("the engine is {}: it has not got on for {:.1f} s", engine_condition_name(health.condition),
                    health.silence.seconds());
  }
  const int waiting = std::accumulate(engine.waiting.begin(), engine.waiting.end(), 0);
  return Json::object()
      .set("status", health.ready() ? "healthy" : "unhealthy")
      .set("timestamp", telemetry::timestamp(now))
      .set("ready", health.ready())
      .set("reason", std::move(reason))
      .set("requests", Json::object().set("under_way", calls).set("running", engine.running).set("waiting", waiting));
}

}  // namespace infer::api
