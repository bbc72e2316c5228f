// Planes of KV pages on the disk: what a page gives up in memory can be had again, bit for bit.
//
// Bytes are written and read by one disk thread; the engine thread starts transfers, goes on, and collects what is done
// between steps (poll). The engine's memory is never touched by the disk thread: a plane is copied into a staging
// buffer when its write starts, and out of one when its read is done. So a page may be freed at any time, whatever is
// under way for it, and bytes that are late or damaged never lie where somebody could take them for good ones. The
// copies cost a few microseconds a plane; staging is all the memory there is (staging_bytes()).
//
// The order for lowering a page: start_write, keep the plane; when poll() says that it is written, free it. A plane
// whose write failed is thus still there. For raising it: start_read, copy what poll() shows, give_back the slot or
// keep it for the next time.
//
// Checksums are kept in memory: a slot that does not have the bytes written is kCorrupt, counted, and never shown.
// When the disk is full or fails, start_write takes nothing until a time that grows with each failure; then one write
// tries again. Reads are always tried. Slots that failed are not used again; after bad_slots_max of them no write is
// taken any more. Nothing of the file outlives the process (docs/formats/spill_file.md).
//
// No call but wait() waits for the disk, and none allocates but where something fails or the file grows.
// Ownership: owns file and thread; destroyed, it drops what was not begun. Thread safety: one thread (the engine's).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/call_context.h"
#include "base/result.h"
#include "base/time.h"
#include "kv/spill_space.h"
#include "kv/spill_transfer.h"
#include "os/block_file.h"
#include "os/disk_thread.h"
#include "os/page_memory.h"

namespace infer::kv {

struct SpillOptions {
  std::vector<size_t> slot_bytes;                      // The sizes of planes that come, all different.
  uint64_t bytes_max = 0;                              // Of the file, in whole extents.
  size_t extent_bytes = size_t{2} << 20;               // The file grows and shrinks by it; more where a slot needs it.
  uint32_t transfers_max = 64;                         // Under way or shown at once.
  uint32_t bad_slots_max = 64;                         // That many places may fail before the disk is given up.
  Duration retry_first = Duration::from_seconds(1.0);  // After a failure; twice as long after each further one,
  Duration retry_most = Duration::from_seconds(60.0);  // up to this.
};

enum class SpillState : uint8_t {
  kHealthy,
  kFull,    // The disk or bytes_max: slots that are given back are used again.
  kFailed,  // The disk refuses to write, or what it read was wrong.
};

struct SpillHealth {
  SpillState state = SpillState::kHealthy;
  std::string reason;  // "" while healthy.
  Instant retry_at;    // Until then no write is taken; never(): the disk is given up.
};

struct SpillStatistics {
  uint32_t slots = 0;       // Taken, those being written included.
  uint32_t bad_slots = 0;   // Of these: failed, and not used again.
  uint64_t file_bytes = 0;  // Room on the disk.
  uint64_t writes = 0, bytes_written = 0, write_calls = 0, write_errors = 0;
  uint64_t reads = 0, bytes_read = 0, read_calls = 0, read_errors = 0;
  uint64_t corrupt_slots = 0;
  uint64_t cancelled = 0;
  uint64_t refused = 0;  // Transfers that start_write or start_read did not take.
  uint64_t waits = 0;    // Calls of wait() that had to.
  Duration wait_time;
};

// Which transfer; never used again for another.
using SpillTicket = uint64_t;

struct SpillCompletion {
  SpillTicket ticket;
  uint64_t tag;  // What the caller gave.
  TransferKind kind;
  SpillSlot slot;  // Of a write that failed: nothing to give back.
  const Status* status;
  std::span<const std::byte> bytes;  // Of a read that did not fail.
};

class SpillStore {
 public:
  // In a new file in this folder. kUnsupported when it lies in memory itself; else errors of os::create_block_file and
  // of make.
  static Result<std::unique_ptr<SpillStore>> open(const std::string& folder, const SpillOptions& options);
  // kInvalidArgument when bytes_max has no room for a slot of each size; kExhausted without memory or a thread.
  static Result<std::unique_ptr<SpillStore>> make(std::unique_ptr<os::BlockFile> file, const SpillOptions& options);
  ~SpillStore();

