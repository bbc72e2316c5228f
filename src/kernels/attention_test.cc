// Attention against its definition in double, across instruction sets, and across every way to group rows and pages.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "kernels/panels.h"
#include "kernels/reference.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"

namespace infer::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kHeadDims[] = {16, 64, 80, 96, 128, 256};

float normal(Rng& rng) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - rng.uniform()));
  return static_cast<float>(radius * std::cos(6.283185307179586 * rng.uniform()));
}

std::vector<float> random_floats(Rng& rng, size_t n, float scale) {
  std::vector<float> x(n);
  for (float& value : x) value = normal(rng) * scale;
  return x;
}

// The keys and values of one KV head, in pages.
struct Cache {
  int head_dim;
  int tokens;
  std::vector<std::vector<uint16_t>> keys, values;
  std::vector<const uint16_t*> key_pages, value_pages;

  int pages() const { return static_cast<int>(keys.size()); }
  double key(int token, int d) const {
    return static_cast<double>(half_to_float(
        keys[static_cast<size_t>(token / kPageTokens)][static_cast<size_t>(d * kPageTokens + token % kPageTokens)]));
  }
  double value(int token, int d) const {
    return static_cast<double>(half_to_float(
        values[static_cast<size_t>(token / kPageTokens)][static_cast<size_t>(token % kPageTokens * head_dim + d)]));
  }
};

// Slots after the last token hold NaN, as memory that was used before may.
Cache random_cache(Rng& rng, int head_dim, int tokens, float key_scale = 1.0f, float value_scale = 1.0f) {
  Cache cache{head_dim, tokens, {}, {}, {}, {}};
  const KernelTable& table = *testing::machine_kernels()[0];
  for (int t = 0; t < tokens; ++t) {
    if (t % kPageTokens == 0) {
      cache.keys.emplace_back(static_cast<size_t>(kPageTokens * head_dim), uint16_t{0x7E00});
      cache.values.emplace_back(static_cast<size_t>(kPageTokens * head_dim), uint16_t{0x7E00});
    }
    const std::vector<float> key = random_floats(rng, static_cast<size_t>(head_dim), key_scale);
    const std::vector<float> value = random_floats(rng, static_cast<size_t>(head_dim), value_scale);
    table.store_key(key.data(), head_dim, t % kPageTokens, cache.keys.back().data());
    table.store_value(value.data(), head_dim, t % kPageTokens, cache.values.back().data());
  }
  for (const auto& page : cache.keys) cache.key_pages.push_back(page.data());
  for (const auto& page : cache.values) cache.value_pages.push_back(page.data());
  return cache;
}

struct Queries {
  int rows;
  std::vector<float> values;  // [rows][head_dim]
  std::vector<int> visible;
};

Queries random_queries(Rng& rng, const Cache& cache, int rows, float scale) {
  Queries q{rows, random_floats(rng, static_cast<size_t>(rows * cache.head_dim), scale), {}};
  for (int r = 0; r < rows; ++r)
    q.visible.push_back(static_cast<int>(rng.below(static_cast<uint32_t>(cache.tokens) + 1)));
  return q;
}

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
  std::vector<int> visible;
  for (int r = first; r < first + rows; ++r) {
    visible.push_back(std::max(0, q.visible[static_cast<size_t>(r)] - first_page * kPageTokens));
  }
  std::vector<std::byte> scratch(attention_scratch_bytes(rows, cache.head_dim) + 64);
  void* aligned = scratch.data();
  size_t space = scratch.size();
  std::align(64, 1, aligned, space);
  table.attend({.queries = q.values.data() + static_cast<size_t>(first) * dim,
                .rows = rows,
                .head_dim = cache.head_dim,
                .visible = visible.data(),
                .keys = cache.key_pages.data() + first_page,
                .values = cache.value_pages.data() + first_page,
                .pages = pages,
                .out = result.out.data(),
                .max = result.max.data(),
                .sum = result.sum.data(),
                .scratch = static_cast<std::byte*>(aligned)});
  return result;
}

Attended attend_all(const KernelTable& table, const Cache& cache, const Queries& q) {
  return attend(table, cache, q, 0, q.rows, 0, cache.pages());
}

