#include "kv/spill_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "testing/faulty_block_file.h"
#include "testing/property.h"
#include "testing/test_clock.h"
#include "testing/test_folder.h"

namespace infer::kv {
namespace {

using testing::FaultyBlockFile;
using testing::FaultyDisk;

constexpr size_t kLow = 4096, kHigh = 4608;  // As of one KV head of dimension 64.
constexpr size_t kExtent = 64 * 1024;        // 16 low planes or 8 high ones.

SpillOptions options_for(uint64_t extents) {
  SpillOptions options;
  options.slot_bytes = {kLow, kHigh};
  options.extent_bytes = kExtent;
  options.bytes_max = extents * kExtent;
  options.transfers_max = 16;
  options.bad_slots_max = 1'000'000;
  return options;
}

std::vector<std::byte> plane_of(uint64_t seed, size_t bytes = kLow) {
  Rng rng(seed);
  std::vector<std::byte> plane(bytes);
  for (std::byte& byte : plane) byte = static_cast<std::byte>(rng.next());
  return plane;
}

// A store on a disk that the test steers, with a clock that it moves. What poll() shows is kept as values.
struct Shown {
  SpillTicket ticket;
  uint64_t tag;
  TransferKind kind;
  SpillSlot slot;
  std::optional<Error> error;
  std::vector<std::byte> bytes;
};
class SpillStoreTest : public ::testing::Test {
 protected:
  void open(uint64_t extents) { open(options_for(extents)); }
  void open(const SpillOptions& options) {
    store_ = SpillStore::make(std::make_unique<FaultyBlockFile>(disk_), options).value();
  }
  std::vector<Shown> poll() {
    std::vector<Shown> shown;
    for (const SpillCompletion& done : store_->poll(clock_.now())) {
      shown.push_back({done.ticket,
                       done.tag,
                       done.kind,
                       done.slot,
                       *done.status ? std::nullopt : std::optional(done.status->error()),
                       {done.bytes.begin(), done.bytes.end()}});
    }
    return shown;
  }
  // The completion of this transfer, alone.
  Shown finish(SpillTicket ticket) {
    EXPECT_TRUE(store_->wait(ticket, call_).has_value());
    const std::vector<Shown> shown = poll();
    EXPECT_EQ(shown.size(), 1u);
    EXPECT_EQ(shown.at(0).ticket, ticket);
    return shown.at(0);
  }
  Shown write(const std::vector<std::byte>& plane) {
    return finish(store_->start_write(plane, 0, clock_.now()).value());
  }
  Shown read(SpillSlot slot) { return finish(store_->start_read(slot, 0).value()); }
  void settle() {  // Until nothing is under way.
    while (store_->under_way() > 0) (void)store_->poll(clock_.now());
    (void)store_->poll(clock_.now());
  }