  // Starts writing a plane, whose size is one of slot_bytes. nullopt: not taken, since transfers_max are under way, or
  // for the reason in health(); nothing happened.
  std::optional<SpillTicket> start_write(std::span<const std::byte> plane, uint64_t tag, Instant now);
  // Starts reading a slot that was written. nullopt: transfers_max are under way.
  std::optional<SpillTicket> start_read(SpillSlot slot, uint64_t tag);
  // Its completion will not be shown; a slot that it wrote is given back. Nothing happens when it was shown already.
  void cancel(SpillTicket ticket);
  // A slot from the completion of a write; reads of it that were not shown yet are cancelled.
  void give_back(SpillSlot slot);

  // What ended since the last call, without waiting. Valid until the next call.
  std::span<const SpillCompletion> poll(Instant now);
  // Returns when the transfer has ended, so that the next poll() shows it; at once for one that was shown or cancelled.
  // kDeadline or kCancelled when `call` says so first; the transfer goes on.
  Status wait(SpillTicket ticket, const CallContext& call);

  // Whether a write would be taken now.
  bool takes_writes(Instant now) const;
  const SpillHealth& health() const { return health_; }
  SpillStatistics statistics() const;
  size_t staging_bytes() const { return staging_.size(); }
  uint32_t under_way() const { return under_way_; }  // Handed to the disk thread and not collected.

  // True when the invariants hold. For tests; linear in the number of slots.
  bool check_integrity() const;

 private:
  enum class Stage : uint8_t { kIdle, kUnderWay, kEnded, kShown };
  // What the engine thread knows of a transfer; the rest is in Transfer.
  struct Entry {
    Stage stage = Stage::kIdle;
    bool silent = false;  // Cancelled: not to be shown.
    bool probe = false;   // The write that tries whether a full or failed disk is better.
    SpillSlot slot = 0;
    uint64_t tag = 0;
    uint64_t generation = 0;
  };
  struct Slot {
    uint64_t checksum = 0;
    uint16_t readers = 0;
    bool leaving = false;  // Given back: nobody reads it any more.
    bool bad = false;      // Stays taken, so that nothing is written there again.
  };

  SpillStore(std::unique_ptr<os::BlockFile> file, const SpillOptions& options, size_t extent_bytes,
             os::PageMemory staging);
  Status start_thread();
  std::optional<uint32_t> take_entry();
  std::optional<SpillSlot> take_slot(size_t size, Instant now, bool* probe);
  void submit(uint32_t number, TransferKind kind, SpillSlot slot, uint64_t tag);
  std::optional<uint32_t> find(SpillTicket ticket) const;
  void collect(Instant now);
  void end_write(uint32_t number, Instant now);
  void end_read(uint32_t number, Instant now);
  void recycle(uint32_t number);
  void free_slot(SpillSlot slot);
  void mark_bad(SpillSlot slot);
  void failed(const Error& error, Instant now);
  void set_health(SpillState state, std::string_view reason, Instant retry_at);
  void start_release();
  SpillTicket ticket_of(uint32_t number) const { return entries_[number].generation << 16 | number; }

  SpillOptions options_;
  std::string limit_reason_;
  std::unique_ptr<os::BlockFile> file_;
  size_t staging_stride_;
  os::PageMemory staging_;  // [transfers_max][staging_stride_]
  SpillSpace space_;
  std::vector<Slot> slots_;
  std::vector<Transfer> transfers_;  // transfers_max, and one for the release of an extent.
  std::vector<Entry> entries_;
  std::vector<uint32_t> idle_, ended_, shown_;
  std::vector<SpillCompletion> completions_;
  SpillDisk disk_;
  bool releasing_ = false;
  bool probing_ = false;
  uint32_t under_way_ = 0;
  uint32_t failures_ = 0;  // In a row.
  SpillHealth health_;
  SpillStatistics statistics_;
  std::unique_ptr<os::DiskThread> thread_;  // Last: it ends before what it uses.
};

}  // namespace infer::kv
