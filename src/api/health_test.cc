#include "api/health.h"

#include <gtest/gtest.h>

namespace infer::api {
namespace {

Instant at_second(int second) { return Instant::from_ns(int64_t{1'000'000'000} * second); }

TEST(Health, AnIdleEngineIsWellHoweverLongItRests) {
  const Health health = look_at_health({}, {}, {}, at_second(100'000));
  EXPECT_TRUE(health.is_ready);
}

TEST(Health, AnEngineThatDoesNotMoveAlthoughItHasWorkIsNot) {
  engine::EngineSnapshot engine;
  engine.at = engine.last_step = at_second(10);
  engine.cost.fixed = 0.01;
  engine.cost.per_token = 0.001;
  const Activity waiting{.calls = 1, .waiting = 1, .since = at_second(20)};
  ASSERT_TRUE(engine.cost.known());
  // A step of 512 tokens takes about half a second: eight of them are some four.
  EXPECT_TRUE(look_at_health(engine, {}, waiting, at_second(23)).is_ready);
  const Health stuck = look_at_health(engine, {}, waiting, at_second(25));
  EXPECT_FALSE(stuck.is_ready);
  EXPECT_NE(stuck.reason.find("5.0 s"), std::string::npos);
  EXPECT_EQ(health_json(stuck, {}).find("status")->as_string(), "unhealthy");
  engine.at = at_second(24);  // It moves.
  EXPECT_TRUE(look_at_health(engine, {}, waiting, at_second(25)).is_ready);
}

TEST(Health, TimesAreIso8601) {
  EXPECT_EQ(iso_time({784'111'777'045}), "1994-11-06T08:49:37.045Z");
  EXPECT_EQ(iso_time({0}), "1970-01-01T00:00:00.000Z");
}

}  // namespace
}  // namespace infer::api
