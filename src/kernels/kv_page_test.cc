// What is stored in KV pages and rows of queries, by the documented layout, on every instruction set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "kernels/panels.h"
#include "kernels/reference.h"
#include "testing/attention_case.h"
#include "testing/machine_kernels.h"

namespace infer::kernels {
namespace {

using testing::Cache;
using testing::Level;
using testing::lower_all;
using testing::queries_of;
using testing::random_floats;
using testing::RowCodes;

constexpr int kHeadDims[] = {16, 64, 80, 96, 128, 256};

TEST(KvPage, KeysAndValuesAreRoundedToTheNearestCodeOfTheirScale) {
  for (const int dim : kHeadDims) {
    Rng rng(static_cast<uint64_t>(dim));
    const auto count = static_cast<size_t>(dim) * 70;
    const std::vector<float> keys = random_floats(rng, count, 3.0f), values = random_floats(rng, count, 0.01f);
    for (const KernelTable* table : testing::machine_kernels()) {
      const Cache cache = testing::cache_of(*table, dim, keys, values);
      for (int t = 0; t < cache.tokens; ++t) {
        double length = 0, greatest = 0;
        for (int d = 0; d < dim; ++d) {
          const auto at = static_cast<size_t>(t * dim + d);
          length += std::pow(static_cast<double>(keys[at]), 2);
          greatest = std::max(greatest, std::abs(static_cast<double>(values[at])));
        }
        ASSERT_NEAR(cache.key_scale(t), std::sqrt(length) / 32700, cache.key_scale(t) * 1e-5) << table->name;
        ASSERT_NEAR(cache.value_scale(t), greatest / 16383, cache.value_scale(t) * 1e-6) << table->name;
        for (int d = 0; d < dim; ++d) {
          const auto at = static_cast<size_t>(t * dim + d);
          ASSERT_NEAR(cache.key(t, d), static_cast<double>(keys[at]), 0.502 * cache.key_scale(t)) << table->name;
          ASSERT_NEAR(cache.value(t, d), static_cast<double>(values[at]), 0.502 * cache.value_scale(t)) << table->name;
        }
      }
    }
  }
}

TEST(KvPage, StoringATokenChangesNoOther) {
  constexpr int kDim = 48;
  Rng rng(3);
  const std::vector<float> x = random_floats(rng, kDim, 1.0f);
  for (const KernelTable* table : testing::machine_kernels()) {
    for (const int slot : {0, 1, 37, 63}) {
      std::vector<std::byte> before(kv_page_bytes(kDim));
      for (std::byte& b : before) b = static_cast<std::byte>(rng.below(256));
      std::vector<std::byte> after = before;
      table->store_key(x.data(), kDim, slot, after.data());
      table->store_value(x.data(), kDim, slot, after.data());
      const Cache old{kDim, kPageTokens, {}, {}, {}, {{before.data(), nullptr, nullptr}}};
      const Cache now{kDim, kPageTokens, {}, {}, {}, {{after.data(), nullptr, nullptr}}};
      for (int t = 0; t < kPageTokens; ++t) {
        if (t == slot) continue;
        for (int d = 0; d < kDim; ++d) {
          ASSERT_EQ(now.key_code(t, d), old.key_code(t, d)) << table->name << " " << t;
          ASSERT_EQ(now.value_code(t, d), old.value_code(t, d)) << table->name << " " << t;
        }
        for (const size_t scales : {0u, 1u}) {
          const size_t place = 4 * size_t{kPageTokens} * (kDim + scales) + 4 * static_cast<size_t>(t);
          ASSERT_EQ(std::memcmp(&before[place], &after[place], 4), 0) << table->name << " " << t;
        }
      }
    }
  }
}

TEST(KvPage, QueriesAreRoundedToTheNearestCodesOfBothWidths) {
  for (const int dim : kHeadDims) {
    Rng rng(static_cast<uint64_t>(dim) + 7);
    const std::vector<float> x = random_floats(rng, static_cast<size_t>(dim), 2.0f);
    const std::vector<std::byte> first = queries_of(*testing::machine_kernels()[0], dim, x).codes;
    for (const KernelTable* table : testing::machine_kernels()) {
      std::vector<std::byte> row(query_row_bytes(dim));
      table->store_query(x.data(), dim, 1.0f, row.data());
      EXPECT_EQ(std::memcmp(row.data(), first.data(), static_cast<size_t>(3 * dim + 12)), 0) << table->name;
      const RowCodes codes{row.data(), static_cast<size_t>(dim)};
      double sum = 0;
      for (int d = 0; d < dim; ++d) {
        const auto exact = static_cast<double>(x[static_cast<size_t>(d)]);
        ASSERT_NEAR(codes.wide(d) * codes.wide_scale(), exact, 0.502 * codes.wide_scale());
        ASSERT_NEAR(codes.narrow(d) * codes.narrow_scale(), exact, 0.502 * codes.narrow_scale());
        sum += codes.narrow(d);
      }
      EXPECT_EQ(static_cast<double>(testing::at<float>(row.data(), static_cast<size_t>(3 * dim + 8))), sum);
    }
  }
}

// Planes stand for what the page held: within half a step of 8 bits, and of 4.
TEST(KvPage, PlanesAreRoundedToTheNearestCode) {
  for (const int dim : kHeadDims) {
    Rng rng(static_cast<uint64_t>(dim) + 1);
    std::vector<float> keys = random_floats(rng, static_cast<size_t>(dim * kPageTokens), 1.0f);
    for (size_t i = 0; i < keys.size(); ++i) keys[i] += static_cast<float>(i % static_cast<size_t>(dim) % 7);
    const std::vector<float> values = random_floats(rng, keys.size(), 0.1f);
    const Cache page = testing::cache_of(*testing::machine_kernels()[0], dim, keys, values);
    std::vector<std::byte> first_planes;
    for (const KernelTable* table : testing::machine_kernels()) {
      for (const Level level : {Level::k8, Level::k4}) {
        Cache cache = page;
        lower_all(cache, *table, level);
        const double step = level == Level::k8 ? 0.5 : 8.0;
        double key_step = 0, spread = 0;
        for (int t = 0; t < kPageTokens; ++t) {
          for (int d = 0; d < dim; ++d) {
            ASSERT_NEAR(cache.key(t, d), page.key(t, d), 1.001 * step * cache.key_scale(t)) << table->name << t;
            ASSERT_NEAR(cache.value(t, d), page.value(t, d), 1.001 * step * cache.value_scale(t)) << table->name << t;
          }
          key_step = std::max(key_step, cache.key_scale(t));
          for (int d = 0; d < dim; ++d) spread = std::max(spread, std::abs(page.key(t, d) - cache.mean_key(t, d)));
        }
        EXPECT_NEAR(key_step, spread / 127.5, 0.01 * spread / 127.5) << "No code is wasted.";
        EXPECT_LT(spread, 5.0) << "What keys have in common takes no codes.";
      }
      std::vector<std::byte> planes(kv_high_bytes(dim) + kv_low_bytes(dim));
      table->make_planes(page.full[0].data(), dim, planes.data(), planes.data() + kv_high_bytes(dim));
      if (first_planes.empty()) first_planes = planes;
      EXPECT_TRUE(planes == first_planes) << table->name << " differs";
    }
  }
}

TEST(KvPage, RotationKeepsProductsAndIsItsOwnInverse) {
  for (int dim = 16; dim <= kHeadDimMax; dim += 16) {
    Rng rng(static_cast<uint64_t>(dim));
    const std::vector<float> a = random_floats(rng, static_cast<size_t>(dim), 1.0f);
    const std::vector<float> b = random_floats(rng, static_cast<size_t>(dim), 1.0f);
    std::vector<float> first;
    for (const KernelTable* table : testing::machine_kernels()) {
      std::vector<float> x = a, y = b;
      table->rotate_hadamard(x.data(), dim);
      table->rotate_hadamard(y.data(), dim);
      double product = 0, rotated = 0;
      for (size_t i = 0; i < a.size(); ++i) {
        product += static_cast<double>(a[i]) * static_cast<double>(b[i]);
        rotated += static_cast<double>(x[i]) * static_cast<double>(y[i]);
      }
      EXPECT_NEAR(rotated, product, 1e-4) << table->name << " " << dim;
      if (first.empty()) first = x;
      EXPECT_TRUE(x == first) << table->name << " " << dim;
      table->rotate_hadamard(x.data(), dim);
      for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(x[i], a[i], 1e-5f) << table->name << " " << dim;
    }
  }
}

TEST(KvPage, RotationSpreadsOneDimensionOverItsWholePart) {
  for (const KernelTable* table : testing::machine_kernels()) {
    std::vector<float> x(96, 0.0f);  // 64 and 32.
    x[5] = 1.0f;
    table->rotate_hadamard(x.data(), 96);
    for (size_t i = 0; i < 64; ++i) EXPECT_EQ(std::abs(x[i]), 0.125f) << table->name << " " << i;
    for (size_t i = 64; i < 96; ++i) EXPECT_EQ(x[i], 0.0f) << table->name << " " << i;
    // Row 5 of the matrix: the sign is the parity of the common bits of 5 and i.
    EXPECT_GT(x[0], 0.0f);
    EXPECT_LT(x[1], 0.0f);
    EXPECT_GT(x[5], 0.0f);
    EXPECT_LT(x[16 + 4], 0.0f);
  }
}

}  // namespace
}  // namespace infer::kernels