// Attends with every table, expects the same bits from all.
Attended attend_on_every_isa(const Cache& cache, const Queries& q) {
  const Attended first = attend_all(*testing::machine_kernels()[0], cache, q);
  for (const KernelTable* table : testing::machine_kernels()) {
    EXPECT_TRUE(attend_all(*table, cache, q) == first) << table->name << " differs";
  }
  return first;
}

// The definition: softmax over the visible tokens, in double. Checks one row of `got`.
void expect_row_is_softmax(const Cache& cache, const Queries& q, const Attended& got, int row) {
  const int visible = q.visible[static_cast<size_t>(row)], dim = cache.head_dim;
  const float* query = q.values.data() + static_cast<size_t>(row * dim);
  std::vector<double> score(static_cast<size_t>(visible)), magnitude(static_cast<size_t>(visible));
  for (int t = 0; t < visible; ++t) {
    for (int d = 0; d < dim; ++d) {
      const double product = static_cast<double>(query[d]) * cache.key(t, d);
      score[static_cast<size_t>(t)] += product;
      magnitude[static_cast<size_t>(t)] += std::abs(product);
    }
  }
  const double top = *std::max_element(score.begin(), score.end());
  const double reach = *std::max_element(magnitude.begin(), magnitude.end());
  // A score is dim fused steps, each rounded relative to a partial sum of at most `reach` (or to a denormal); the
  // difference to the maximum has two such errors; a weight's relative error is that difference plus exp (1 ulp) once
  // per page (fade).
  const double half_ulp = 0x1p-24, score_error = dim * (half_ulp * reach + 0x1p-150);
  const double weight_error = 2 * score_error + 3 * half_ulp * (cache.pages() + 1);
  EXPECT_NEAR(static_cast<double>(got.max[static_cast<size_t>(row)]), top, score_error);
  double sum = 0.0;
  for (const double s : score) sum += std::exp(s - static_cast<double>(got.max[static_cast<size_t>(row)]));
  // Then additions, each of at most 64 + 1 a page, rounded relative to a partial sum.
  const double add_error = (visible + 2 * cache.pages()) * half_ulp;
  EXPECT_NEAR(static_cast<double>(got.sum[static_cast<size_t>(row)]), sum, sum * (weight_error + add_error));
  for (int d = 0; d < dim; ++d) {
    double expected = 0.0, absolute = 0.0;
    for (int t = 0; t < visible; ++t) {
      const double term =
          std::exp(score[static_cast<size_t>(t)] - static_cast<double>(got.max[static_cast<size_t>(row)])) *
          cache.value(t, d);
      expected += term;
      absolute += std::abs(term);
    }
    ASSERT_NEAR(static_cast<double>(got.out[static_cast<size_t>(row * dim + d)]), expected,
                absolute * (weight_error + add_error) + 1e-37)
        << "row " << row << " dimension " << d << " visible " << visible;
  }
}

void expect_softmax(const Cache& cache, const Queries& q, const Attended& got) {
  for (int r = 0; r < q.rows; ++r) {
    if (q.visible[static_cast<size_t>(r)] > 0) {
      expect_row_is_softmax(cache, q, got, r);
      continue;
    }
    EXPECT_EQ(got.max[static_cast<size_t>(r)], -kInfinity);
    EXPECT_EQ(got.sum[static_cast<size_t>(r)], 0.0f);
    for (int d = 0; d < cache.head_dim; ++d) EXPECT_EQ(got.out[static_cast<size_t>(r * cache.head_dim + d)], 0.0f);
  }
}

TEST(Attention, StoresKeysScatteredAndValuesInRows) {
  for (const int dim : kHeadDims) {
    Rng rng(static_cast<uint64_t>(dim));
    const std::vector<float> x = random_floats(rng, static_cast<size_t>(dim), 1.0f);
    for (const KernelTable* table : testing::machine_kernels()) {
      for (const int slot : {0, 1, 37, 63}) {
        const size_t page = static_cast<size_t>(kPageTokens * dim);
        std::vector<uint16_t> keys(page, 0xABCD), values(page, 0xABCD);
        table->store_key(x.data(), dim, slot, keys.data());
        table->store_value(x.data(), dim, slot, values.data());
        for (int t = 0; t < kPageTokens; ++t) {
          for (int d = 0; d < dim; ++d) {
            const uint16_t expected = t == slot ? float_to_half(x[static_cast<size_t>(d)]) : uint16_t{0xABCD};
            ASSERT_EQ(keys[static_cast<size_t>(d * kPageTokens + t)], expected) << table->name << t << " " << d;
            ASSERT_EQ(values[static_cast<size_t>(t * dim + d)], expected) << table->name << t << " " << d;
          }
        }
      }
    }
  }
}

