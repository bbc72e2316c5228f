#include "kv/page_digest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/panels.h"
#include "testing/attention_case.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"

namespace infer::kv {
namespace {

using kernels::AttentionPage;

const kernels::KernelTable& kernel_table() { return *testing::machine_kernels()[0]; }

// One KV head of a page with these keys, at all levels.
struct DigestPage {
  int head_dim;
  std::vector<std::byte> full, high, low;
  AttentionPage at16() const { return {full.data(), nullptr, nullptr}; }
  AttentionPage at8() const { return {nullptr, high.data(), low.data()}; }
  AttentionPage at4() const { return {nullptr, high.data(), nullptr}; }
};

DigestPage page_of(const std::vector<std::vector<float>>& keys) {
  const int head_dim = static_cast<int>(keys[0].size());
  DigestPage page{head_dim, std::vector<std::byte>(kernels::kv_page_bytes(head_dim)),
                  std::vector<std::byte>(kernels::kv_high_bytes(head_dim)),
                  std::vector<std::byte>(kernels::kv_low_bytes(head_dim))};
  for (int t = 0; t < kernels::kPageTokens; ++t) {
    kernel_table().store_key(keys[static_cast<size_t>(t)].data(), head_dim, t, page.full.data());
    kernel_table().store_value(keys[static_cast<size_t>(t)].data(), head_dim, t, page.full.data());
  }
  kernel_table().make_planes(page.full.data(), head_dim, page.high.data(), page.low.data());
  return page;
}

// The keys [64][head_dim] by the documented layout, through the readers of attention's tests.
std::vector<double> keys_in(const AttentionPage& page, int head_dim) {
  testing::Cache cache{head_dim, kernels::kPageTokens, {}, {}, {}};
  cache.pages = {page};
  std::vector<double> keys;
  for (int t = 0; t < kernels::kPageTokens; ++t) {
    for (int d = 0; d < head_dim; ++d) keys.push_back(cache.key(t, d));
  }
  return keys;
}

double greatest_product(const std::vector<double>& keys, const std::vector<float>& query) {
  double most = -std::numeric_limits<double>::infinity();
  for (size_t key = 0; key < keys.size(); key += query.size()) {
    double product = 0.0;
    for (size_t d = 0; d < query.size(); ++d) product += double{query[d]} * keys[key + d];
    most = std::max(most, product);
  }
  return most;
}

std::vector<std::byte> digest_of(const AttentionPage& page, int head_dim) {
  std::vector<std::byte> digest(page_digest_bytes(head_dim));
  make_page_digest(page, head_dim, digest.data());
  return digest;
}

enum class Kind { kRandom, kOutliers, kConstant, kZero, kSame, kTiny, kHuge, kFarAway, kMixed };
constexpr Kind kKinds[] = {Kind::kRandom, Kind::kOutliers, Kind::kConstant, Kind::kZero, Kind::kSame,
                           Kind::kTiny,   Kind::kHuge,     Kind::kFarAway,  Kind::kMixed};

std::vector<std::vector<float>> keys_of(Rng& rng, int head_dim, Kind kind) {
  const auto n = static_cast<size_t>(head_dim);
  std::vector<std::vector<float>> keys;
  const auto common = testing::random_floats(rng, n, 1.0f);
  for (int t = 0; t < kernels::kPageTokens; ++t) {
    auto key = testing::random_floats(rng, n, 1.0f);
    for (size_t d = 0; d < n; ++d) {
      switch (kind) {
        case Kind::kRandom: break;
        case Kind::kOutliers: key[d] *= d % 13 == 5 ? 40.0f : 1.0f; break;
        case Kind::kConstant: key[d] = 3.25f; break;
        case Kind::kZero: key[d] = 0.0f; break;
        case Kind::kSame: key[d] = common[d]; break;
        case Kind::kTiny: key[d] *= 1e-29f; break;
        case Kind::kHuge: key[d] *= 1e14f; break;
        case Kind::kFarAway: key[d] = 1000.0f * common[d] + 1e-3f * key[d]; break;
        case Kind::kMixed: key[d] *= t == 17 ? 1000.0f : static_cast<float>(rng.uniform()); break;
      }
    }
    keys.push_back(std::move(key));
  }
  return keys;
}

// Queries along keys and dimensions are those that come closest to the bounds.
std::vector<float> query_for(Rng& rng, const std::vector<std::vector<float>>& keys) {
  const size_t n = keys[0].size();
  auto query = testing::random_floats(rng, n, std::pow(10.0f, static_cast<float>(rng.below(7)) - 3.0f));
  switch (rng.below(4)) {
    case 0: break;
    case 1: query = keys[rng.below(kernels::kPageTokens)]; break;
    case 2:
      std::fill(query.begin() + 1, query.end(), 0.0f);
      std::rotate(query.begin(), query.begin() + rng.below(static_cast<uint32_t>(n)), query.end());
      break;
    default:
      for (size_t d = 0; d < n; ++d) query[d] = keys[3][d] - keys[8][d];
      break;
  }
  return query;
}

TEST(PageDigest, TheBoundIsNeverBelowTheGreatestProduct) {
  for (int head_dim = 16; head_dim <= kernels::kHeadDimMax; head_dim += 16) {
    testing::for_each_case(
        2,
        [&](Rng& rng) {
          for (const Kind kind : kKinds) {
            SCOPED_TRACE(static_cast<int>(kind));
            const auto keys = keys_of(rng, head_dim, kind);
            const DigestPage page = page_of(keys);
            const auto full = digest_of(page.at16(), head_dim), both = digest_of(page.at8(), head_dim),
                       high = digest_of(page.at4(), head_dim);
            const auto keys16 = keys_in(page.at16(), head_dim), keys8 = keys_in(page.at8(), head_dim),
                       keys4 = keys_in(page.at4(), head_dim);
            for (int i = 0; i < 4; ++i) {
              const auto query = query_for(rng, keys);
              const DigestQuery bounds(query);
              ASSERT_GE(bounds.bound(full.data()), greatest_product(keys16, query));
              ASSERT_GE(bounds.bound(both.data()), greatest_product(keys8, query));
              ASSERT_GE(bounds.bound(both.data()), greatest_product(keys4, query)) << "of two planes, for one";
              ASSERT_GE(bounds.bound(high.data()), greatest_product(keys4, query));
            }
          }
        },
        testing::property_seed(static_cast<uint64_t>(head_dim)));
  }
}

TEST(PageDigest, TheRoundingOfSumsIsCovered) {
  // All keys are the same, and codes of 8 bits stand for them exactly, so that the bound has no slack but for rounding.
  testing::for_each_case(200, [](Rng& rng) {
    const int head_dim = 16 * (1 + static_cast<int>(rng.below(16)));
    const auto n = static_cast<size_t>(head_dim);
    std::vector<std::byte> high(kernels::kv_high_bytes(head_dim));
    std::vector<double> keys(n);
    for (size_t d = 0; d < n; ++d) {
      const auto code = static_cast<int16_t>(d == 0 ? 127 : static_cast<int>(rng.below(255)) - 127);
      std::memcpy(high.data() + 64 * n + 256 + 2 * d, &code, sizeof code);
      keys[d] = code / 32.0;
    }
    const float scale = 1.0f / 32.0f;
    std::memcpy(high.data() + 64 * n + 256 + 2 * n, &scale, sizeof scale);
    const auto digest = digest_of({nullptr, high.data(), nullptr}, head_dim);
    for (int i = 0; i < 10; ++i) {
      const auto query = testing::random_floats(rng, n, 1.0f);
      const double product = greatest_product(keys, query);
      const double bound = DigestQuery(query).bound(digest.data());
      ASSERT_GE(bound, product);
      ASSERT_LE(bound, product + 1e-3 * std::sqrt(static_cast<double>(n)));
    }
  });
}

TEST(PageDigest, TakesAtMostATwelfthOfAPageAtFourBits) {
  EXPECT_EQ(page_digest_bytes(64), 204u);
  EXPECT_EQ(page_digest_bytes(128), 396u);
  for (int head_dim = 16; head_dim <= 256; head_dim += 16) {
    const double share =
        static_cast<double>(page_digest_bytes(head_dim)) / static_cast<double>(kernels::kv_high_bytes(head_dim));
    EXPECT_LE(share, head_dim >= 64 ? 0.05 : 0.08) << head_dim;
  }
}

TEST(PageDigest, OfKeysThatAreAlikeItIsSharp) {
  Rng rng(testing::property_seed(1));
  const auto keys = keys_of(rng, 64, Kind::kSame);
  const DigestPage page = page_of(keys);
  const auto query = testing::random_floats(rng, 64, 1.0f);
  const double most = greatest_product(keys_in(page.at16(), 64), query);
  double lengths = 0.0, key_lengths = 0.0;
  for (size_t d = 0; d < 64; ++d) {
    lengths += double{query[d]} * query[d];
    key_lengths += double{keys[0][d]} * keys[0][d];
  }
  // What rounding the centroid to 8 bits costs, not more.
  EXPECT_LE(DigestQuery(query).bound(digest_of(page.at16(), 64).data()) - most,
            0.03 * std::sqrt(lengths) * std::sqrt(key_lengths));
}

TEST(PageDigest, ItIsNoLooserThanTheBoxAndTheBall) {
  // Along one dimension the box is exact but for its rounding; for random directions the ball is the best.
  Rng rng(testing::property_seed(2));
  const auto keys = keys_of(rng, 128, Kind::kRandom);
  const DigestPage page = page_of(keys);
  const auto digest = digest_of(page.at16(), 128);
  std::vector<float> axis(128);
  axis[77] = -2.0f;
  const auto decoded = keys_in(page.at16(), 128);
  const double most = greatest_product(decoded, axis);
  EXPECT_LE(DigestQuery(axis).bound(digest.data()), most + 2.0 * 0.05) << "codes of 8 bits up to about 3";
  const auto query = testing::random_floats(rng, 128, 1.0f);
  double query_square = 0.0, radius_square = 0.0, centroid_product = 0.0;
  std::vector<double> mean(128);
  for (size_t d = 0; d < 128; ++d) {
    for (size_t t = 0; t < kernels::kPageTokens; ++t) mean[d] += decoded[t * 128 + d] / kernels::kPageTokens;
    query_square += double{query[d]} * query[d];
    centroid_product += double{query[d]} * mean[d];
  }
  for (size_t t = 0; t < kernels::kPageTokens; ++t) {
    double square = 0.0;
    for (size_t d = 0; d < 128; ++d) square += std::pow(decoded[t * 128 + d] - mean[d], 2);
    radius_square = std::max(radius_square, square);
  }
  EXPECT_LE(DigestQuery(query).bound(digest.data()), centroid_product + 1.01 * std::sqrt(query_square * radius_square));
}

TEST(PageDigest, WhatIsNotANumberHasNoBound) {
  Rng rng(testing::property_seed(3));
  auto keys = keys_of(rng, 32, Kind::kRandom);
  const auto query = testing::random_floats(rng, 32, 1.0f);
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const auto good = digest_of(page_of(keys).at16(), 32);
  for (const float odd : {nan, infinity, -infinity}) {
    auto odd_query = query;
    odd_query[7] = odd;
    EXPECT_EQ(DigestQuery(odd_query).bound(good.data()), infinity);
  }
  keys[40][3] = nan;
  const DigestPage page = page_of(keys);
  for (const AttentionPage& level : {page.at16(), page.at8(), page.at4()}) {
    EXPECT_EQ(DigestQuery(query).bound(digest_of(level, 32).data()), infinity);
    EXPECT_EQ(DigestQuery(std::vector<float>(32)).bound(digest_of(level, 32).data()), infinity);
  }
}

TEST(OmittedMass, IsNeverBelowTheShareThatWasLeftOut) {
  testing::for_each_case(300, [](Rng& rng) {
    const int pages = 1 + static_cast<int>(rng.below(20));
    const double spread = std::pow(10.0, rng.uniform() * 3.0 - 1.0);
    double read = 0.0, omitted = 0.0, shift = spread * rng.uniform();
    OmittedMass mass;
    for (int p = 0; p < pages; ++p) {
      const bool leave_out = rng.below(2) == 0;
      float most = -std::numeric_limits<float>::infinity();
      const int tokens = 1 + static_cast<int>(rng.below(64));
      for (int t = 0; t < tokens; ++t) {
        const auto score = static_cast<float>(spread * testing::normal(rng) - (leave_out ? shift : 0.0));
        most = std::max(most, score);
        (leave_out ? omitted : read) += std::exp(double{score});
      }
      if (leave_out) mass.add(tokens, most);
    }
    const double share = mass.share(std::log(read));
    if (omitted + read > 0.0) {
      ASSERT_GE(share * (1.0 + 1e-9), omitted / (omitted + read));
    }
    ASSERT_LE(share, 1.0);
  });
}

TEST(OmittedMass, OfOnePageIsTokensTimesTheExponential) {
  OmittedMass mass;
  EXPECT_EQ(mass.share(0.0), 0.0) << "nothing is left out";
  mass.add(64, -10.0f);
  const double ratio = 64.0 * std::exp(-13.0);
  EXPECT_NEAR(mass.share(3.0), ratio / (1.0 + ratio), 1e-12);
  mass.add(64, 990.0f);  // Exponentials that no double holds.
  EXPECT_NEAR(mass.share(1000.0), 64.0 * std::exp(-10.0) / (1.0 + 64.0 * std::exp(-10.0)), 1e-12);
  EXPECT_EQ(mass.share(-std::numeric_limits<double>::infinity()), 1.0) << "nothing is read";
  mass.add(64, std::numeric_limits<float>::infinity());
  mass.add(64, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(mass.share(1e6), 1.0);
}

}  // namespace
}  // namespace infer::kv
