// What attention says of each page: the shares of rows, and pages that are not there.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "testing/attention_case.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"

namespace infer::kernels {
namespace {

using testing::Cache;
using testing::Queries;
using testing::random_mixed_cache;
using testing::random_queries;
using testing::row_codes;
using testing::RowCodes;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Attended {
  std::vector<float> out, max, sum;
  std::vector<PageShare> shares;  // [page][row]
};

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

Attended attend(const KernelTable& table, const Cache& cache, const Queries& q, bool ask) {
  const auto rows = static_cast<size_t>(q.rows);
  std::vector<int> begin(q.begin.begin(), q.begin.end());
  Attended got{std::vector<float>(rows * static_cast<size_t>(cache.head_dim)), std::vector<float>(rows),
               std::vector<float>(rows), std::vector<PageShare>(rows * cache.pages.size())};
  table.attend({.queries = q.codes.data(),
                .rows = q.rows,
                .head_dim = cache.head_dim,
                .visible_begin = begin.data(),
                .visible_end = q.end.data(),
                .score_cap = q.cap,
                .pages = cache.pages.data(),
                .page_count = cache.page_count(),
                .out = got.out.data(),
                .max = got.max.data(),
                .sum = got.sum.data(),
                .shares = ask ? got.shares.data() : nullptr});
  return got;
}

// The score of one token in base 2, by the codes' meaning.
double exact_score(const Cache& cache, const RowCodes& query, int token) {
  const bool wide = cache.page(token).full != nullptr;
  double dot = 0, mean = 0;
  for (int d = 0; d < cache.head_dim; ++d) {
    dot += (wide ? query.wide(d) : query.narrow(d)) * cache.key_code(token, d);
    mean += query.wide(d) * cache.mean_key(token, d);
  }
  const double scale = wide ? query.wide_scale() : query.narrow_scale();
  const bool rough = !wide && cache.page(token).low == nullptr;
  const double error = rough ? 16 * 32700 * query.wide_scale() * cache.key_scale(token) : 0;
  return 1.4426950408889634 * (dot * scale * cache.key_scale(token) + mean * query.wide_scale() - error * error / 24);
}

TEST(AttentionShares, SayHowMuchOfTheAttentionEachPageGets) {
  testing::for_each_case(30, [](Rng& rng) {
    constexpr int kDims[] = {16, 64, 128};
    const Cache cache = random_mixed_cache(rng, kDims[rng.below(3)], 64 * 4 - static_cast<int>(rng.below(64)));
    const Queries q = random_queries(rng, cache, 1 + static_cast<int>(rng.below(30)), 0.4f);
    const Attended got = attend(*testing::machine_kernels()[0], cache, q, true);
    for (int r = 0; r < q.rows; ++r) {
      const RowCodes query = row_codes(cache, q, r);
      const auto row = static_cast<size_t>(r);
      std::vector<double> mass(cache.pages.size()), most(cache.pages.size(), -HUGE_VAL);
      double total = 0;
      for (int t = 0; t < q.end[row]; ++t) {
        const auto page = static_cast<size_t>(t / kPageTokens);
        const double score = exact_score(cache, query, t);
        mass[page] += std::exp2(score);
        most[page] = std::max(most[page], score);
        total += std::exp2(score);
      }
      for (size_t page = 0; page < mass.size(); ++page) {
        const PageShare& share = got.shares[page * static_cast<size_t>(q.rows) + row];
        if (most[page] == -HUGE_VAL) {
          EXPECT_EQ(share.most, -kInfinity);
          EXPECT_EQ(share.sum, 0.0f);
          continue;
        }
        EXPECT_NEAR(static_cast<double>(share.most), most[page], 2e-4);
        const double part = static_cast<double>(share.sum) *
                            std::exp2(static_cast<double>(share.base) - static_cast<double>(got.max[row])) /
                            static_cast<double>(got.sum[row]);
        EXPECT_NEAR(part, mass[page] / total, 2e-4);
      }
    }
  });
}

TEST(AttentionShares, AreTheSameOnEveryIsaAndAskingChangesNothing) {
  testing::for_each_case(20, [](Rng& rng) {
    const Cache cache = random_mixed_cache(rng, 64, 64 * 5 - static_cast<int>(rng.below(64)));
    const Queries q = random_queries(rng, cache, 1 + static_cast<int>(rng.below(40)), 0.4f);
    const Attended first = attend(*testing::machine_kernels()[0], cache, q, true);
    for (const KernelTable* table : testing::machine_kernels()) {
      const Attended asked = attend(*table, cache, q, true), silent = attend(*table, cache, q, false);
      EXPECT_TRUE(same_bytes(asked.shares, first.shares)) << table->name;
      EXPECT_TRUE(same_bytes(asked.out, silent.out) && same_bytes(asked.sum, silent.sum)) << table->name;
    }
  });
}

// `absent` taken out of the middle: the pages before and after it, and rows that see as many tokens less.
TEST(AttentionShares, APageThatIsNotThereIsPassedOver) {
  testing::for_each_case(20, [](Rng& rng) {
    const Cache cache = random_mixed_cache(rng, 64, 64 * 5);
    Queries q = random_queries(rng, cache, 1 + static_cast<int>(rng.below(40)), 0.4f);
    for (int& end : q.end) end = 64 * 5 - end % 60;
    const auto absent = static_cast<size_t>(rng.below(4));
    Cache holed = cache, shorter = cache;
    holed.pages[absent] = {};
    shorter.pages.erase(shorter.pages.begin() + static_cast<std::ptrdiff_t>(absent));
    Queries fewer = q;
    for (int& end : fewer.end) end -= kPageTokens;
    for (const KernelTable* table : testing::machine_kernels()) {
      const Attended got = attend(*table, holed, q, true), want = attend(*table, shorter, fewer, true);
      EXPECT_TRUE(same_bytes(got.out, want.out) && same_bytes(got.max, want.max) && same_bytes(got.sum, want.sum));
      for (int r = 0; r < q.rows; ++r) {
        EXPECT_EQ(got.shares[absent * static_cast<size_t>(q.rows) + static_cast<size_t>(r)].sum, 0.0f);
      }
    }
  });
}

TEST(AttentionShares, NoPageThereIsNothingSeen) {
  Rng rng(3);
  Cache cache = random_mixed_cache(rng, 64, 64 * 2);
  const Queries q = random_queries(rng, cache, 5, 0.4f);
  cache.pages = {{}, {}};
  for (const KernelTable* table : testing::machine_kernels()) {
    const Attended got = attend(*table, cache, q, true);
    EXPECT_EQ(got.max, std::vector<float>(5, -kInfinity));
    EXPECT_EQ(got.sum, std::vector<float>(5, 0.0f));
  }
}

}  // namespace
}  // namespace infer::kernels
