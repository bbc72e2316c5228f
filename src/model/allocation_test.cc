// Counts allocations of this program: a step makes none. Sanitizers bring their own operator new, so that this is not
// for them.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define INFER_SANITIZER_OWNS_NEW
#endif
#endif

#if !defined(INFER_SANITIZER_OWNS_NEW)
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"

namespace {
std::atomic<long> allocations{0};
}

void* operator new(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace infer::model {
namespace {

void expect_no_allocation(const testing::RandomModel& random) {
  const auto loaded = testing::load_random(random, *testing::machine_kernels().front(), 2,
                                           {.context = 1200, .sequences = 2, .logits_per_step = 2});
  std::vector<TokenId> tokens(512, 3);
  kv::SequenceCache first = loaded->model->make_sequence(), second = loaded->model->make_sequence();
  const CallContext call = loaded->call();
  const long before = allocations.load();
  bool all_well = true;
  for (const int count : {512, 7, 1, 500, 1}) {  // Both ways of attention, over one and several chunks.
    const std::span<const TokenId> part = std::span(tokens).first(static_cast<size_t>(count));
    const SequenceSlice slice{&first, part, count - 1, count};
    all_well = loaded->model->run({{&slice, 1}}, call).has_value() && all_well;
  }
  const SequenceSlice both[] = {{&first, {tokens.data(), 1}, 0, 1}, {&second, {tokens.data(), 5}, 4, 5}};
  all_well = loaded->model->run({both}, call).has_value() && all_well;
  EXPECT_EQ(allocations.load() - before, 0);
  EXPECT_TRUE(all_well);
}

TEST(Allocation, AStepMakesNone) { expect_no_allocation({.type = kernels::WeightType::kQ8_0}); }
TEST(Allocation, AStepOfExpertsMakesNone) {
  expect_no_allocation({.experts = 6, .experts_used = 3, .type = kernels::WeightType::kQ8_0});
}

}  // namespace
}  // namespace infer::model

#endif
