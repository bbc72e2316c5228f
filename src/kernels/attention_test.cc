// Attention against its definition in double, across instruction sets, and across every way to group rows and pages.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "kernels/panels.h"
#include "kernels/reference.h"
#include "testing/attention_case.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"

namespace infer::kernels {
namespace {

using testing::Cache;
using testing::kLevels;
using testing::Level;
using testing::lower;
using testing::lower_all;
using testing::Queries;
using testing::queries_of;
using testing::random_cache;
using testing::random_floats;
using testing::random_mixed_cache;
using testing::random_queries;
using testing::row_codes;
using testing::RowCodes;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kHeadDims[] = {16, 64, 80, 96, 128, 256};

struct Attended {
  std::vector<float> out, max, sum;

  bool operator==(const Attended& other) const {
    return same(out, other.out) && same(max, other.max) && same(sum, other.sum);
  }
  static bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }
};

// Rows [first, first + rows) over pages [first_page, first_page + pages).
Attended attend(const KernelTable& table, const Cache& cache, const Queries& q, int first, int rows, int first_page,
                int pages) {
  const size_t dim = static_cast<size_t>(cache.head_dim), count = static_cast<size_t>(rows);
  Attended result{std::vector<float>(count * dim, 777.0f), std::vector<float>(count, 777.0f),
                  std::vector<float>(count, 777.0f)};
  std::vector<int> begin, end;
  for (int r = first; r < first + rows; ++r) {
    begin.push_back(q.begin[static_cast<size_t>(r)] - first_page * kPageTokens);  // May be negative.
    end.push_back(q.end[static_cast<size_t>(r)] - first_page * kPageTokens);
  }
  table.attend({.queries = q.codes.data() + static_cast<size_t>(first) * query_row_bytes(cache.head_dim),
                .rows = rows,
                .head_dim = cache.head_dim,
                .visible_begin = begin.data(),
                .visible_end = end.data(),
                .score_cap = q.cap,
                .pages = cache.pages.data() + first_page,
                .page_count = pages,
                .out = result.out.data(),
                .max = result.max.data(),
                .sum = result.sum.data()});
  return result;
}

Attended attend_all(const KernelTable& table, const Cache& cache, const Queries& q) {
  return attend(table, cache, q, 0, q.rows, 0, cache.page_count());
}

// Attends with every table, expects the same bits from all.
Attended attend_on_every_isa(const Cache& cache, const Queries& q) {
  const Attended first = attend_all(*testing::machine_kernels()[0], cache, q);
  for (const KernelTable* table : testing::machine_kernels()) {
    EXPECT_TRUE(attend_all(*table, cache, q) == first) << table->name << " differs";
  }
  return first;
}

// The definition in double, for the codes that the kernels got: scores in base 2 of the tokens that a row sees.
std::vector<double> exact_scores(const Cache& cache, const Queries& q, int row) {
  const RowCodes query = row_codes(cache, q, row);
  std::vector<double> scores;
  for (int t = q.begin[static_cast<size_t>(row)]; t < q.end[static_cast<size_t>(row)]; ++t) {
    const bool wide = cache.page(t).full != nullptr;
    double dot = 0, mean = 0;
    for (int d = 0; d < cache.head_dim; ++d) {
      dot += (wide ? query.wide(d) : query.narrow(d)) * cache.key_code(t, d);
      mean += query.wide(d) * cache.mean_key(t, d);
    }
    double score = dot * (wide ? query.wide_scale() : query.narrow_scale()) * cache.key_scale(t);
    score += mean * query.wide_scale();
    if (cache.page(t).full == nullptr && cache.page(t).low == nullptr) {
      const double error = 16 * 32700 * query.wide_scale() * cache.key_scale(t);
      score -= error * error / 24;
    }
    if (q.cap > 0) score = static_cast<double>(q.cap) * std::tanh(score / static_cast<double>(q.cap));
    scores.push_back(score * 1.4426950408889634);
  }
  return scores;
}

// How far the mean keys may move a row's scores, in base 2.
double mean_reach(const Cache& cache, const Queries& q, int row) {
  const RowCodes query = row_codes(cache, q, row);
  double reach = 0;
  for (int t = 0; t < cache.tokens; t += kPageTokens) {
    double mean = 0;
    for (int d = 0; d < cache.head_dim; ++d) mean += query.wide(d) * query.wide_scale() * cache.mean_key(t, d);
    reach = std::max(reach, 1.4427 * std::abs(mean));
  }
  return reach;
}

// Checks one row of `got` against softmax over the visible tokens.
void expect_row_is_softmax(const Cache& cache, const Queries& q, const Attended& got, int row) {
  const int begin = q.begin[static_cast<size_t>(row)], dim = cache.head_dim;
  const std::vector<double> score = exact_scores(cache, q, row);
  const int visible = static_cast<int>(score.size());
  const double top = *std::max_element(score.begin(), score.end());
  double reach = 0;
  for (const double s : score) reach = std::max(reach, std::abs(s));
  // A score: the sum's conversion, two scales and their product are rounded, of a page with a mean those of two parts
  // (each of which may be larger than the score); a cap adds the error of exp, relative to the cap. A weight's relative
  // error: two scores' errors times ln 2, and 2 ulp of the power, once per page (fade).
  const double half_ulp = 0x1p-24, cap = static_cast<double>(q.cap) * 1.4427;
  const double score_error = half_ulp * (5 * reach + 5 * mean_reach(cache, q, row) + 12 * cap);
  const double weight_error = 0.7 * 2 * score_error + 5 * half_ulp * (cache.page_count() + 1);
  const double max = static_cast<double>(got.max[static_cast<size_t>(row)]);
  EXPECT_NEAR(max, top, score_error);
  double sum = 0.0;
  for (const double s : score) sum += std::exp2(s - max);
  // Then additions, each of at most 64 + 1 a page, rounded relative to a partial sum.
  const double add_error = (visible + 2 * cache.page_count()) * half_ulp;
  EXPECT_NEAR(static_cast<double>(got.sum[static_cast<size_t>(row)]), sum, sum * (weight_error + add_error));
  for (int d = 0; d < dim; ++d) {
    double expected = 0.0, absolute = 0.0, rounding = 0.0;
    // Page by page: codes of the weights are off by half, in units that the greatest and the sum of the page decide.
    for (int page = 0; page < cache.page_count(); ++page) {
      double greatest = 0, total = 0, codes = 0;
      bool wide = true;
      for (int t = std::max(begin, page * kPageTokens); t < std::min(begin + visible, (page + 1) * kPageTokens); ++t) {
        const double weight = std::exp2(score[static_cast<size_t>(t - begin)] - max) * cache.value_scale(t);
        expected += weight * cache.value_code(t, d);
        absolute += std::abs(weight * cache.value_code(t, d));
        codes += std::abs(cache.value_code(t, d));
        wide = cache.page(t).full != nullptr;
        greatest = std::max(greatest, weight);
        total += weight;
      }
      rounding += 0.5 * codes * (wide ? std::max(greatest / 32767, total / 131000) : greatest / 255);
    }
    ASSERT_NEAR(static_cast<double>(got.out[static_cast<size_t>(row * dim + d)]), expected,
                1.001 * rounding + absolute * (weight_error + add_error) + 1e-37)
        << "row " << row << " dimension " << d << " visible " << visible;
  }
}

void expect_softmax(const Cache& cache, const Queries& q, const Attended& got) {
  for (int r = 0; r < q.rows; ++r) {
    if (q.end[static_cast<size_t>(r)] > q.begin[static_cast<size_t>(r)]) {
      expect_row_is_softmax(cache, q, got, r);
      continue;
    }
    EXPECT_EQ(got.max[static_cast<size_t>(r)], -kInfinity);
    EXPECT_EQ(got.sum[static_cast<size_t>(r)], 0.0f);
    for (int d = 0; d < cache.head_dim; ++d) EXPECT_EQ(got.out[static_cast<size_t>(r * cache.head_dim + d)], 0.0f);
  }
}

void expect_softmax(const Cache& cache, const Queries& q) { expect_softmax(cache, q, attend_on_every_isa(cache, q)); }

TEST(Attention, MixedLevelsAreTheSoftmaxOverWhatTheyStandFor) {
  for (const int dim : kHeadDims) {
    for (const int rows : {1, 2, 4, 5, 7, 13, 32}) {
      Rng rng(static_cast<uint64_t>(5000 * dim + rows));
      const Cache cache = random_mixed_cache(rng, dim, 64 * 7 + 20);
      expect_softmax(cache, random_queries(rng, cache, rows, 1.0f / std::sqrt(static_cast<float>(dim))));
      if (HasFailure()) FAIL() << "head_dim " << dim << " rows " << rows;
    }
  }
}

TEST(Attention, LowerLevelsStayNear) {
  Rng rng(41);
  for (const int dim : {64, 128}) {
    const Cache exact = random_cache(rng, dim, 512);
    Queries q = random_queries(rng, exact, 24, 1.0f / std::sqrt(static_cast<float>(dim)));
    q.end.assign(24, 512);
    const Attended expected = attend_all(*testing::machine_kernels()[0], exact, q);
    for (const Level level : {Level::k8, Level::k4}) {
      Cache cache = exact;
      lower_all(cache, *testing::machine_kernels()[0], level);
      const Attended got = attend_all(*testing::machine_kernels()[0], cache, q);
      double error = 0, size = 0;
      for (size_t i = 0; i < got.out.size(); ++i) {
        const size_t row = i / static_cast<size_t>(dim);
        const double a = static_cast<double>(got.out[i] / got.sum[row]);
        const double b = static_cast<double>(expected.out[i] / expected.sum[row]);
        error += (a - b) * (a - b);
        size += b * b;
      }
      // Gaussian keys and values, scores about 1: 1 and 16 steps of 1/255 of the range of a token.
      EXPECT_LT(std::sqrt(error / size), level == Level::k8 ? 0.015 : 0.2) << dim;
    }
  }
}

// What the format promises, measured on the whole result: better than IEEE halves; where a few channels of the keys are
// 40 times larger than the others, at most 2 bits worse.
TEST(Attention, IsAboutAsPreciseAsWithHalves) {
  for (const int dim : {64, 128}) {
    for (const float outlier : {1.0f, 40.0f}) {
      Rng rng(static_cast<uint64_t>(dim));
      const int tokens = 400, rows = 8;
      std::vector<float> keys = random_floats(rng, static_cast<size_t>(tokens * dim), 1.0f);
      const std::vector<float> values = random_floats(rng, static_cast<size_t>(tokens * dim), 1.0f);
      std::vector<float> queries = random_floats(rng, static_cast<size_t>(rows * dim), 2.0f / std::sqrt(64.0f));
      for (size_t i = 0; i < keys.size(); i += static_cast<size_t>(dim)) keys[i] *= outlier, keys[i + 5] *= outlier;
      for (size_t i = 0; i < queries.size(); i += static_cast<size_t>(dim)) {
        queries[i] /= outlier, queries[i + 5] /= outlier;
      }
      const KernelTable& table = *testing::machine_kernels()[0];
      Queries q = queries_of(table, dim, queries);
      q.end.assign(rows, tokens);
      const Attended got = attend_all(table, testing::cache_of(table, dim, keys, values), q);

      const auto rounded = [](float x) { return static_cast<double>(half_to_float(float_to_half(x))); };
      double ours = 0, halves = 0;
      for (int r = 0; r < rows; ++r) {
        std::vector<double> exact(static_cast<size_t>(dim)), half(static_cast<size_t>(dim));
        double exact_sum = 0, half_sum = 0;
        for (int t = 0; t < tokens; ++t) {
          double score = 0, half_score = 0;
          for (int d = 0; d < dim; ++d) {
            const double query = static_cast<double>(queries[static_cast<size_t>(r * dim + d)]);
            score += query * static_cast<double>(keys[static_cast<size_t>(t * dim + d)]);
            half_score += query * rounded(keys[static_cast<size_t>(t * dim + d)]);
          }
          exact_sum += std::exp(score);
          half_sum += std::exp(half_score);
          for (int d = 0; d < dim; ++d) {
            const float value = values[static_cast<size_t>(t * dim + d)];
            exact[static_cast<size_t>(d)] += std::exp(score) * static_cast<double>(value);
            half[static_cast<size_t>(d)] += std::exp(half_score) * rounded(value);
          }
        }
        for (int d = 0; d < dim; ++d) {
          const auto at = static_cast<size_t>(d);
          const double result =
              static_cast<double>(got.out[static_cast<size_t>(r * dim + d)] / got.sum[static_cast<size_t>(r)]);
          ours += std::pow(result - exact[at] / exact_sum, 2);
          halves += std::pow(half[at] / half_sum - exact[at] / exact_sum, 2);
        }
      }
      EXPECT_LT(std::sqrt(ours / halves), outlier == 1.0f ? 1.0 : 4.0) << "head_dim " << dim << " outliers " << outlier;
      RecordProperty("error_" + std::to_string(dim) + "_" + std::to_string(static_cast<int>(outlier)),
                     std::to_string(std::sqrt(ours / halves)));
    }
  }
}

TEST(Attention, HugeInputsAreBoundedAndNaNIsNotHidden) {
  constexpr int kDim = 16;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const KernelTable* table : testing::machine_kernels()) {
    std::vector<float> x(kDim, 1e10f);
    x[3] = kInfinity;
    x[4] = -3e38f;
    const Cache huge = testing::cache_of(*table, kDim, x, x);
    for (const double scale : {huge.key_scale(0), huge.value_scale(0)}) EXPECT_TRUE(std::isfinite(scale));
    EXPECT_NEAR(huge.value(0, 3), 1e15, 1e11) << table->name;
    EXPECT_NEAR(huge.value(0, 4), -1e15, 1e11) << table->name;
    EXPECT_NEAR(huge.key(0, 4), -1e15, 1e11) << table->name;
    for (const size_t place : {0u, 15u}) {
      std::vector<float> y(kDim, 1.0f);
      y[place] = nan;
      const Cache broken = testing::cache_of(*table, kDim, y, y);
      EXPECT_TRUE(std::isnan(broken.key_scale(0))) << table->name;
      EXPECT_TRUE(std::isnan(broken.value_scale(0))) << table->name;
      Queries q = queries_of(*table, kDim, std::vector<float>(kDim, 1.0f));
      q.end = {1};
      EXPECT_TRUE(std::isnan(attend_all(*table, broken, q).out[0])) << table->name;
    }
  }
}

