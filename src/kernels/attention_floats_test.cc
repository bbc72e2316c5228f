// Attention over pages in floats: against its definition in double, across instruction sets and groupings, beside pages
// at lower levels, and with NaNs where nobody looks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "kernels/panels.h"
#include "testing/attention_case.h"
#include "testing/machine_kernels.h"

namespace infer::kernels {
namespace {

using testing::random_floats;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int kHeadDims[] = {16, 64, 80, 96, 128, 256};

// Keys, values and queries of one KV head, the former two in pages of floats, whose unused slots hold NaNs.
struct Case {
  int dim = 0, tokens = 0, rows = 0;
  std::vector<float> keys, values, queries;  // [tokens][dim], [rows][dim]
  std::vector<int> begin, end;               // [rows]
  std::vector<std::byte> codes;
  std::vector<std::vector<std::byte>> floats, high, low;
  std::vector<AttentionPage> pages;
  float cap = 0;
  float factor = 0;

  const float* key(int t) const { return &keys[static_cast<size_t>(t * dim)]; }
  const float* value(int t) const { return &values[static_cast<size_t>(t * dim)]; }
  void store(const KernelTable& table);
};

void Case::store(const KernelTable& table) {
  floats.clear(), pages.clear();
  for (int t = 0; t < tokens; ++t) {
    if (t % kPageTokens == 0) floats.emplace_back(kv_float_page_bytes(dim), std::byte{0xFF});
    table.store_float_key(key(t), dim, t % kPageTokens, floats.back().data());
    table.store_float_value(value(t), dim, t % kPageTokens, floats.back().data());
  }
  for (const auto& page : floats) pages.push_back({nullptr, nullptr, nullptr, page.data()});
  const size_t row_bytes = query_row_bytes(dim);
  codes.resize(static_cast<size_t>(rows) * row_bytes);
  for (int r = 0; r < rows; ++r) {
    table.store_query(&queries[static_cast<size_t>(r * dim)], dim, factor, &codes[static_cast<size_t>(r) * row_bytes]);
  }
}

Case random_case(uint64_t seed, int dim, int tokens, int rows) {
  Rng rng(seed);
  Case c;
  c.dim = dim, c.tokens = tokens, c.rows = rows;
  c.factor = 1.0f / std::sqrt(static_cast<float>(dim));
  c.keys = random_floats(rng, static_cast<size_t>(tokens * dim), 1.0f);
  c.values = random_floats(rng, static_cast<size_t>(tokens * dim), 1.0f);
  c.queries = random_floats(rng, static_cast<size_t>(rows * dim), 1.0f);
  for (int r = 0; r < rows; ++r) {
    const auto end = static_cast<int>(rng.below(static_cast<uint32_t>(tokens) + 1));
    c.end.push_back(end);
    c.begin.push_back(rng.below(2) == 0 ? 0 : static_cast<int>(rng.below(static_cast<uint32_t>(end) + 1)));
  }
  c.store(*testing::machine_kernels()[0]);
  return c;
}

struct Attended {
  std::vector<float> out, max, sum;

