#include "kv/page_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>
#include <vector>

#include "kernels/panels.h"
#include "kv/importance.h"

namespace infer::kv {
namespace {

constexpr PageAttention::Queries kQueries{.kv_heads = 2, .group = 2, .head_dim = 16};
constexpr int kHeads = 4;

// Four rows (the heads of a token) give the page these parts of their attention.
PageObservation observation(std::vector<float> masses, int pages) {
  PageObservation sum;
  for (const float mass : masses) PageAttention::observe({-1.0f, 0.0f, mass}, {0.0f, 1.0f, pages}, &sum);
  return sum;
}

TEST(PageAttention, EveryEighthTokenIsObserved) {
  int observed = 0;
  for (int position = 0; position < 64; ++position) observed += PageAttention::observes(position) ? 1 : 0;
  EXPECT_EQ(observed, 8);
  EXPECT_TRUE(PageAttention::observes(63)) << "the last token of a page sees all of it";
}

TEST(PageAttention, SharesBecomeMassFrequencyAndRelevance) {
  PageAttention attention(1, 4, kQueries);
  // Scores in base 2: the page's greatest is 1 below the row's, its sum counts relative to 2 below.
  PageObservation sum;
  PageAttention::observe({.most = 4.0f, .base = 3.0f, .sum = 2.0f}, {.max = 5.0f, .sum = 4.0f, .pages = 10}, &sum);
  attention.tally(0, 2, sum);
  attention.fold(4);
  const PageStats stats = attention.stats(0, 2);
  EXPECT_FLOAT_EQ(stats.mass, 2.0f * 0.25f / 4.0f);
  EXPECT_FLOAT_EQ(stats.relevance, 0.5f);
  EXPECT_FLOAT_EQ(stats.frequency, 1.0f) << "an eighth is more than a tenth";
  EXPECT_EQ(stats.rows, 1);
  EXPECT_EQ(attention.stats(0, 1).rows, 0);
}

TEST(PageAttention, AveragesMoveByTokensAndForget) {
  PageAttention attention(1, 2, kQueries);
  attention.tally(0, 0, observation(std::vector<float>(kHeads, 0.8f), 2));
  attention.fold(2);
  EXPECT_FLOAT_EQ(attention.stats(0, 0).mass, 0.8f);
  double expected = 0.8;
  for (int token = 0; token < 60; ++token) {
    attention.tally(0, 0, observation(std::vector<float>(kHeads, 0.0f), 2));
    attention.fold(2);
    expected *= 0.97;
  }
  EXPECT_NEAR(static_cast<double>(attention.stats(0, 0).mass), expected, 1e-4);
  attention.forget_from(0);
  EXPECT_EQ(attention.stats(0, 0).rows, 0);
}

TEST(PageAttention, AStepThatWasNotCommittedLeavesNothing) {
  PageAttention attention(1, 2, kQueries);
  attention.tally(0, 0, observation({0.5f}, 2));
  attention.discard();
  attention.fold(2);
  EXPECT_EQ(attention.stats(0, 0).rows, 0);
}

TEST(PageAttention, ANaNIsNoMass) {
  PageObservation sum;
  PageAttention::observe({1.0f, 1.0f, std::nanf("")}, {1.0f, 1.0f, 3}, &sum);
  PageAttention::observe({1.0f, 1.0f, 1.0f}, {std::nanf(""), 1.0f, 3}, &sum);
  EXPECT_EQ(sum.mass, 0.0);
  EXPECT_EQ(sum.rows, 2);
}

TEST(PageAttention, ThreadsMayAddInAnyOrder) {
  const auto run = [](int threads) {
    PageAttention attention(2, 8, kQueries);
    std::vector<std::thread> workers;
    for (int t = 0; t < threads; ++t) {
      workers.emplace_back([&attention, t, threads] {
        for (int i = t; i < 800; i += threads) {
          attention.tally(i % 2, i % 8, observation({1.0f / static_cast<float>(i + 1), 0.3f}, 8));
        }
      });
    }
    for (std::thread& worker : workers) worker.join();
    attention.fold(8);
    std::vector<float> masses;
    for (int page = 0; page < 8; ++page) masses.push_back(attention.stats(page % 2, page).mass);
    return masses;
  };
  EXPECT_EQ(run(1), run(4));
}

TEST(PageAttention, KeepsTheLastQueriesByPosition) {
  PageAttention attention(1, 8, kQueries);
  const std::vector<std::byte> codes(kernels::query_row_bytes(16), std::byte{7});
  const std::vector<float> out(16, 2.0f);
  EXPECT_EQ(attention.position(0, 0), -1);
  for (int kv_head = 0; kv_head < 2; ++kv_head) {
    for (int member = 0; member < 2; ++member) {
      attention.put(0, kv_head, member, 39, codes.data(), nullptr, out.data(), 1.0f + static_cast<float>(member), 3.0f);
    }
  }
  EXPECT_EQ(attention.position(0, 0), 39);
  EXPECT_EQ(attention.max(0, 1)[0 * 2 + 1], 2.0f);
  EXPECT_EQ(attention.sum(0, 1)[0], 3.0f);
  EXPECT_EQ(attention.out(0, 1)[16 + 3], 2.0f);
  EXPECT_EQ(attention.codes(0, 1)[kernels::query_row_bytes(16)], std::byte{7});
  EXPECT_EQ(PageAttention(attention).position(0, 0), 39) << "a fork knows them too";
}

TEST(Importance, GrowsWithAttentionAndFallsWithAge) {
  const ImportanceWeights weights{};
  PageStats average{.mass = 0.1f, .frequency = 0.5f, .relevance = 0.5f, .rows = 100};
  PageStats strong = average;
  strong.mass = 0.9f, strong.frequency = 1.0f, strong.relevance = 1.0f;
  PageStats none{.mass = 0.0f, .frequency = 0.0f, .relevance = 0.0f, .rows = 100};
  EXPECT_GT(importance(weights, strong, 5, 10), importance(weights, average, 5, 10));
  EXPECT_GT(importance(weights, average, 5, 10), importance(weights, none, 5, 10));
  EXPECT_GT(importance(weights, average, 9, 10), importance(weights, average, 0, 10));
  EXPECT_EQ(importance(weights, none, 0, 10), 0.0) << "never below 0";
  EXPECT_NEAR(importance(weights, PageStats{}, 9, 10), 0.5, 1e-9) << "nothing is known: an average page";
  EXPECT_LE(importance({.attention = 5, .frequency = 5, .relevance = 5, .age = 0}, strong, 9, 10), 1.0);
}

}  // namespace
}  // namespace infer::kv
