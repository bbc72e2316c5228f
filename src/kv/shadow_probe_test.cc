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
                    nullptr, exact.out.data() + r * 64, exact.max[r], exact.sum[r]);
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
      probe.add(c.attention, 0, 0, 64, {c.at(1, testing::Level::k16), c.at(1, level)}, {}, table(), &sum);
      EXPECT_NEAR(sum.change / true_change(c, 1, c.at(1, level)), 1.0, 0.05) << "seed " << seed;
      EXPECT_GT(sum.attention, 0.0);
    }
    ProbeSum without;
    probe.add(c.attention, 0, 0, 64, {c.at(1, testing::Level::k16), {}}, {}, table(), &without);
    EXPECT_NEAR(without.change / true_change(c, 1, {}), 1.0, 0.05) << "seed " << seed;
  }
}

TEST(ShadowProbe, APageThatStaysAsItIsCostsNothing) {
  const Case c(9);
  ProbeSum sum;
  ShadowProbe probe(kQueries);
  probe.add(c.attention, 0, 0, 64, {c.at(1, testing::Level::k16), c.at(1, testing::Level::k16)}, {}, table(), &sum);
  EXPECT_EQ(sum.change, 0.0);
}

// Two queries, and a page of the same keys and values in 16 bits and in floats.
TEST(ShadowProbe, OfAPageInFloatsItSaysWhatItSaysOfOneIn16Bits) {
  constexpr PageAttention::Queries kFloatQueries{.kv_heads = 1, .group = 2, .head_dim = 64, .floats = true};
  Rng rng(12);
  const std::vector<float> keys = testing::random_floats(rng, 64 * 64, 1.0f);
  const std::vector<float> values = testing::random_floats(rng, 64 * 64, 1.0f);
  const std::vector<float> rows = testing::random_floats(rng, 2 * 64, 0.2f);
  testing::Cache cache = testing::cache_of(table(), 64, keys, values);
  testing::lower(cache, table(), [](int) { return testing::Level::k16; });
  const testing::Queries queries = testing::queries_of(table(), 64, rows);
  std::vector<std::byte> floats(kernels::kv_float_page_bytes(64));
  for (int t = 0; t < 64; ++t) {
    table().store_float_key(&keys[static_cast<size_t>(t * 64)], 64, t, floats.data());
    table().store_float_value(&values[static_cast<size_t>(t * 64)], 64, t, floats.data());
  }
  const kernels::AttentionPage coded{cache.full[0].data(), nullptr, nullptr};
  const kernels::AttentionPage in_floats{nullptr, nullptr, nullptr, floats.data()};
  const kernels::AttentionPage lowered{nullptr, cache.high[0].data(), nullptr};
  PageAttention attention(1, 1, kFloatQueries);
  for (int member = 0; member < 2; ++member) {
    const auto r = static_cast<size_t>(member);
    attention.put(0, 0, member, 63, queries.codes.data() + r * kernels::query_row_bytes(64), &rows[r * 64], &values[0],
                  3.0f, 100.0f);
  }
  ShadowProbe probe(kFloatQueries);
  ProbeSum from_codes, from_floats, same;
  probe.add(attention, 0, 0, 0, {coded, lowered}, {}, table(), &from_codes);
  probe.add(attention, 0, 0, 0, {in_floats, lowered}, {}, table(), &from_floats);
  probe.add(attention, 0, 0, 0, {in_floats, coded}, {}, table(), &same);
  EXPECT_GT(from_codes.change, 0.0);
  EXPECT_NEAR(from_floats.change / from_codes.change, 1.0, 0.01);
  EXPECT_NEAR(from_floats.attention / from_codes.attention, 1.0, 0.001);
  EXPECT_GT(same.change, 0.0);
  EXPECT_LT(same.change, 1e-4 * from_codes.change);
}

TEST(ShadowProbe, QueriesFromBeforeThePageSayNothing) {
  const Case c(10);
  ProbeSum sum;
  ShadowProbe probe(kQueries);
  probe.add(c.attention, 0, 0, 64 * 100, {c.at(1, testing::Level::k16), c.at(1, testing::Level::k4)}, {}, table(),
            &sum);
  EXPECT_EQ(sum.attention, 0.0);
}

}  // namespace
}  // namespace infer::kv