  static bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }
  bool operator==(const Attended& other) const {
    return same(out, other.out) && same(max, other.max) && same(sum, other.sum);
  }
};

// Rows [first, first + count).
Attended attend(const KernelTable& table, const Case& c, int first, int count) {
  const auto rows = static_cast<size_t>(count);
  Attended got{std::vector<float>(rows * static_cast<size_t>(c.dim)), std::vector<float>(rows),
               std::vector<float>(rows)};
  table.attend({.queries = c.codes.data() + static_cast<size_t>(first) * query_row_bytes(c.dim),
                .rows = count,
                .head_dim = c.dim,
                .visible_begin = c.begin.data() + first,
                .visible_end = c.end.data() + first,
                .score_cap = c.cap,
                .pages = c.pages.data(),
                .page_count = static_cast<int>(c.pages.size()),
                .float_queries = {.first = c.queries.data() + static_cast<ptrdiff_t>(first) * c.dim,
                                  .token_stride = static_cast<size_t>(c.dim),
                                  .group = 1,
                                  .factor = c.factor},
                .out = got.out.data(),
                .max = got.max.data(),
                .sum = got.sum.data()});
  return got;
}

Attended attend_all(const Case& c) { return attend(*testing::machine_kernels()[0], c, 0, c.rows); }

double exact_score(const Case& c, int row, int token) {
  double dot = 0;
  for (int d = 0; d < c.dim; ++d) {
    dot += static_cast<double>(c.queries[static_cast<size_t>(row * c.dim + d)]) * static_cast<double>(c.key(token)[d]);
  }
  const double score = dot * static_cast<double>(c.factor), cap = static_cast<double>(c.cap);
  return c.cap > 0 ? cap * std::tanh(score / cap) : score;
}

// The attention output of a row, in double; empty where it sees nothing.
std::vector<double> exact_output(const Case& c, int row) {
  const int begin = c.begin[static_cast<size_t>(row)], end = c.end[static_cast<size_t>(row)];
  std::vector<double> out;
  if (begin >= end) return out;
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int t = begin; t < end; ++t) most = std::max(most, exact_score(c, row, t));
  out.assign(static_cast<size_t>(c.dim), 0.0);
  for (int t = begin; t < end; ++t) {
    const double weight = std::exp(exact_score(c, row, t) - most);
    sum += weight;
    for (int d = 0; d < c.dim; ++d) out[static_cast<size_t>(d)] += weight * static_cast<double>(c.value(t)[d]);
  }
  for (double& x : out) x /= sum;
  return out;
}

// Outputs divided by their sums are within `error` of the definition.
void expect_near_definition(const Case& c, const Attended& got, double error) {
  for (int r = 0; r < c.rows; ++r) {
    const std::vector<double> expected = exact_output(c, r);
    const auto sum = static_cast<double>(got.sum[static_cast<size_t>(r)]);
    if (expected.empty()) {
      EXPECT_EQ(sum, 0.0);
      continue;
    }
    for (int d = 0; d < c.dim; ++d) {
      const double out = static_cast<double>(got.out[static_cast<size_t>(r * c.dim + d)]) / sum;
      ASSERT_NEAR(out, expected[static_cast<size_t>(d)], error) << "row " << r << " dimension " << d;
    }
  }
}

TEST(FloatAttention, IsTheSoftmaxOverWhatWasStored) {
  for (const int dim : kHeadDims) {
    for (const int rows : {1, 4, 7, 32}) {
      Case c = random_case(static_cast<uint64_t>(100 * dim + rows), dim, 64 * 5 + 20, rows);
      // Scores of up to about 5, off by the rounding of a sum of `dim` products; values of up to about 4.
      expect_near_definition(c, attend_all(c), 2e-5);
      c.cap = 3.0f;
      expect_near_definition(c, attend_all(c), 2e-5);
      if (HasFailure()) FAIL() << "head_dim " << dim << " rows " << rows;
    }
  }
}

TEST(FloatAttention, GivesTheSameBitsOnEveryInstructionSetAndToEachRowAlone) {
  for (const int dim : kHeadDims) {
    Case c = random_case(static_cast<uint64_t>(dim), dim, 64 * 3 + 5, 13);
    const Attended all = attend_all(c);
    for (const KernelTable* table : testing::machine_kernels()) {
      c.store(*table);
      EXPECT_TRUE(attend(*table, c, 0, c.rows) == all) << table->name << " " << dim;
      for (int r = 0; r < c.rows; ++r) {
        const Attended alone = attend(*table, c, r, 1);
        const auto row = static_cast<size_t>(r), size = static_cast<size_t>(dim);
        EXPECT_EQ(std::memcmp(alone.out.data(), &all.out[row * size], size * sizeof(float)), 0) << table->name;
        EXPECT_EQ(alone.max[0], all.max[row]);
        EXPECT_EQ(alone.sum[0], all.sum[row]);
      }
    }
  }
}

