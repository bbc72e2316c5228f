#include "measure/statistics.h"

#include <gtest/gtest.h>

#include <vector>

namespace infer::measure {
namespace {

TEST(Statistics, NoSamplesGiveZeros) {
  EXPECT_EQ(summarize({}).median, 0);
  EXPECT_EQ(summarize({}).spread, 0);
}

TEST(Statistics, OneSampleIsItsOwnMedianWithoutSpread) {
  const Summary summary = summarize(std::vector<double>{7});
  EXPECT_EQ(summary.median, 7);
  EXPECT_EQ(summary.spread, 0);
}

TEST(Statistics, TheMedianOfAnEvenNumberLiesBetweenTheMiddleTwo) {
  EXPECT_EQ(summarize(std::vector<double>{4, 1, 3, 2}).median, 2.5);
}

TEST(Statistics, OneDisturbedRunMovesNeitherMedianNorSpread) {
  const Summary summary = summarize(std::vector<double>{10, 11, 12, 13, 0.01});
  EXPECT_EQ(summary.median, 11);
  EXPECT_NEAR(summary.spread, 1.4826, 1e-12);
  EXPECT_EQ(summary.min, 0.01);
  EXPECT_EQ(summary.max, 13);
}

}  // namespace
}  // namespace infer::measure