// The sums of integers are as large as they can be: every code the greatest, of one sign.
TEST(Attention, NoSumOverflows) {
  for (const int dim : {16, 64, 256}) {
    const auto count = static_cast<size_t>(dim) * kPageTokens;
    for (const float sign : {1.0f, -1.0f}) {
      const Cache cache = testing::cache_of(*testing::machine_kernels()[0], dim, std::vector<float>(count, sign),
                                            std::vector<float>(count, sign));
      Queries q = queries_of(*testing::machine_kernels()[0], dim, std::vector<float>(static_cast<size_t>(dim), 1.0f));
      q.end = {kPageTokens};
      const Attended got = attend_on_every_isa(cache, q);
      expect_softmax(cache, q, got);
      EXPECT_NEAR(got.out[0] / got.sum[0], sign, 1e-4f);
    }
  }
}

TEST(Attention, ARowSeesNothingBeforeItsWindow) {
  Rng rng(31);
  const Cache cache = random_mixed_cache(rng, 32, 300);
  Queries q = random_queries(rng, cache, 40, 0.3f);
  for (int r = 0; r < q.rows; ++r) {
    const int end = q.end[static_cast<size_t>(r)];
    q.begin[static_cast<size_t>(r)] = static_cast<int>(rng.below(static_cast<uint32_t>(end) + 1));
  }
  q.begin[0] = q.end[0] = 100;      // An empty window.
  q.begin[1] = 64, q.end[1] = 128;  // A whole page and nothing else.
  expect_softmax(cache, q);
}

