#include "api/health.h"

#include <gtest/gtest.h>

namespace infer::api {
namespace {

TEST(Health, IsThatOfTheEngine) {
  engine::EngineSnapshot engine;
  engine.running = 2;
  engine.waiting = {1, 2, 0};
  const Json well = health_json(engine, 6, {784'111'777'045});
  EXPECT_EQ(well.dump(), R"({"status":"healthy","timestamp":"1994-11-06T08:49:37.045Z","ready":true,"reason":null,)"
                         R"("requests":{"under_way":6,"running":2,"waiting":3}})");
  engine.health = {.condition = engine::EngineCondition::kHung, .silence = Duration::from_ms(6500)};
  const Json hung = health_json(engine, 6, {});
  EXPECT_EQ(hung.find("status")->as_string(), "unhealthy");
  EXPECT_EQ(hung.find("reason")->as_string(), "the engine is hung: it has not got on for 6.5 s");
}

}  // namespace
}  // namespace infer::api