TEST(Attention, StoresTheGreatestHalfInsteadOfInfinity) {
  const float inputs[16] = {1e6f,
                            -1e6f,
                            65504.0f,
                            -65504.0f,
                            65519.9f,
                            kInfinity,
                            -kInfinity,
                            1e-8f,
                            6e-8f,
                            -0.0f,
                            std::numeric_limits<float>::quiet_NaN(),
                            0.1f,
                            65520.0f,
                            -65520.0f,
                            3e-5f,
                            1.0f};
  for (const KernelTable* table : testing::machine_kernels()) {
    std::vector<uint16_t> page(kPageTokens * 16);
    table->store_value(inputs, 16, 0, page.data());
    for (int i = 0; i < 16; ++i) {
      if (std::isnan(inputs[i])) {
        EXPECT_TRUE(std::isnan(half_to_float(page[static_cast<size_t>(i)]))) << table->name;
      } else {
        const float kept = std::clamp(inputs[i], -65504.0f, 65504.0f);
        EXPECT_EQ(page[static_cast<size_t>(i)], float_to_half(kept)) << table->name << " " << inputs[i];
      }
    }
  }
}

TEST(Attention, IsTheSoftmaxOverVisibleTokens) {
  for (const int dim : kHeadDims) {
    for (const int rows : {1, 2, 3, 4, 5, 6, 7, 8, 13, 32}) {
      Rng rng(static_cast<uint64_t>(1000 * dim + rows));
      const Cache cache = random_cache(rng, dim, 150);
      const Queries q = random_queries(rng, cache, rows, 1.0f / std::sqrt(static_cast<float>(dim)));
      expect_softmax(cache, q, attend_on_every_isa(cache, q));
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
      expect_softmax(cache, q, attend_on_every_isa(cache, q));
      if (HasFailure()) FAIL() << "head_dim " << dim << " rows " << rows;
    }
  }
}