TEST(FloatAttention, ANanReachesThoseWhoSeeItAndNobodyElse) {
  for (const bool in_key : {true, false}) {
    Case c = random_case(9, 64, 200, 8);
    c.begin.assign(8, 0);
    c.end = {0, 50, 100, 100, 101, 130, 64, 200};  // Token 100 is the one.
    const Attended before = attend_all(c);
    (in_key ? c.keys : c.values)[100 * 64 + 3] = kNan;
    for (const KernelTable* table : testing::machine_kernels()) {
      c.store(*table);
      const Attended after = attend(*table, c, 0, c.rows);
      for (int r = 0; r < c.rows; ++r) {
        const size_t at = static_cast<size_t>(r) * 64;
        if (c.end[static_cast<size_t>(r)] > 100) {
          EXPECT_TRUE(std::isnan(after.out[at + 3])) << table->name << " row " << r;
        } else {
          EXPECT_EQ(std::memcmp(&after.out[at], &before.out[at], 64 * sizeof(float)), 0) << table->name << " row " << r;
        }
      }
    }
  }
}

TEST(FloatAttention, InfinitiesCountAsTheGreatestInput) {
  Case c = random_case(10, 64, 64, 2);
  c.begin = {0, 0}, c.end = {64, 64};
  c.keys[5] = std::numeric_limits<float>::infinity();
  c.values[7] = -std::numeric_limits<float>::infinity();
  for (const KernelTable* table : testing::machine_kernels()) {
    c.store(*table);
    const Attended got = attend(*table, c, 0, c.rows);
    for (const float x : got.out) EXPECT_TRUE(std::isfinite(x)) << table->name;
  }
}

TEST(FloatAttention, ItsPlanesAreThoseOfTheCodesOfSixteenBits) {
  for (const int dim : kHeadDims) {
    const Case c = random_case(static_cast<uint64_t>(dim) + 7, dim, 64, 1);
    for (const KernelTable* table : testing::machine_kernels()) {
      std::vector<std::byte> full(kv_page_bytes(dim));
      for (int t = 0; t < 64; ++t) {
        table->store_key(c.key(t), dim, t, full.data());
        table->store_value(c.value(t), dim, t, full.data());
      }
      std::vector<std::byte> high(kv_high_bytes(dim)), low(kv_low_bytes(dim)), high_of(high.size()), low_of(low.size());
      table->make_planes(full.data(), dim, high.data(), low.data());
      table->make_planes_of_floats(c.floats[0].data(), dim, high_of.data(), low_of.data());
      EXPECT_EQ(high, high_of) << table->name << " " << dim;
      EXPECT_EQ(low, low_of) << table->name << " " << dim;
    }
  }
}

// Half of the pages at lower levels: what comes out is near the definition, and the same on every instruction set.
TEST(FloatAttention, PagesAtLowerLevelsMayLieBetween) {
  for (const int dim : kHeadDims) {
    for (const int rows : {1, 4, 40}) {
      Case c = random_case(static_cast<uint64_t>(dim + rows), dim, 64 * 6, rows);
      for (size_t page = 1; page < 6; page += 2) {
        c.high.emplace_back(kv_high_bytes(dim));
        c.low.emplace_back(kv_low_bytes(dim));
      }
      for (size_t page = 1; page < 6; page += 2) {
        const size_t i = page / 2;
        testing::machine_kernels()[0]->make_planes_of_floats(c.floats[page].data(), dim, c.high[i].data(),
                                                             c.low[i].data());
        c.pages[page] = {nullptr, c.high[i].data(), page == 3 ? nullptr : c.low[i].data()};
      }
      const Attended first = attend_all(c);
      expect_near_definition(c, first, 0.5);  // 4 bits.
      for (const KernelTable* table : testing::machine_kernels()) {
        EXPECT_TRUE(attend(*table, c, 0, c.rows) == first) << table->name << " head_dim " << dim << " rows " << rows;
      }
    }
  }
}

}  // namespace
}  // namespace infer::kernels
