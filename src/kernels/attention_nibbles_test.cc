// Pages at 4 bits that few rows see whole have their own way in some instruction sets
// (generic/attention_nibbles.inl.h): the same bits as the plain one, whatever is in the pages.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "kernels/panels.h"
#include "testing/attention_case.h"
#include "testing/machine_kernels.h"

namespace infer::kernels {
namespace {

using testing::Cache;
using testing::Level;
using testing::Queries;
using testing::random_floats;

constexpr int kTokens = 5 * kPageTokens;

struct Result {
  std::vector<float> out, max, sum;
  std::vector<PageShare> shares;
};

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}
bool same_numbers(const std::vector<float>& a, const std::vector<float>& b) {  // NaN have many bits.
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(std::isnan(a[i]) && std::isnan(b[i])) && std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i])) {
      return false;
    }
  }
  return a.size() == b.size();
}

Result attend(const KernelTable& table, const Cache& cache, const Queries& q) {
  const auto rows = static_cast<size_t>(q.rows);
  Result result{std::vector<float>(rows * static_cast<size_t>(cache.head_dim)), std::vector<float>(rows),
                std::vector<float>(rows), std::vector<PageShare>(rows * cache.pages.size())};
  table.attend({.queries = q.codes.data(),
                .rows = q.rows,
                .head_dim = cache.head_dim,
                .visible_begin = q.begin.data(),
                .visible_end = q.end.data(),
                .score_cap = 0,
                .pages = cache.pages.data(),
                .page_count = cache.page_count(),
                .out = result.out.data(),
                .max = result.max.data(),
                .sum = result.sum.data(),
                .shares = result.shares.data()});
  return result;
}

// What may be changed of keys and values [token][dimension] before they are coded.
using Change = std::function<void(std::vector<float>& keys, std::vector<float>& values)>;

Cache cache_at_4_bits(Rng& rng, int head_dim, float key_scale, const Change& change) {
  const auto count = static_cast<size_t>(kTokens * head_dim);
  std::vector<float> keys = random_floats(rng, count, key_scale), values = random_floats(rng, count, 1.0f);
  change(keys, values);
  const KernelTable& plain = *testing::machine_kernels()[0];
  Cache cache = testing::cache_of(plain, head_dim, keys, values);
  testing::lower_all(cache, plain, Level::k4);
  return cache;
}

Queries queries_that_see_all(Rng& rng, const Cache& cache, int rows) {
  Queries q = testing::random_queries(rng, cache, rows, 1.0f / std::sqrt(static_cast<float>(cache.head_dim)));
  q.begin.assign(static_cast<size_t>(rows), 0);
  q.end.assign(static_cast<size_t>(rows), kTokens);
  return q;
}

// All instruction sets, among them those that have only the plain way.
void expect_same_on_every_isa(float key_scale, const Change& change) {
  Rng rng(77);
  for (const int dim : {64, 96, 128, 192, 256}) {
    const Cache cache = cache_at_4_bits(rng, dim, key_scale, change);
    for (int rows = 1; rows <= 8; ++rows) {
      const Queries q = queries_that_see_all(rng, cache, rows);
      const Result first = attend(*testing::machine_kernels()[0], cache, q);
      for (const KernelTable* table : testing::machine_kernels()) {
        const Result got = attend(*table, cache, q);
        const std::string which =
            std::string(table->name) + ", head_dim " + std::to_string(dim) + ", rows " + std::to_string(rows);
        ASSERT_TRUE(same_numbers(got.out, first.out)) << which;
        ASSERT_TRUE(same_numbers(got.max, first.max)) << which;
        ASSERT_TRUE(same_numbers(got.sum, first.sum)) << which;
        if (std::isnan(first.sum[0])) continue;
        ASSERT_TRUE(same_bytes(got.shares, first.shares)) << which;
      }
    }
  }
}

const Change kNothing = [](std::vector<float>&, std::vector<float>&) {};

TEST(AttentionNibbles, HaveTheSameBitsOnEveryIsa) { expect_same_on_every_isa(1.0f, kNothing); }

TEST(AttentionNibbles, ScoresMayBeFarApart) {
  expect_same_on_every_isa(20.0f, kNothing);
  expect_same_on_every_isa(500.0f, kNothing);  // Most weights of most pages are zeros.
  expect_same_on_every_isa(1e12f, kNothing);
}

TEST(AttentionNibbles, KeysMayBeAlikeOrNothing) {
  expect_same_on_every_isa(0.0f, kNothing);
  expect_same_on_every_isa(1.0f, [](std::vector<float>& keys, std::vector<float>&) {
    for (size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<float>(i % 16) - 7.5f;
  });
}

TEST(AttentionNibbles, ValuesMayBeNothingOrTiny) {
  const auto scale_page = [](float factor) {
    return [factor](std::vector<float>&, std::vector<float>& values) {
      const size_t page = values.size() / 5;
      for (size_t i = page; i < 2 * page; ++i) values[i] *= factor;
    };
  };
  for (const float factor : {0.0f, 1e-25f, 1e-33f, 1e-37f, 1e14f}) expect_same_on_every_isa(1.0f, scale_page(factor));
}

TEST(AttentionNibbles, NaNIsNotHidden) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const size_t page : {0u, 1u, 4u}) {
    for (const size_t token : {0u, 17u, 40u, 63u}) {
      const auto place = [page, token](const std::vector<float>& x) {
        return (page * kPageTokens + token) * (x.size() / kTokens);
      };
      const Change in_key = [&](std::vector<float>& keys, std::vector<float>&) { keys[place(keys)] = nan; };
      const Change in_value = [&](std::vector<float>&, std::vector<float>& values) { values[place(values)] = nan; };
      expect_same_on_every_isa(1.0f, in_key);
      expect_same_on_every_isa(1.0f, in_value);
    }
  }
}

// All keys are equally far from a query of zeros: its result is the mean of the values.
TEST(AttentionNibbles, AQueryOfZerosSeesTheMean) {
  Rng rng(78);
  for (const int dim : {64, 96}) {
    const Cache cache = cache_at_4_bits(rng, dim, 1.0f, kNothing);
    Queries q = queries_that_see_all(rng, cache, 4);
    const std::vector<float> zeros(static_cast<size_t>(dim), 0.0f);
    for (const KernelTable* table : testing::machine_kernels()) {
      table->store_query(zeros.data(), dim, 0.125f, q.codes.data());
      const Result got = attend(*table, cache, q);
      ASSERT_EQ(got.sum[0], static_cast<float>(kTokens)) << table->name;
      for (int d = 0; d < dim; ++d) {
        double mean = 0, rounding = 0;
        for (int t = 0; t < kTokens; ++t) {
          mean += cache.value(t, d) / kTokens;
          rounding += std::abs(cache.value(t, d)) / kTokens / 255;  // Of weights, in 8 bits.
        }
        ASSERT_NEAR(static_cast<double>(got.out[static_cast<size_t>(d)]) / kTokens, mean, rounding) << table->name;
      }
    }
  }
}

}  // namespace
}  // namespace infer::kernels
