#include "base/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "base/hash.h"

namespace infer {
namespace {

// From an implementation in another language of the published algorithms (splitmix64 seeding xoshiro256**).
TEST(Rng, FollowsThePublishedAlgorithm) {
  Rng zero(0);
  for (const uint64_t expected :
       {0x99ec5f36cb75f2b4ull, 0xbf6e1f784956452aull, 0x1a5f849d4933e6e0ull, 0x6aa594f1262d2d2cull}) {
    EXPECT_EQ(zero.next(), expected);
  }
  Rng other(42);
  for (const uint64_t expected :
       {0x15780b2e0c2ec716ull, 0x6104d9866d113a7eull, 0xae17533239e499a1ull, 0xecb8ad4703b360a1ull}) {
    EXPECT_EQ(other.next(), expected);
  }
}

TEST(Rng, UniformStaysInItsRangeAndFillsIt) {
  Rng rng(7);
  constexpr int kDraws = 100'000;
  double sum = 0;
  double least = 1;
  double most = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.uniform();
    ASSERT_GE(x, 0.0);
    ASSERT_LT(x, 1.0);
    sum += x;
    least = std::min(least, x);
    most = std::max(most, x);
  }
  // The mean of n uniform draws has the standard deviation 1 / sqrt(12 n): four of them.
  EXPECT_NEAR(sum / kDraws, 0.5, 4 / std::sqrt(12.0 * kDraws));
  EXPECT_LT(least, 0.001);
  EXPECT_GT(most, 0.999);
}

TEST(Rng, BelowReachesEachValueAndNoOther) {
  Rng rng(9);
  for (const uint32_t bound : {1u, 2u, 7u, 100u}) {
    std::vector<int> counts(bound, 0);
    for (uint32_t i = 0; i < 200 * bound; ++i) {
      const uint32_t value = rng.below(bound);
      ASSERT_LT(value, bound);
      ++counts[value];
    }
    for (const int count : counts) EXPECT_GT(count, 100);
  }
  for (int i = 0; i < 100; ++i) ASSERT_LT(rng.below(0xFFFFFFFFu), 0xFFFFFFFFu);
}

TEST(Hash, GivesThePublishedValuesOfFnv1a) {
  EXPECT_EQ(hash_bytes("", 0), 0xcbf29ce484222325ull);
  EXPECT_EQ(hash_bytes("a", 1), 0xaf63dc4c8601ec8cull);
  EXPECT_EQ(hash_bytes("foobar", 6), 0x85944171f73967e8ull);
}

TEST(Hash, ContinuesFromASeed) {
  const char text[] = "one hash over two parts";
  const size_t size = sizeof(text) - 1;
  for (size_t cut = 0; cut <= size; ++cut) {
    EXPECT_EQ(hash_bytes(text + cut, size - cut, hash_bytes(text, cut)), hash_bytes(text, size));
  }
}

TEST(HashBlock, EveryByteAndTheLengthCount) {
  std::vector<unsigned char> data(200);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<unsigned char>(i * 31);
  std::set<uint64_t> seen;
  for (size_t size = 0; size <= data.size(); ++size) seen.insert(hash_block(data.data(), size));
  EXPECT_EQ(seen.size(), data.size() + 1);
  const uint64_t whole = hash_block(data.data(), data.size());
  for (size_t i = 0; i < data.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      data[i] ^= static_cast<unsigned char>(1 << bit);
      EXPECT_NE(hash_block(data.data(), data.size()), whole) << i << " " << bit;
      data[i] ^= static_cast<unsigned char>(1 << bit);
    }
  }
  EXPECT_EQ(hash_block(data.data(), data.size()), whole);
  EXPECT_NE(hash_block(data.data(), data.size(), 5), whole);
}

}  // namespace
}  // namespace infer
