#include "engine/stages.h"

#include <gtest/gtest.h>

namespace infer::engine {
namespace {

constexpr Instant kNow = Instant::from_ns(1'000'000'000);

TEST(Stages, EndOneAfterTheOtherWhenTheDeadlineLeavesTime) {
  const std::vector<Instant> ends = stage_ends(standard_stages(), kNow, Deadline::never());
  ASSERT_EQ(ends.size(), 4u);
  EXPECT_EQ((ends[0] - kNow).seconds(), 600);
  EXPECT_EQ((ends[1] - kNow).seconds(), 780);
  EXPECT_EQ((ends[2] - kNow).seconds(), 840);
  EXPECT_EQ((ends[3] - kNow).seconds(), 900);
}

TEST(Stages, AShortDeadlineShortensAllByTheSameFactor) {
  const std::vector<Instant> ends =
      stage_ends(standard_stages(), kNow, Deadline::at(kNow + Duration::from_seconds(90)));
  EXPECT_NEAR((ends[0] - kNow).seconds(), 60, 1e-6);
  EXPECT_NEAR((ends[1] - kNow).seconds(), 78, 1e-6);
  EXPECT_EQ(ends[3], kNow + Duration::from_seconds(90));
}

TEST(Stages, ADeadlineThatHasPassedEndsAllAtOnce) {
  for (const Instant end : stage_ends(standard_stages(), kNow, Deadline::at(Instant()))) EXPECT_LE(end, kNow);
}

TEST(Stages, NarrowTheSamplingAndNeverWidenIt) {
  const std::vector<Stage> stages = standard_stages();
  const sampling::SamplingParams asked{.temperature = 0.9f, .top_k = 10, .top_p = 0.95f};
  EXPECT_EQ(stage_sampling(stages[0], asked).top_k, 10);
  EXPECT_EQ(stage_sampling(stages[1], asked).top_k, 10);
  EXPECT_EQ(stage_sampling(stages[1], {.top_k = 0}).top_k, 30);
  EXPECT_EQ(stage_sampling(stages[1], asked).top_p, 0.8f);
  EXPECT_EQ(stage_sampling(stages[1], asked).temperature, 0.9f);
  EXPECT_EQ(stage_sampling(stages[2], asked).temperature, 0);
}

}  // namespace
}  // namespace infer::engine