TEST(Attention, ScoresAreCapped) {
  Rng rng(32);
  const Cache cache = random_mixed_cache(rng, 64, 150, 4.0f);
  for (const float cap : {0.5f, 5.0f, 50.0f}) {
    Queries q = random_queries(rng, cache, 9, 1.0f);  // Scores up to about 100.
    q.cap = cap;
    expect_softmax(cache, q);
  }
}

TEST(Attention, IsTheSoftmaxOverVisibleTokens) {
  for (const int dim : kHeadDims) {
    for (const int rows : {1, 2, 3, 4, 5, 6, 7, 8, 13, 32}) {
      Rng rng(static_cast<uint64_t>(1000 * dim + rows));
      const Cache cache = random_cache(rng, dim, 150);
      const Queries q = random_queries(rng, cache, rows, 1.0f / std::sqrt(static_cast<float>(dim)));
      expect_softmax(cache, q);
      if (HasFailure()) FAIL() << "head_dim " << dim << " rows " << rows;
    }
  }
}

TEST(Attention, EveryHeadDimension) {
  for (int dim = 16; dim <= kHeadDimMax; dim += 16) {
    for (const int rows : {1, 5}) {
      Rng rng(static_cast<uint64_t>(2000 * dim + rows));
      const Cache cache = random_cache(rng, dim, 130);
      const Queries q = random_queries(rng, cache, rows, 1.0f / std::sqrt(static_cast<float>(dim)));
      expect_softmax(cache, q);
      if (HasFailure()) FAIL() << "head_dim " << dim << " rows " << rows;
    }
  }
}

