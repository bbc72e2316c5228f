// Memory as the reader uses it: how much hostile files can make it take, and what happens when there is none.
// Replaces operator new of the test program, counting only while a test asks for it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>
#include <new>

#include "gguf/file.h"
#include "testing/gguf_bytes.h"

namespace {

thread_local bool counting = false;
thread_local size_t bytes_asked_for = 0;
thread_local size_t allocations_left = std::numeric_limits<size_t>::max();

void* counted_allocation(size_t size) {
  if (counting) {
    bytes_asked_for += size;
    if (allocations_left == 0) return nullptr;
    --allocations_left;
  }
  return std::malloc(size == 0 ? 1 : size);
}

}  // namespace

void* operator new(size_t size) {
  void* memory = counted_allocation(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new[](size_t size) { return operator new(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace infer::gguf {
namespace {

using ::infer::testing::GgufBytes;

struct Outcome {
  size_t bytes = 0;
  bool accepted = false;
  ErrorCode code = ErrorCode::kInternal;
};

Outcome parse_counted(std::span<const std::byte> bytes, size_t allocations) {
  Outcome outcome;
  bytes_asked_for = 0;
  allocations_left = allocations;
  counting = true;
  {
    const auto file = File::parse(bytes, "m");
    outcome.accepted = file.has_value();
    if (!file) outcome.code = file.error().code;
  }
  counting = false;
  outcome.bytes = bytes_asked_for;
  return outcome;
}

TEST(GgufAllocation, HostileCountsTakeNoMoreMemoryThanTheFileCouldNeed) {
  constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();
  const auto expect_small = [](const GgufBytes& file) {
    const Outcome outcome = parse_counted(file.bytes(), kHuge);
    EXPECT_FALSE(outcome.accepted);
    EXPECT_LT(outcome.bytes, 16 * file.bytes().size() + 4096);
  };
  for (const uint64_t count : {kHuge, uint64_t{1} << 40, uint64_t{100'000}, uint64_t{70}, uint64_t{28}}) {
    expect_small(GgufBytes().preamble(3, 0, count).zeros(1000));
    expect_small(GgufBytes().preamble(3, count, 0).zeros(1000));
    expect_small(GgufBytes().preamble(3, 0, 2).array_key("k", 8, count).zeros(1000));
    expect_small(GgufBytes().preamble(3, 0, 2).array_key("k", 10, count).zeros(1000));
    expect_small(GgufBytes().preamble(3, 0, 1).key("k", ValueType::kString).put(count).zeros(20));
  }
}

TEST(GgufAllocation, OpeningALargeVocabularyTakesNoMemoryPerString) {
  GgufBytes file;
  file.preamble(3, 0, 1).array_key("tokenizer.ggml.tokens", 8, 50'000);
  for (int i = 0; i < 50'000; ++i) file.text("token");
  const Outcome outcome = parse_counted(file.bytes(), std::numeric_limits<size_t>::max());
  EXPECT_TRUE(outcome.accepted);
  EXPECT_LT(outcome.bytes, 4096u);
}

TEST(GgufAllocation, WhereverMemoryRunsOutTheAnswerIsAnError) {
  GgufBytes file;
  file.preamble(3, 3, 3).string_entry("a", "b").u32_entry("general.alignment", 32).array_key("c", 8, 1).text("d");
  file.tensor("x", {8}, 0, 0).tensor("y", {8}, 0, 32).tensor("z", {8}, 0, 64).pad(32).zeros(96);
  size_t allowed = 0;
  for (; allowed < 1000; ++allowed) {
    const Outcome outcome = parse_counted(file.bytes(), allowed);
    if (outcome.accepted) break;
    ASSERT_EQ(outcome.code, ErrorCode::kExhausted) << allowed;
  }
  EXPECT_GT(allowed, 5u);
  EXPECT_LT(allowed, 1000u);
}

TEST(GgufAllocation, AnErrorMessageWithoutMemoryIsStillAnError) {
  GgufBytes file;
  file.preamble(3, 1, 1).string_entry("a", "b").tensor("x", {8}, 999, 0).pad(32).zeros(32);
  for (size_t allowed = 0; allowed < 200; ++allowed) {
    const Outcome outcome = parse_counted(file.bytes(), allowed);
    ASSERT_FALSE(outcome.accepted);
    ASSERT_TRUE(outcome.code == ErrorCode::kExhausted || outcome.code == ErrorCode::kUnsupported) << allowed;
  }
}

}  // namespace
}  // namespace infer::gguf
