#include "os/page_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

namespace infer::os {
namespace {

bool all_are(std::span<const std::byte> bytes, int value) {
  return std::all_of(bytes.begin(), bytes.end(), [=](std::byte b) { return b == static_cast<std::byte>(value); });
}

std::span<std::byte> whole(PageMemory& memory) { return {memory.data(), memory.size()}; }

TEST(PageMemory, IsZeroedAlignedAndOfTheAskedSize) {
  for (const size_t size : {size_t{1}, size_t{4096}, size_t{5000}, size_t{3} << 20, (size_t{5} << 20) + 17}) {
    Result<PageMemory> memory = PageMemory::allocate(size);
    ASSERT_TRUE(memory) << memory.error().message;
    EXPECT_EQ(memory->size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory->data()) % 4096, 0u);
    EXPECT_TRUE(all_are(whole(*memory), 0));
    std::memset(memory->data(), 0xAB, size);
    EXPECT_TRUE(all_are(whole(*memory), 0xAB));
  }
}

#if defined(__linux__)
TEST(PageMemory, LargeMemoryStartsOnAHugePage) {
  for (int i = 0; i < 8; ++i) {
    Result<PageMemory> memory = PageMemory::allocate((size_t{6} << 20) + static_cast<size_t>(i) * 4096);
    ASSERT_TRUE(memory);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory->data()) % (size_t{2} << 20), 0u);
  }
}
#endif

TEST(PageMemory, NothingIsAnEmptyMemory) {
  Result<PageMemory> memory = PageMemory::allocate(0);
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->data(), nullptr);
  EXPECT_EQ(memory->size(), 0u);
  memory->release({});
}

TEST(PageMemory, MoreThanTheMachineCanGiveIsExhaustedAndSaysHowMuch) {
  for (const size_t size :
       {std::numeric_limits<size_t>::max(), std::numeric_limits<size_t>::max() / 2, size_t{1} << 62}) {
    const Result<PageMemory> memory = PageMemory::allocate(size);
    ASSERT_FALSE(memory);
    EXPECT_EQ(memory.error().code, ErrorCode::kExhausted);
    EXPECT_NE(memory.error().message.find(std::to_string(size)), std::string::npos) << memory.error().message;
  }
}

TEST(PageMemory, ReleasedWholePagesReadAsZeroAndTheRestStays) {
  constexpr size_t kPage = 4096;
  Result<PageMemory> memory = PageMemory::allocate(10 * kPage + 100);
  ASSERT_TRUE(memory);
  std::memset(memory->data(), 0x5A, memory->size());
  memory->release(whole(*memory).subspan(kPage + 1, 3 * kPage));  // Pages 2 and 3 lie wholly inside.
  EXPECT_TRUE(all_are(whole(*memory).first(2 * kPage), 0x5A));
  EXPECT_TRUE(all_are(whole(*memory).subspan(2 * kPage, 2 * kPage), 0));
  EXPECT_TRUE(all_are(whole(*memory).subspan(4 * kPage), 0x5A));
  memory->release(whole(*memory).subspan(9 * kPage));  // To the end: the unfinished last page goes too.
  EXPECT_TRUE(all_are(whole(*memory).subspan(4 * kPage, 5 * kPage), 0x5A));
  EXPECT_TRUE(all_are(whole(*memory).subspan(9 * kPage), 0));
  std::memset(memory->data(), 0x11, memory->size());
  EXPECT_TRUE(all_are(whole(*memory), 0x11));
}

TEST(PageMemory, MovesKeepTheBytes) {
  Result<PageMemory> first = PageMemory::allocate(5000);
  Result<PageMemory> second = PageMemory::allocate(9000);
  ASSERT_TRUE(first && second);
  std::memset(first->data(), 1, 5000);
  std::memset(second->data(), 2, 9000);
  PageMemory moved = std::move(*first);
  EXPECT_EQ(moved.size(), 5000u);
  EXPECT_TRUE(all_are(whole(moved), 1));
  moved = std::move(*second);
  EXPECT_EQ(moved.size(), 9000u);
  EXPECT_TRUE(all_are(whole(moved), 2));
}

}  // namespace
}  // namespace infer::os
