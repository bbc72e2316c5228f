// Random operations on a spill store, with errors injected, against a plain model: a map from slots to what was
// written. Whatever fails, what comes back is what was written or an error.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "kv/spill_store.h"
#include "os/system_clock.h"
#include "testing/faulty_block_file.h"
#include "testing/property.h"

namespace infer::kv {
namespace {

using testing::FaultyBlockFile;
using testing::FaultyDisk;

constexpr size_t kSizes[] = {4096, 4608};
constexpr size_t kExtent = 32 * 1024;

// The content of a plane from its number: words of a counter, so that any part tells where it belongs.
void fill_plane(uint64_t number, std::span<std::byte> plane) {
  for (size_t at = 0; at + 8 <= plane.size(); at += 8) {
    const uint64_t word = number * 0x9E3779B97F4A7C15ull + at;
    std::memcpy(plane.data() + at, &word, 8);
  }
}

class Simulation {
 public:
  Simulation(Rng& rng, uint64_t extents, uint32_t bad_slots_max) : rng_(rng) {
    SpillOptions options;
    options.slot_bytes = {kSizes[0], kSizes[1]};
    options.extent_bytes = kExtent;
    options.bytes_max = extents * kExtent;
    options.transfers_max = 1 + rng.below(24);
    options.bad_slots_max = bad_slots_max;
    options.retry_first = Duration::from_ms(100);
    options.retry_most = Duration::from_ms(800);
    store_ = SpillStore::make(std::make_unique<FaultyBlockFile>(disk), options).value();
  }

  void step() {
    now_ = now_ + Duration::from_ms(rng_.below(400));
    const uint32_t choice = rng_.below(100);
    if (choice < 25) {
      write();
    } else if (choice < 50) {
      read();
    } else if (choice < 60) {
      give_back();
    } else if (choice < 63) {
      cancel();
    } else if (choice < 80) {
      wait();
    } else {
      poll();
    }
  }

  void finish() {
    while (store_->under_way() > 0) poll();
    poll();
    EXPECT_TRUE(under_way_.empty());
    check();
    const SpillStatistics statistics = store_->statistics();
    EXPECT_EQ(statistics.slots, slots_.size() + bad_and_gone());
    for (const auto& [slot, number] : slots_) store_->give_back(slot);
    EXPECT_EQ(store_->statistics().slots, store_->statistics().bad_slots);
    while (store_->under_way() > 0) poll();  // Extents go back one after the other.
  }

  void check() const { ASSERT_TRUE(store_->check_integrity()); }
  SpillStore& store() { return *store_; }

  FaultyDisk disk;
  uint64_t good_reads = 0, failed_reads = 0, failed_writes = 0;

 private:
  struct UnderWay {
    TransferKind kind;
    SpillSlot slot;
    uint64_t number;  // Of the plane.
  };

  // Bad slots that nobody holds: their number is known only to the store.
  uint64_t bad_and_gone() const { return store_->statistics().slots - slots_.size(); }

  std::map<SpillSlot, uint64_t>::iterator any_slot() {
    return std::next(slots_.begin(), rng_.below(static_cast<uint32_t>(slots_.size())));
  }

  void write() {
    std::vector<std::byte> plane(kSizes[rng_.below(2)]);
    const uint64_t number = ++planes_;
    fill_plane(number, plane);
    if (const auto ticket = store_->start_write(plane, number, now_)) {
      under_way_.emplace(*ticket, UnderWay{TransferKind::kWrite, 0, number});
      sizes_[number] = plane.size();
    }
  }

  void read() {
    if (slots_.empty()) return;
    const auto at = any_slot();
    if (const auto ticket = store_->start_read(at->first, at->second)) {
      under_way_.emplace(*ticket, UnderWay{TransferKind::kRead, at->first, at->second});
    }
  }

  void give_back() {
    if (slots_.empty()) return;
    const auto at = any_slot();
    std::erase_if(under_way_, [&](const auto& each) {
      return each.second.kind == TransferKind::kRead && each.second.slot == at->first;
    });
    store_->give_back(at->first);
    slots_.erase(at);
  }

  void cancel() {
    if (under_way_.empty()) return;
    const auto at = std::next(under_way_.begin(), rng_.below(static_cast<uint32_t>(under_way_.size())));
    store_->cancel(at->first);
    under_way_.erase(at);
  }

  void wait() {
    if (under_way_.empty()) return;
    ASSERT_TRUE(store_->wait(under_way_.begin()->first, {clock_, Deadline::never(), {}}).has_value());
  }

