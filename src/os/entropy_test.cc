#include "os/entropy.h"

#include <gtest/gtest.h>

#include <set>

namespace infer::os {
namespace {

TEST(Entropy, NoWordComesTwice) {
  std::set<uint64_t> seen;
  for (int i = 0; i < 100; ++i) {
    const auto words = random_words();
    ASSERT_TRUE(words.has_value());
    for (const uint64_t word : *words) EXPECT_TRUE(seen.insert(word).second);
  }
}

}  // namespace
}  // namespace infer::os