// Queries, outputs and pages need no more alignment than their elements.
TEST(Attention, PlacesInMemoryDoNotMatter) {
  constexpr int kDim = 80, kRows = 7;
  Rng rng(21);
  const Cache cache = random_mixed_cache(rng, kDim, 64 * 8);
  const Queries q = random_queries(rng, cache, kRows, 0.2f);
  Cache shifted = cache;
  for (size_t page = 0; page < cache.pages.size(); ++page) {
    for (std::vector<std::byte>* bytes : {&shifted.full[page], &shifted.high[page], &shifted.low[page]}) {
      bytes->insert(bytes->begin(), 4, std::byte{0});
    }
    if (cache.pages[page].full != nullptr) shifted.pages[page].full = shifted.full[page].data() + 4;
    if (cache.pages[page].high != nullptr) shifted.pages[page].high = shifted.high[page].data() + 4;
    if (cache.pages[page].low != nullptr) shifted.pages[page].low = shifted.low[page].data() + 4;
  }
  std::vector<std::byte> codes(4);
  codes.insert(codes.end(), q.codes.begin(), q.codes.end());
  for (const KernelTable* table : testing::machine_kernels()) {
    constexpr float kGuard = 555.0f;
    std::vector<float> out(kRows * kDim + 2, kGuard), max(kRows + 2, kGuard), sum(kRows + 2, kGuard);
    table->attend({.queries = codes.data() + 4,
                   .rows = kRows,
                   .head_dim = kDim,
                   .visible_begin = q.begin.data(),
                   .visible_end = q.end.data(),
                   .score_cap = 0.0f,
                   .pages = shifted.pages.data(),
                   .page_count = cache.page_count(),
                   .out = out.data() + 1,
                   .max = max.data() + 1,
                   .sum = sum.data() + 1});
    for (const std::vector<float>* v : {&out, &max, &sum}) {
      EXPECT_EQ(v->front(), kGuard) << table->name;
      EXPECT_EQ(v->back(), kGuard) << table->name;
    }
    const auto inside = [](const std::vector<float>& v) { return std::vector<float>(v.begin() + 1, v.end() - 1); };
    EXPECT_TRUE((Attended{inside(out), inside(max), inside(sum)}) == attend_all(*table, cache, q)) << table->name;
  }
}

