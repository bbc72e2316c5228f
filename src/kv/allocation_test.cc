// Counts allocations of this program: spilling makes none once the file has grown. Sanitizers bring their own operator
// new, so that this is not for them.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define INFER_SANITIZER_OWNS_NEW
#endif
#endif

#if !defined(INFER_SANITIZER_OWNS_NEW)
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <new>

#include "kv/spill_store.h"
#include "os/system_clock.h"
#include "testing/faulty_block_file.h"

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

namespace infer::kv {
namespace {

constexpr size_t kPlane = 4096;

// Fills the store to its limit, is refused, reads everything and gives it back; says whether all went well.
bool spill_and_recall(SpillStore& store, const CallContext& call) {
  static constexpr size_t kSlots = 32;
  const std::array<std::byte, kPlane> plane{std::byte{1}};
  std::array<SpillSlot, kSlots> slots{};
  size_t written = 0, read = 0;
  const Instant now;
  while (written < kSlots) {
    const auto ticket = store.start_write(plane, 0, now);
    if (!ticket || !store.wait(*ticket, call)) return false;
    for (const SpillCompletion& done : store.poll(now)) slots[written++] = done.slot;
  }
  if (store.start_write(plane, 0, now) || store.health().state != SpillState::kFull) return false;
  for (const SpillSlot slot : slots) {
    const auto ticket = store.start_read(slot, 0);
    if (!ticket || !store.wait(*ticket, call)) return false;
    for (const SpillCompletion& done : store.poll(now)) read += done.bytes.size();
  }
  for (const SpillSlot slot : slots) store.give_back(slot);
  while (store.under_way() > 0) (void)store.poll(now);
  return read == kSlots * kPlane;
}

TEST(Allocation, SpillingMakesNoneOnceTheFileHasGrown) {
  testing::FaultyDisk disk;
  SpillOptions options;
  options.slot_bytes = {kPlane};
  options.extent_bytes = 8 * kPlane;
  options.bytes_max = 32 * kPlane;
  const auto store = SpillStore::make(std::make_unique<testing::FaultyBlockFile>(disk), options).value();
  const os::SystemClock clock;
  const CallContext call{clock, Deadline::never(), {}};
  EXPECT_TRUE(spill_and_recall(*store, call));
  const long before = allocations.load();
  bool all_well = true;
  for (int round = 0; round < 10; ++round) all_well = spill_and_recall(*store, call) && all_well;
  EXPECT_EQ(allocations.load() - before, 0);
  EXPECT_TRUE(all_well);
}

}  // namespace
}  // namespace infer::kv
#endif