  void poll() {
    for (const SpillCompletion& done : store_->poll(now_)) {
      const auto at = under_way_.find(done.ticket);
      ASSERT_NE(at, under_way_.end()) << "shown twice, or cancelled, or of a slot that was given back";
      const UnderWay expected = at->second;
      under_way_.erase(at);
      ASSERT_EQ(done.kind, expected.kind);
      ASSERT_EQ(done.tag, expected.number);
      if (done.kind == TransferKind::kWrite && *done.status) {
        ASSERT_TRUE(slots_.emplace(done.slot, expected.number).second) << "two planes in one slot";
      } else if (done.kind == TransferKind::kWrite) {
        ++failed_writes;
      } else if (*done.status) {
        ++good_reads;
        std::vector<std::byte> plane(sizes_[expected.number]);
        fill_plane(expected.number, plane);
        ASSERT_TRUE(std::equal(plane.begin(), plane.end(), done.bytes.begin(), done.bytes.end()));
      } else {
        ++failed_reads;
        ASSERT_TRUE(done.bytes.empty());
      }
    }
  }

  Rng& rng_;
  const os::SystemClock clock_;
  Instant now_;
  std::unique_ptr<SpillStore> store_;
  uint64_t planes_ = 0;
  std::map<SpillSlot, uint64_t> slots_;        // What the store holds for us: the number of the plane.
  std::map<SpillTicket, UnderWay> under_way_;  // That will be shown.
  std::map<uint64_t, size_t> sizes_;           // Of planes.
};

TEST(SpillSimulation, AHundredThousandOperationsOnAGoodDisk) {
  testing::for_each_case(5, [](Rng& rng) {
    Simulation simulation(rng, 2 + rng.below(40), 64);
    for (int i = 0; i < 20'000 && !::testing::Test::HasFatalFailure(); ++i) {
      simulation.step();
      if (i % 64 == 0) simulation.check();
    }
    simulation.finish();
    EXPECT_GT(simulation.good_reads, 1000u);
    EXPECT_EQ(simulation.failed_reads + simulation.failed_writes, 0u);
    EXPECT_LE(simulation.disk.room(), 2 * kExtent);
  });
}

// Every n-th operation of each kind fails or returns damaged bytes, for each n.
TEST(SpillSimulation, WhateverFailsTheBytesAreRightOrAnError) {
  uint64_t failures = 0, good_reads = 0;
  for (const uint64_t every : {1, 2, 3, 4, 5, 7, 11, 16, 23, 37, 64, 101, 257, 1000}) {
    testing::for_each_case(
        2,
        [&](Rng& rng) {
          Simulation simulation(rng, 200, 1'000'000);
          for (int i = 0; i < 2000 && !::testing::Test::HasFatalFailure(); ++i) {
            if (i % 200 == 0) {  // Times that are good and bad in turns, with one kind of failure or with all.
              const uint32_t kinds = i / 200 % 3 == 0 ? 0 : 1 + rng.below(15);
              simulation.disk.fail_every((kinds & 3) != 0 ? every : 0,
                                         (kinds & 1) != 0 ? FaultyDisk::Fault::kError : FaultyDisk::Fault::kDamage,
                                         (kinds & 4) != 0 ? every : 0, (kinds & 8) != 0 ? every : 0);
            }
            simulation.step();
            if (i % 64 == 0) simulation.check();
          }
          simulation.disk.heal();
          simulation.finish();
          failures += simulation.failed_reads + simulation.failed_writes;
          good_reads += simulation.good_reads;
        },
        testing::property_seed(every * 100));
  }
  EXPECT_GT(failures, 80u);
  EXPECT_GT(good_reads, 2000u);
}

TEST(SpillSimulation, AFullDiskAndOneThatIsGivenUpHoldWhatTheyHave) {
  testing::for_each_case(20, [](Rng& rng) {
    Simulation simulation(rng, 40, rng.below(2) == 0 ? 5 : 1'000'000);
    for (int i = 0; i < 3000 && !::testing::Test::HasFatalFailure(); ++i) {
      if (i % 500 == 0) simulation.disk.set_capacity(rng.below(3) == 0 ? FaultyDisk::kNever : rng.below(30) * 10'000);
      if (i == 2000) simulation.disk.fail_every(3, FaultyDisk::Fault::kError, 3, 3);
      simulation.step();
      if (i % 64 == 0) simulation.check();
    }
    simulation.finish();
  });
}

TEST(SpillSimulation, TheStoreMayEndAtAnyMoment) {
  testing::for_each_case(100, [](Rng& rng) {
    Simulation simulation(rng, 10, 64);
    for (uint32_t i = rng.below(150); i > 0; --i) simulation.step();
  });
}

}  // namespace
}  // namespace infer::kv