TEST(Attention, EveryCountOfVisibleTokensInAPage) {
  Rng rng(5);
  const Cache cache = random_mixed_cache(rng, 32, 2 * kPageTokens);
  Queries q = random_queries(rng, cache, 2 * kPageTokens + 1, 0.3f);
  std::iota(q.end.begin(), q.end.end(), 0);
  expect_softmax(cache, q);
}

TEST(Attention, LargeScoresNeitherOverflowNorGiveNaN) {
  Rng rng(6);
  for (const float scale : {1e2f, 1e4f}) {  // Scores up to about +-1e4 and +-1e6.
    const Cache cache = random_mixed_cache(rng, 64, 200, 10.0f);
    const Queries q = random_queries(rng, cache, 9, scale / 80.0f);
    const Attended got = attend_on_every_isa(cache, q);
    for (int r = 0; r < q.rows; ++r) {
      const int visible = q.end[static_cast<size_t>(r)];
      if (visible == 0) continue;
      const float sum = got.sum[static_cast<size_t>(r)];
      // The greatest weight is 1 but for the rounding of its score.
      EXPECT_GE(sum, 1.0f - 1e-6f - 6e-8f * std::abs(got.max[static_cast<size_t>(r)]));
      EXPECT_LE(sum, static_cast<float>(visible));
      for (int d = 0; d < 64; ++d) EXPECT_LT(std::abs(got.out[static_cast<size_t>(r * 64 + d)] / sum), 6.0f);
    }
  }
}

TEST(Attention, TinyAndZeroInputsKeepTheirMeaning) {
  Rng rng(8);
  const Cache cache = random_cache(rng, 48, 100, 1e-6f, 1e-12f);
  Queries q = random_queries(rng, cache, 7, 1e-38f);
  std::fill(q.end.begin(), q.end.end(), 100);
  std::fill_n(q.codes.begin(), query_row_bytes(48), std::byte{0});
  const Attended got = attend_on_every_isa(cache, q);
  expect_softmax(cache, q, got);
  EXPECT_EQ(got.sum[0], 100.0f);
}