  FaultyDisk disk_;
  testing::TestClock clock_;
  CallContext call_{clock_, Deadline::never(), {}};
  std::unique_ptr<SpillStore> store_;
};

TEST_F(SpillStoreTest, APlaneComesBackBitForBit) {
  open(4);
  const auto low = plane_of(1), high = plane_of(2, kHigh);
  const SpillTicket first = store_->start_write(low, 71, clock_.now()).value();
  ASSERT_TRUE(store_->wait(first, call_).has_value());
  const Shown written = poll().at(0);
  EXPECT_EQ(written.tag, 71u);
  EXPECT_EQ(written.kind, TransferKind::kWrite);
  EXPECT_FALSE(written.error.has_value());
  const SpillSlot other = write(high).slot;
  EXPECT_EQ(read(written.slot).bytes, low);
  EXPECT_EQ(read(other).bytes, high);
  EXPECT_EQ(read(written.slot).bytes, low) << "a slot can be read again";
  const SpillStatistics statistics = store_->statistics();
  EXPECT_EQ(statistics.slots, 2u);
  EXPECT_EQ(statistics.writes, 2u);
  EXPECT_EQ(statistics.bytes_written, kLow + kHigh);
  EXPECT_EQ(statistics.reads, 3u);
  EXPECT_EQ(statistics.bytes_read, 2 * kLow + kHigh);
  EXPECT_EQ(statistics.file_bytes, 2 * kExtent) << "an extent for each size";
  EXPECT_EQ(store_->health().state, SpillState::kHealthy);
  EXPECT_TRUE(store_->check_integrity());
}

TEST_F(SpillStoreTest, TheCallersBytesMayChangeAsSoonAsTheWriteIsStarted) {
  open(2);
  auto plane = plane_of(3);
  const auto original = plane;
  disk_.pause();
  const SpillTicket ticket = store_->start_write(plane, 0, clock_.now()).value();
  std::fill(plane.begin(), plane.end(), std::byte{0});
  disk_.resume();
  EXPECT_EQ(read(finish(ticket).slot).bytes, original);
}

TEST_F(SpillStoreTest, NothingWaitsForADiskThatStandsStill) {
  open(4);
  disk_.pause();
  int taken = 0;
  for (int i = 0; i < 40; ++i) taken += store_->start_write(plane_of(1), 0, clock_.now()) ? 1 : 0;
  EXPECT_EQ(taken, 16) << "as many as there are staging buffers";
  EXPECT_FALSE(store_->takes_writes(clock_.now()));
  EXPECT_TRUE(poll().empty());
  EXPECT_EQ(store_->statistics().refused, 24u);
  const testing::TestClock clock(Duration::from_ms(1));
  EXPECT_EQ(store_->wait(1 << 16, {clock, Deadline::at(clock.now() + Duration::from_ms(3)), {}}).error().code,
            ErrorCode::kDeadline);
  EXPECT_EQ(store_->statistics().waits, 1u);
  disk_.resume();
  settle();
  EXPECT_TRUE(store_->takes_writes(clock_.now()));
}

TEST_F(SpillStoreTest, NeighboursAreMovedInOneCall) {
  open(4);
  disk_.pause();
  for (int i = 0; i < 16; ++i)
    ASSERT_TRUE(store_->start_write(plane_of(100 + static_cast<uint64_t>(i)), 0, clock_.now()));
  disk_.wait_until_reached();  // With one of them, or with more.
  disk_.resume();
  std::vector<SpillSlot> slots;
  while (slots.size() < 16) {
    for (const Shown& shown : poll()) slots.push_back(shown.slot);
  }
  EXPECT_LE(store_->statistics().write_calls, 2u + 15u);
  EXPECT_LE(disk_.writes(), store_->statistics().write_calls);
  settle();
  // The disk thread is held up by the first read, so that all others are one batch.
  std::sort(slots.begin(), slots.end());
  disk_.pause();
  ASSERT_TRUE(store_->start_read(slots[0], 0));
  disk_.wait_until_reached();
  for (size_t i = slots.size() - 1; i > 0; --i) ASSERT_TRUE(store_->start_read(slots[i], i));
  disk_.resume();
  size_t shown_reads = 0;
  while (shown_reads < 16) {
    for (const Shown& shown : poll()) {
      EXPECT_EQ(shown.bytes, plane_of(100 + shown.tag));
      ++shown_reads;
    }
  }
  EXPECT_EQ(store_->statistics().read_calls, 2u);
  EXPECT_EQ(disk_.reads(), 2u);
}

TEST_F(SpillStoreTest, ADamagedSlotIsAnErrorAndNeverData) {
  open(2);
  const SpillSlot slot = write(plane_of(1)).slot, good = write(plane_of(2)).slot;
  disk_.damage(1000);
  const Shown shown = read(slot);
  ASSERT_TRUE(shown.error.has_value());
  EXPECT_EQ(shown.error->code, ErrorCode::kCorrupt);
  EXPECT_NE(shown.error->message.find("4096 bytes at 0 of the spill file"), std::string::npos) << shown.error->message;
  EXPECT_TRUE(shown.bytes.empty());
  EXPECT_EQ(store_->statistics().corrupt_slots, 1u);
  EXPECT_EQ(store_->statistics().bad_slots, 1u);
  EXPECT_EQ(store_->health().state, SpillState::kFailed);
  EXPECT_EQ(read(good).bytes, plane_of(2)) << "reads are always tried";
  store_->give_back(slot);
  clock_.advance(Duration::from_seconds(1));
  EXPECT_NE(write(plane_of(3)).slot, slot) << "what failed is not used again";
  EXPECT_EQ(store_->health().state, SpillState::kHealthy);
  EXPECT_TRUE(store_->check_integrity());
}

TEST_F(SpillStoreTest, AReadThatFailsForNeighboursFailsOnlyWhereItDoes) {
  open(2);
  std::vector<SpillSlot> slots;
  for (uint64_t i = 0; i < 4; ++i) slots.push_back(write(plane_of(i)).slot);
  disk_.pause();
  ASSERT_TRUE(store_->start_read(slots[0], 0));
  disk_.wait_until_reached();
  for (uint64_t i = 1; i < 4; ++i) ASSERT_TRUE(store_->start_read(slots[i], i));
  disk_.fail_every(2, FaultyDisk::Fault::kError, 0, 0);  // The 2nd, all three; the 4th, the second of them alone.
  disk_.resume();
  std::map<uint64_t, Shown> shown;
  while (shown.size() < 4) {
    for (const Shown& each : poll()) shown.emplace(each.tag, each);
  }
  for (uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(shown.at(i).error.has_value(), i == 2) << i;
    EXPECT_EQ(shown.at(i).bytes, i == 2 ? std::vector<std::byte>() : plane_of(i)) << i;
  }
  EXPECT_EQ(store_->statistics().read_errors, 1u);
  disk_.heal();
  EXPECT_EQ(read(slots[2]).bytes, plane_of(2)) << "the bytes were there all the time";
}

TEST_F(SpillStoreTest, AFailedWriteIsReportedAndNothingIsWrittenUntilTheRetry) {
  open(4);
  disk_.fail_every(0, FaultyDisk::Fault::kNone, 1, 0);
  const Shown failed = write(plane_of(1));
  ASSERT_TRUE(failed.error.has_value());
  EXPECT_EQ(failed.error->code, ErrorCode::kIo);
  EXPECT_EQ(store_->health().state, SpillState::kFailed);
  EXPECT_NE(store_->health().reason.find("the test's disk is broken"), std::string::npos);
  // 1, 2, 4 ... seconds up to a minute, with one write each.
  double wait = 1;
  for (int i = 0; i < 10; ++i, wait = std::min(60.0, 2 * wait)) {
    EXPECT_NEAR((store_->health().retry_at - clock_.now()).seconds(), wait, 1e-9);
    clock_.advance(Duration::from_ns(Duration::from_seconds(wait).ns() - 1));
    EXPECT_FALSE(store_->takes_writes(clock_.now()));
    EXPECT_FALSE(store_->start_write(plane_of(1), 0, clock_.now()).has_value());
    clock_.advance(Duration::from_ns(1));
    disk_.pause();
    const auto probe = store_->start_write(plane_of(1), 0, clock_.now());
    ASSERT_TRUE(probe.has_value());
    EXPECT_FALSE(store_->start_write(plane_of(1), 0, clock_.now()).has_value()) << "one at a time";
    disk_.resume();
    EXPECT_TRUE(finish(*probe).error.has_value());
  }
  EXPECT_EQ(store_->statistics().write_errors, 11u);
  disk_.heal();
  clock_.advance(store_->health().retry_at - clock_.now());
  EXPECT_EQ(read(write(plane_of(5)).slot).bytes, plane_of(5));
  EXPECT_EQ(store_->health().state, SpillState::kHealthy);
  EXPECT_EQ(store_->health().reason, "");
  // It starts anew with a second.
  disk_.fail_every(0, FaultyDisk::Fault::kNone, 1, 0);
  (void)write(plane_of(1));
  EXPECT_NEAR((store_->health().retry_at - clock_.now()).seconds(), 1.0, 1e-9);
}

TEST_F(SpillStoreTest, ADiskWithTooManyBadPlacesIsGivenUp) {
  SpillOptions options = options_for(4);
  options.bad_slots_max = 3;
  open(options);
  const SpillSlot good = write(plane_of(9)).slot;
  disk_.fail_every(0, FaultyDisk::Fault::kNone, 1, 0);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(write(plane_of(1)).error.has_value());
    if (i < 2) clock_.advance(store_->health().retry_at - clock_.now());
  }
  EXPECT_EQ(store_->health().retry_at, Instant::never());
  EXPECT_NE(store_->health().reason.find("3 places"), std::string::npos) << store_->health().reason;
  clock_.advance(Duration::from_seconds(1e6));
  EXPECT_FALSE(store_->start_write(plane_of(1), 0, clock_.now()).has_value());
  EXPECT_EQ(read(good).bytes, plane_of(9));
}

TEST_F(SpillStoreTest, AFullDiskKeepsTheRoomThatItHas) {
  open(100);
  disk_.set_capacity(2 * kExtent + 5000);
  std::vector<SpillSlot> slots;
  Shown last;
  for (uint64_t i = 0; i < 33; ++i) {
    last = write(plane_of(i));
    if (!last.error) slots.push_back(last.slot);
  }
  ASSERT_TRUE(last.error.has_value());
  EXPECT_EQ(last.error->code, ErrorCode::kExhausted);
  EXPECT_EQ(slots.size(), 32u);
  EXPECT_EQ(store_->health().state, SpillState::kFull);
  EXPECT_EQ(store_->statistics().bad_slots, 0u);
  EXPECT_EQ(disk_.room(), 2 * kExtent) << "a part of the next extent went back";
  EXPECT_FALSE(store_->start_write(plane_of(1), 0, clock_.now()).has_value());
  const uint64_t reserves = disk_.reserves();
  store_->give_back(slots[7]);
  EXPECT_EQ(write(plane_of(77)).slot, slots[7]);
  EXPECT_EQ(store_->health().state, SpillState::kFull) << "that says nothing about more room";
  EXPECT_EQ(disk_.reserves(), reserves) << "and did not ask for any";
  clock_.advance(store_->health().retry_at - clock_.now());
  EXPECT_TRUE(write(plane_of(1)).error.has_value());
  EXPECT_EQ(disk_.reserves(), reserves + 1);
  disk_.set_capacity(FaultyDisk::kNever);
  clock_.advance(store_->health().retry_at - clock_.now());
  EXPECT_FALSE(write(plane_of(1)).error.has_value());
  EXPECT_EQ(store_->health().state, SpillState::kHealthy);
  EXPECT_EQ(read(slots[7]).bytes, plane_of(77));
  EXPECT_EQ(read(slots[31]).bytes, plane_of(31));
}

TEST_F(SpillStoreTest, TheLimitIsKeptAndSlotsAreUsedAgain) {
  open(2);
  std::vector<SpillSlot> slots;
  while (const auto ticket = store_->start_write(plane_of(slots.size()), 0, clock_.now()))
    slots.push_back(finish(*ticket).slot);
  EXPECT_EQ(slots.size(), 32u);
  EXPECT_EQ(store_->health().state, SpillState::kFull);
  EXPECT_NE(store_->health().reason.find("the limit of 131 kB"), std::string::npos) << store_->health().reason;
  EXPECT_FALSE(store_->start_write(plane_of(1, kHigh), 0, clock_.now()).has_value());
  store_->give_back(slots[20]);
  EXPECT_EQ(store_->health().state, SpillState::kHealthy);
  EXPECT_FALSE(write(plane_of(1)).error.has_value());
  for (const SpillSlot slot : slots) store_->give_back(slot);
  EXPECT_FALSE(write(plane_of(1, kHigh)).error.has_value()) << "in an extent that changed its size";
  settle();
  EXPECT_EQ(disk_.room(), kExtent) << "the other one went back";
  EXPECT_TRUE(store_->check_integrity());
}

TEST_F(SpillStoreTest, RoomGoesBackToTheDiskWhenSlotsDo) {
  open(50);
  std::vector<SpillSlot> slots;
  for (uint64_t i = 0; i < 160; ++i) slots.push_back(write(plane_of(i)).slot);
  EXPECT_EQ(disk_.room(), 10 * kExtent);
  for (const SpillSlot slot : slots) store_->give_back(slot);
  settle();
  EXPECT_EQ(disk_.room(), kExtent) << "one is kept for the next";
  EXPECT_EQ(store_->statistics().file_bytes, kExtent);
  EXPECT_EQ(read(write(plane_of(4)).slot).bytes, plane_of(4));
}

TEST_F(SpillStoreTest, ACancelledTransferIsNotShown) {
  open(4);
  const SpillSlot kept = write(plane_of(1)).slot;
  disk_.pause();
  const SpillTicket running = store_->start_write(plane_of(2), 0, clock_.now()).value();
  disk_.wait_until_reached();
  const SpillTicket queued = store_->start_write(plane_of(3), 0, clock_.now()).value();
  const SpillTicket reading = store_->start_read(kept, 0).value();
  for (const SpillTicket ticket : {running, queued, reading}) {
    store_->cancel(ticket);
    store_->cancel(ticket);  // Nothing more.
    EXPECT_TRUE(store_->wait(ticket, call_).has_value()) << "nobody waits for it any more";
  }
  const uint64_t writes = disk_.writes(), reads = disk_.reads();
  disk_.resume();
  while (store_->under_way() > 0) EXPECT_TRUE(poll().empty());
  EXPECT_TRUE(poll().empty());
  EXPECT_LE(disk_.writes(), writes + 1) << "only what had begun";
  EXPECT_EQ(disk_.reads(), reads);
  EXPECT_EQ(store_->statistics().slots, 1u);
  EXPECT_EQ(store_->statistics().cancelled, 3u);
  EXPECT_EQ(read(kept).bytes, plane_of(1));
  EXPECT_TRUE(store_->check_integrity());
}

TEST_F(SpillStoreTest, CancellingWhatEndedButWasNotShownGivesItsSlotBack) {
  open(4);
  const SpillTicket ticket = store_->start_write(plane_of(2), 0, clock_.now()).value();
  ASSERT_TRUE(store_->wait(ticket, call_).has_value());
  store_->cancel(ticket);
  EXPECT_TRUE(poll().empty());
  EXPECT_EQ(store_->statistics().slots, 0u);
  const Shown shown = write(plane_of(2));
  store_->cancel(shown.ticket);
  EXPECT_EQ(store_->statistics().slots, 1u) << "once shown it is the caller's";
}

TEST_F(SpillStoreTest, ASlotGivenBackWhileItIsReadIsNotWrittenUntilThen) {
  open(1 + 1);
  std::vector<SpillSlot> slots;
  while (const auto ticket = store_->start_write(plane_of(1), 0, clock_.now())) slots.push_back(finish(*ticket).slot);
  disk_.pause();
  ASSERT_TRUE(store_->start_read(slots[3], 0));
  ASSERT_TRUE(store_->start_read(slots[3], 0)) << "by two at once";
  store_->give_back(slots[3]);
  EXPECT_FALSE(store_->start_write(plane_of(2), 0, clock_.now()).has_value()) << "its room is still read";
  disk_.resume();
  while (store_->under_way() > 0) EXPECT_TRUE(poll().empty());
  EXPECT_EQ(write(plane_of(2)).slot, slots[3]);
  EXPECT_TRUE(store_->check_integrity());
}

TEST_F(SpillStoreTest, ItsEndDropsWhatIsUnderWayAndFreesTheFile) {
  for (int i = 0; i < 50; ++i) {
    open(4);
    const SpillSlot slot = write(plane_of(1)).slot;
    for (int j = 0; j < 7; ++j) {
      ASSERT_TRUE(store_->start_write(plane_of(2), 0, clock_.now()));
      ASSERT_TRUE(store_->start_read(slot, 0));
    }
    EXPECT_EQ(disk_.files(), 1);
    store_.reset();
    EXPECT_EQ(disk_.files(), 0);
  }
}

TEST(SpillStore, TooLittleRoomAndFoldersInMemoryAreRefusedWithNumbers) {
  SpillOptions options = options_for(1);
  const testing::TestFolder folder;
  const auto small = SpillStore::open(folder.path().string(), options);
  ASSERT_FALSE(small.has_value());
  if (small.error().code != ErrorCode::kUnsupported) {  // Test folders may lie in memory themselves.
    EXPECT_EQ(small.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(small.error().message, "65.5 kB for spilled KV pages is too little: at least 131 kB are needed");
  }
  if (!std::filesystem::exists("/dev/shm")) GTEST_SKIP() << "no /dev/shm here";
  const auto memory = SpillStore::open("/dev/shm", options_for(4));
  ASSERT_FALSE(memory.has_value());
  EXPECT_EQ(memory.error().code, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace infer::kv
