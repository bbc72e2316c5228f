#include "control/tuner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/rng.h"

namespace infer::control {
namespace {

TuneSpace wide_space() {
  TuneSpace space = default_tune_space();
  space.threads = {2, 1, 4};
  space.sequences = {8, 4, 2, 1};
  return space;
}

// A made-up machine: speeds and costs that depend on all dimensions together.
quality::TrialFigures made_up(const TuneSpace& space, const TunePoint& point, uint64_t seed) {
  const TuneSetting setting = setting_at(space, point);
  Rng rng(seed * 1000 + point[0] + 7 * point[1] + 70 * point[2] + 700 * point[3] + 7000 * point[4]);
  Rng of_machine(seed);
  const double share = setting.mode == kv::KvMode::kF16 ? 1 : 0.2 + 0.1 * static_cast<double>(point[2]);
  const double best_threads = 1 + 3 * of_machine.uniform(),
               bytes = 1 + setting.sequences * share * of_machine.uniform();
  const double speed = 100.0 * setting.sequences / bytes / (1 + std::fabs(setting.threads - best_threads));
  const bool lowered = setting.mode != kv::KvMode::kF16;
  const double delta = lowered ? of_machine.uniform() * 64 / setting.window / (0.3 + setting.thresholds.l1_int8) : 0;
  return {.tokens_per_second = speed * (1 + 0.01 * (rng.uniform() - 0.5)),
          .first_token_ms = 10,
          .ppl = 30,
          .delta_ppl = delta,
          .delta_stderr = 0.1 * delta,
          .kv_share = share};
}

TEST(Tuner, ComesWithinFivePercentOfTheGridInAFifthOfItsTrials) {
  const TuneSpace space = wide_space();
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const int most = static_cast<int>(space.settings() / 5);
    Tuner tuner(space, {.max_delta_ppl = 0.5}, {}, most);
    while (const auto point = tuner.next()) tuner.observe(made_up(space, *point, seed));
    double best = 0;
    TunePoint point{};
    for (size_t i = 0; i < space.settings(); ++i) {
      size_t rest = i;
      for (size_t k = 0; k < kTuneDimensions; ++k) {
        point[k] = rest % space.size(static_cast<TuneDimension>(k));
        rest /= space.size(static_cast<TuneDimension>(k));
      }
      const TuneTrial trial{point, made_up(space, point, seed)};
      if (tuner.allowed(trial)) best = std::max(best, trial.figures.tokens_per_second);
    }
    ASSERT_TRUE(tuner.allowed(*tuner.best()));
    EXPECT_GE(tuner.best()->figures.tokens_per_second, 0.95 * best) << seed;
    EXPECT_LE(tuner.trials().size(), static_cast<size_t>(most));
  }
}

TEST(Tuner, NeverChoosesWhatMissesTheTargetsWhereSomethingMeetsThem) {
  TuneSpace space = default_tune_space();
  Tuner tuner(space, {.max_delta_ppl = 0.001}, {}, 40);
  while (const auto point = tuner.next()) tuner.observe(made_up(space, *point, 5));
  EXPECT_EQ(setting_at(space, tuner.best()->point).mode, kv::KvMode::kF16);
  // Nothing is so fast: it says so.
  Tuner hopeless(space, {.max_delta_ppl = 0.5, .least_tokens_per_second = 1e6}, {}, 40);
  while (const auto point = hopeless.next()) hopeless.observe(made_up(space, *point, 5));
  EXPECT_FALSE(hopeless.allowed(*hopeless.best()));
  EXPECT_EQ(hopeless.reason().substr(0, 7), "none of") << hopeless.reason();
}

TEST(Tuner, TakesTheSmallerCacheWhereSpeedsAreTheSame) {
  const TuneSpace space = default_tune_space();
  Tuner tuner(space, {.max_delta_ppl = 0.5}, {}, 40);
  while (const auto point = tuner.next()) {
    const kv::KvMode mode = setting_at(space, *point).mode;
    tuner.observe({.tokens_per_second = mode == kv::KvMode::kF16 ? 100.0 : 99.0,
                   .kv_share = mode == kv::KvMode::kLatency ? 0.3 : 0.9});
  }
  EXPECT_EQ(setting_at(space, tuner.best()->point).mode, kv::KvMode::kLatency);
  EXPECT_NE(tuner.reason().find("with 33 % of its KV cache"), std::string::npos) << tuner.reason();
}

TEST(Tuner, DoesNotTryWhatAModeDoesNotLookAt) {
  TuneSpace space = default_tune_space();
  space.modes = {kv::KvMode::kF16};
  Tuner tuner(space, {}, {}, 40);
  while (tuner.next()) tuner.observe({.tokens_per_second = 1});
  EXPECT_EQ(tuner.trials().size(), 1u);
}

}  // namespace
}  // namespace infer::control
