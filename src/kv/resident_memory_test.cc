// What lowering gives back to the system, against what the statistics say, in a cache of a real model's shape.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "kv/page_pool.h"
#include "kv/sequence_cache.h"
#include "os/process_facts.h"
#include "os/system_clock.h"
#include "testing/attention_case.h"
#include "testing/machine_kernels.h"

namespace infer::kv {
namespace {

// The shape of Llama-3.2-1B: 268 MB of keys and values in F16 for 8192 tokens.
constexpr PageShape kShape{.kv_heads = 8, .head_dim = 64};
const std::vector<int> kLayers(16, 0);
constexpr int kTokens = 8192;

// Random keys and values, the same for all tokens: only what memory they take matters here.
void fill(SequenceCache& cache, const kernels::KernelTable& table) {
  Rng rng(1);
  const std::vector<float> x = testing::random_floats(rng, kShape.head_dim, 1.0f);
  ASSERT_TRUE(cache.reserve(kTokens));
  for (int layer = 0; layer < cache.layers(); ++layer) {
    for (int position = 0; position < kTokens; ++position) {
      for (int head = 0; head < kShape.kv_heads; ++head) {
        std::byte* const page = cache.writable_part(layer, position / kPageTokens, head);
        table.store_key(x.data(), kShape.head_dim, position % kPageTokens, page);
        table.store_value(x.data(), kShape.head_dim, position % kPageTokens, page);
      }
    }
  }
  cache.commit(kTokens);
}

TEST(ResidentMemory, FallsByWhatTheStatisticsSayWhenEightThousandTokensGoToFourBits) {
  if (!os::resident_bytes()) GTEST_SKIP() << "the system does not tell";
  const LevelModel model{
      .queries = {.kv_heads = 8, .group = 4, .head_dim = 64}, .floors = {}, .loss_to_divergence = std::nullopt};
  const kernels::KernelTable& table = *testing::machine_kernels()[0];
  const std::unique_ptr<PagePool> pool =
      PagePool::make(kShape, static_cast<int>(kLayers.size()) * (kTokens / kPageTokens)).value();
  SequenceCache cache(*pool, kLayers, kTokens, &model);
  fill(cache, table);
  const uint64_t resident = os::resident_bytes().value(), counted = cache.kv_bytes();
  cache.set_policy({.mode = KvMode::kQ4});
  const os::SystemClock clock;
  cache.apply_policy(table, clock.now());
  const auto fell = static_cast<double>(resident) - static_cast<double>(os::resident_bytes().value());
  const auto claimed = static_cast<double>(counted - cache.kv_bytes());
  EXPECT_GT(claimed, 0.7 * static_cast<double>(counted)) << "nearly all of it was lowered";
  EXPECT_NEAR(fell, claimed, 0.1 * claimed) << "bytes";
  RecordProperty("resident_fell_bytes", std::to_string(fell));
  RecordProperty("claimed_bytes", std::to_string(claimed));
}

}  // namespace
}  // namespace infer::kv