// The heart of determinism: a row's bits do not depend on who is computed beside it.
TEST(Attention, ARowIsTheSameInEveryGroupOfRows) {
  testing::for_each_case(25, [](Rng& rng) {
    const int dim = kHeadDims[rng.below(5)], tokens = 1 + static_cast<int>(rng.below(260));
    const Cache cache = random_mixed_cache(rng, dim, tokens, 2.0f);
    const Queries q = random_queries(rng, cache, 1 + static_cast<int>(rng.below(40)), 0.5f);
    const Attended whole = attend_on_every_isa(cache, q);
    for (const KernelTable* table : testing::machine_kernels()) {
      for (int first = 0; first < q.rows;) {
        const int rows = 1 + static_cast<int>(rng.below(static_cast<uint32_t>(std::min(9, q.rows - first))));
        const Attended part = attend(*table, cache, q, first, rows, 0, cache.page_count());
        const auto slice = [&](const std::vector<float>& v, int width) {
          return std::vector<float>(v.begin() + first * width, v.begin() + (first + rows) * width);
        };
        ASSERT_TRUE(part == (Attended{slice(whole.out, dim), slice(whole.max, 1), slice(whole.sum, 1)}))
            << table->name << " rows " << first << ".." << first + rows << " of " << q.rows << " head_dim " << dim;
        first += rows;
      }
    }
  });
}

TEST(Attention, PagesBeyondTheLastVisibleTokenChangeNothing) {
  Rng rng(11);
  const Cache cache = random_mixed_cache(rng, 64, 300);
  Queries q = random_queries(rng, cache, 8, 0.2f);
  for (int& visible : q.end) visible = std::min(visible, 100);
  for (const KernelTable* table : testing::machine_kernels()) {
    EXPECT_TRUE(attend(*table, cache, q, 0, 8, 0, 2) == attend_all(*table, cache, q)) << table->name;
  }
}

TEST(Attention, NothingVisibleGivesZerosAndNoNaN) {
  Rng rng(12);
  const Cache cache = random_cache(rng, 16, 64);
  Queries q = random_queries(rng, cache, 7, 1.0f);
  std::fill(q.end.begin(), q.end.end(), 0);
  expect_softmax(cache, q);
  for (const KernelTable* table : testing::machine_kernels()) {
    const Attended none = attend(*table, cache, q, 0, 7, 0, 0);  // No page at all.
    EXPECT_TRUE(none == attend_all(*table, cache, q)) << table->name;
  }
}

TEST(Attention, MergedRunsAreTheWholeRun) {
  testing::for_each_case(20, [](Rng& rng) {
    const int dim = kHeadDims[rng.below(5)];
    const Cache cache = random_mixed_cache(rng, dim, 64 * 5 - static_cast<int>(rng.below(64)));
    const Queries q = random_queries(rng, cache, 5, 0.5f);
    const int cut = 1 + static_cast<int>(rng.below(4));
    Attended first_merged;
    for (const KernelTable* table : testing::machine_kernels()) {
      Attended merged = attend(*table, cache, q, 0, q.rows, 0, cut);
      const Attended rest = attend(*table, cache, q, 0, q.rows, cut, cache.page_count() - cut);
      for (size_t r = 0; r < 5; ++r) {
        const size_t at = r * static_cast<size_t>(dim);
        table->merge_attention(&rest.out[at], rest.max[r], rest.sum[r], dim, &merged.out[at], &merged.max[r],
                               &merged.sum[r]);
      }
      expect_softmax(cache, q, merged);
      if (first_merged.out.empty()) first_merged = merged;
      EXPECT_TRUE(merged == first_merged) << table->name << " differs";
    }
  });
}

TEST(Attention, MergingWithNothingKeepsTheOtherSideBitForBit) {
  Rng rng(13);
  const std::vector<float> part = random_floats(rng, 32, 1.0f);
  for (const KernelTable* table : testing::machine_kernels()) {
    std::vector<float> out = part, empty(32, 0.0f);
    float max = 3.5f, sum = 2.25f;
    table->merge_attention(empty.data(), -kInfinity, 0.0f, 32, out.data(), &max, &sum);
    EXPECT_EQ(out, part) << table->name;
    EXPECT_EQ(max, 3.5f);
    EXPECT_EQ(sum, 2.25f);

    max = -kInfinity;
    sum = 0.0f;
    table->merge_attention(part.data(), 3.5f, 2.25f, 32, empty.data(), &max, &sum);
    EXPECT_EQ(empty, part) << table->name;
    EXPECT_EQ(max, 3.5f);
    EXPECT_EQ(sum, 2.25f);
  }
}

}  // namespace
}  // namespace infer::kernels
