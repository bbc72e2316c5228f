#include "kv/shadow_probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "kernels/panels.h"
#include "testing/attention_case.h"
#include "testing/machine_kernels.h"

namespace infer::kv {
namespace {

constexpr PageAttention::Queries kQueries{.kv_heads = 1, .group = 2, .head_dim = 64};
constexpr int kRows = PageAttention::kSlots * kQueries.group;

const kernels::KernelTable& table() { return *testing::machine_kernels()[0]; }

struct Output {
  std::vector<float> out, max, sum;
};

Output attend(const testing::Queries& q, const std::vector<kernels::AttentionPage>& pages) {
  const std::vector<int> begin(kRows, 0), end(kRows, static_cast<int>(pages.size()) * kernels::kPageTokens);
  Output got{std::vector<float>(kRows * 64), std::vector<float>(kRows), std::vector<float>(kRows)};
  table().attend({.queries = q.codes.data(),
                  .rows = kRows,
                  .head_dim = 64,
                  .visible_begin = begin.data(),
                  .visible_end = end.data(),
                  .score_cap = 0,
                  .pages = pages.data(),
                  .page_count = static_cast<int>(pages.size()),
                  .out = got.out.data(),
                  .max = got.max.data(),
                  .sum = got.sum.data()});
  return got;
}

// Four pages of keys and values, and the attention of eight rows of queries to all of them, as a layer would leave it.
struct Case {
  testing::Cache cache;
  testing::Queries queries;
  PageAttention attention{1, 4, kQueries};
  Output exact;

  explicit Case(uint64_t seed) : cache(make_cache(seed)), queries(make_queries(seed, cache)) {
    exact = attend(queries, cache.pages);
    for (int row = 0; row < kRows; ++row) {
      const auto r = static_cast<size_t>(row);
      attention.put(0, 0, row % 2, 255 + 8 * (row / 2), queries.codes.data() + r * kernels::query_row_bytes(64),
                    exact.out.data() + r * 64, exact.max[r], exact.sum[r]);
    }
  }
  static testing::Cache make_cache(uint64_t seed) {
    Rng rng(seed);
    testing::Cache cache = testing::random_cache(rng, 64, 256);
    testing::lower(cache, table(), [](int) { return testing::Level::k16; });
    return cache;
  }
  static testing::Queries make_queries(uint64_t seed, const testing::Cache& cache) {
    Rng rng(seed + 1000);
    return testing::random_queries(rng, cache, kRows, 0.2f);
  }
  kernels::AttentionPage at(int page, testing::Level level) const {
    const auto p = static_cast<size_t>(page);
    if (level == testing::Level::k16) return {cache.full[p].data(), nullptr, nullptr};
    return {nullptr, cache.high[p].data(), level == testing::Level::k8 ? cache.low[p].data() : nullptr};
  }
};

// The change of the whole output when one page is another, computed by attending to all pages anew.
double true_change(const Case& c, int page, const kernels::AttentionPage& changed) {
  std::vector<kernels::AttentionPage> pages = c.cache.pages;
  pages[static_cast<size_t>(page)] = changed;
  const Output got = attend(c.queries, pages);
  double change = 0;
  for (size_t i = 0; i < got.out.size(); ++i) {
    const size_t row = i / 64;
    change += std::pow(static_cast<double>(got.out[i] / got.sum[row] - c.exact.out[i] / c.exact.sum[row]), 2);
  }
  return change;
}

TEST(ShadowProbe, SaysWhatLoweringAPageChangesInTheWholeOutput) {
  ShadowProbe probe(kQueries);
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const Case c(seed);
    for (const testing::Level level : {testing::Level::k8, testing::Level::k4}) {
      ProbeSum sum;
      probe.add(c.attention, 0, 0, 64, {c.at(1, testing::Level::k16), c.at(1, level)}, 0, table(), &sum);
      EXPECT_NEAR(sum.change / true_change(c, 1, c.at(1, level)), 1.0, 0.05) << "seed " << seed;
      EXPECT_GT(sum.attention, 0.0);
    }
    ProbeSum without;
    probe.add(c.attention, 0, 0, 64, {c.at(1, testing::Level::k16), {}}, 0, table(), &without);
    EXPECT_NEAR(without.change / true_change(c, 1, {}), 1.0, 0.05) << "seed " << seed;
  }
}

TEST(ShadowProbe, APageThatStaysAsItIsCostsNothing) {
  const Case c(9);
  ProbeSum sum;
  ShadowProbe probe(kQueries);
  probe.add(c.attention, 0, 0, 64, {c.at(1, testing::Level::k16), c.at(1, testing::Level::k16)}, 0, table(), &sum);
  EXPECT_EQ(sum.change, 0.0);
}

TEST(ShadowProbe, QueriesFromBeforeThePageSayNothing) {
  const Case c(10);
  ProbeSum sum;
  ShadowProbe probe(kQueries);
  probe.add(c.attention, 0, 0, 64 * 100, {c.at(1, testing::Level::k16), c.at(1, testing::Level::k4)}, 0, table(), &sum);
  EXPECT_EQ(sum.attention, 0.0);
}

}  // namespace
}  // namespace infer::kv