// Queries, outputs and pages may lie anywhere; only the scratch is aligned.
TEST(Attention, PlacesInMemoryDoNotMatter) {
  constexpr int kDim = 80, kRows = 7;
  Rng rng(21);
  const Cache cache = random_cache(rng, kDim, 100);
  const Queries q = random_queries(rng, cache, kRows, 0.2f);
  std::vector<std::vector<uint16_t>> shifted;  // Each page one half off.
  std::vector<const uint16_t*> keys, values;
  for (const auto* pages : {&cache.keys, &cache.values}) {
    for (const std::vector<uint16_t>& page : *pages) {
      shifted.emplace_back(1, uint16_t{0});
      shifted.back().insert(shifted.back().end(), page.begin(), page.end());
      (pages == &cache.keys ? keys : values).push_back(shifted.back().data() + 1);
    }
  }
  std::vector<float> queries(1, 0.0f);
  queries.insert(queries.end(), q.values.begin(), q.values.end());
  std::vector<std::byte> scratch(attention_scratch_bytes(kRows, kDim) + 64);
  void* aligned = scratch.data();
  size_t space = scratch.size();
  std::align(64, 1, aligned, space);
  for (const KernelTable* table : testing::machine_kernels()) {
    constexpr float kGuard = 555.0f;
    std::vector<float> out(kRows * kDim + 2, kGuard), max(kRows + 2, kGuard), sum(kRows + 2, kGuard);
    table->attend({.queries = queries.data() + 1,
                   .rows = kRows,
                   .head_dim = kDim,
                   .visible = q.visible.data(),
                   .keys = keys.data(),
                   .values = values.data(),
                   .pages = cache.pages(),
                   .out = out.data() + 1,
                   .max = max.data() + 1,
                   .sum = sum.data() + 1,
                   .scratch = static_cast<std::byte*>(aligned)});
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
  const Cache cache = random_cache(rng, 32, 2 * kPageTokens);
  Queries q = random_queries(rng, cache, 2 * kPageTokens + 1, 0.3f);
  std::iota(q.visible.begin(), q.visible.end(), 0);
  expect_softmax(cache, q, attend_on_every_isa(cache, q));
}

TEST(Attention, LargeScoresNeitherOverflowNorGiveNaN) {
  Rng rng(6);
  for (const float scale : {1e2f, 1e4f}) {  // Scores up to about +-1e4 and +-1e6.
    const Cache cache = random_cache(rng, 64, 200, 10.0f);
    const Queries q = random_queries(rng, cache, 9, scale / 80.0f);
    const Attended got = attend_on_every_isa(cache, q);
    for (int r = 0; r < q.rows; ++r) {
      const int visible = q.visible[static_cast<size_t>(r)];
      if (visible == 0) continue;
      const float sum = got.sum[static_cast<size_t>(r)];
      EXPECT_GE(sum, 1.0f - 1e-6f);
      EXPECT_LE(sum, static_cast<float>(visible));
      for (int d = 0; d < 64; ++d) EXPECT_LT(std::abs(got.out[static_cast<size_t>(r * 64 + d)] / sum), 6.0f);
    }
  }
}

TEST(Attention, TinyAndZeroInputsKeepTheirMeaning) {
  Rng rng(8);
  const Cache cache = random_cache(rng, 48, 100, 1e-6f, 1e-6f);  // Keys and values are denormal halves.
  Queries q = random_queries(rng, cache, 7, 1e-38f);
  std::fill(q.visible.begin(), q.visible.end(), 100);
  std::fill(q.values.begin(), q.values.begin() + 48, 0.0f);
  const Attended got = attend_on_every_isa(cache, q);
  expect_softmax(cache, q, got);
  EXPECT_EQ(got.sum[0], 100.0f);
}

// The heart of determinism: a row's bits do not depend on who is computed beside it.
TEST(Attention, ARowIsTheSameInEveryGroupOfRows) {
  testing::for_each_case(25, [](Rng& rng) {
    const int dim = kHeadDims[rng.below(5)], tokens = 1 + static_cast<int>(rng.below(260));
    const Cache cache = random_cache(rng, dim, tokens, 2.0f);
    const Queries q = random_queries(rng, cache, 1 + static_cast<int>(rng.below(40)), 0.5f);
    const Attended whole = attend_on_every_isa(cache, q);
    for (const KernelTable* table : testing::machine_kernels()) {
      for (int first = 0; first < q.rows;) {
        const int rows = 1 + static_cast<int>(rng.below(static_cast<uint32_t>(std::min(9, q.rows - first))));
        const Attended part = attend(*table, cache, q, first, rows, 0, cache.pages());
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
  const Cache cache = random_cache(rng, 64, 300);
  Queries q = random_queries(rng, cache, 8, 0.2f);
  for (int& visible : q.visible) visible = std::min(visible, 100);
  for (const KernelTable* table : testing::machine_kernels()) {
    EXPECT_TRUE(attend(*table, cache, q, 0, 8, 0, 2) == attend_all(*table, cache, q)) << table->name;
  }
}

TEST(Attention, NothingVisibleGivesZerosAndNoNaN) {
  Rng rng(12);
  const Cache cache = random_cache(rng, 16, 64);
  Queries q = random_queries(rng, cache, 7, 1.0f);
  std::fill(q.visible.begin(), q.visible.end(), 0);
  expect_softmax(cache, q, attend_on_every_isa(cache, q));
  for (const KernelTable* table : testing::machine_kernels()) {
    const Attended none = attend(*table, cache, q, 0, 7, 0, 0);  // No page at all.
    EXPECT_TRUE(none == attend_all(*table, cache, q)) << table->name;
  }
}

TEST(Attention, MergedRunsAreTheWholeRun) {
  testing::for_each_case(20, [](Rng& rng) {
    const int dim = kHeadDims[rng.below(5)];
    const Cache cache = random_cache(rng, dim, 64 * 5 - static_cast<int>(rng.below(64)));
    const Queries q = random_queries(rng, cache, 5, 0.5f);
    const int cut = 1 + static_cast<int>(rng.below(4));
    Attended first_merged;
    for (const KernelTable* table : testing::machine_kernels()) {
      Attended merged = attend(*table, cache, q, 0, q.rows, 0, cut);
      const Attended rest = attend(*table, cache, q, 0, q.rows, cut, cache.pages() - cut);
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
