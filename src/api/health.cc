#include "api/health.h"

#include <algorithm>
#include <chrono>

#include "base/format.h"

namespace infer::api {

namespace {

constexpr double kSteps = 8;
constexpr Duration kLeast = Duration::from_seconds(2);
constexpr Duration kUnmeasured = Duration::from_seconds(60);

Duration patience(const engine::EngineSnapshot& engine, const engine::EngineLimits& limits) {
  if (!engine.cost.known()) return kUnmeasured;
  const double longest = engine.cost.fixed + engine.cost.per_token * limits.tokens_per_step;
  return std::max(kLeast, Duration::from_seconds(kSteps * longest));
}

}  // namespace

Health look_at_health(const engine::EngineSnapshot& engine, const engine::EngineLimits& limits,
                      const Activity& activity, Instant now) {
  Health health{.reason = {}, .calls = activity.calls, .running = engine.running};
  for (const int waiting : engine.waiting) health.waiting += waiting;
  if (activity.waiting == 0) return health;
  const Duration still = now - std::max({activity.since, engine.at, engine.last_step});
  if (still < patience(engine, limits)) return health;
  health.is_ready = false;
  health.reason =
      format("{} requests wait for the engine, which has not moved for {:.1f} s", activity.waiting, still.seconds());
  return health;
}

Json health_json(const Health& health, WallTime now) {
  return Json::object()
      .set("status", health.is_ready ? "healthy" : "unhealthy")
      .set("timestamp", iso_time(now))
      .set("ready", health.is_ready)
      .set("reason", health.is_ready ? Json() : Json(health.reason))
      .set("requests",
           Json::object().set("under_way", health.calls).set("running", health.running).set("waiting", health.waiting));
}

std::string iso_time(WallTime time) {
  using std::chrono::floor;
  const std::chrono::sys_time<std::chrono::milliseconds> when{std::chrono::milliseconds(time.unix_ms)};
  const auto day = floor<std::chrono::days>(when);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss of_day(when - day);
  return format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), of_day.hours().count(),
                of_day.minutes().count(), of_day.seconds().count(), of_day.subseconds().count());
}

}  // namespace infer::api
