#include "kv/spill_store.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/format.h"

namespace infer::kv {

namespace {

constexpr size_t kSlotsPerExtent = 8;            // At least, so that growing is not all that happens.
constexpr size_t kBatchBytes = size_t{1} << 20;  // Of a batch of the disk thread: what an urgent read may wait for.
constexpr uint32_t kTransfersMost = 1u << 15;    // Their numbers are a part of tickets.

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Room for some slots of the largest size.
size_t extent_bytes_of(const SpillOptions& options) {
  const size_t largest = *std::max_element(options.slot_bytes.begin(), options.slot_bytes.end());
  const size_t stride = round_up(largest, SpillSpace::kBlockBytes);
  return std::max(round_up(options.extent_bytes, SpillSpace::kBlockBytes), kSlotsPerExtent * stride);
}

size_t largest_stride(const SpillOptions& options) {
  return round_up(*std::max_element(options.slot_bytes.begin(), options.slot_bytes.end()), SpillSpace::kBlockBytes);
}

// Slots are numbered with 32 bits.
uint32_t extents_max_of(const SpillOptions& options, size_t extent_bytes) {
  const uint64_t most = UINT32_MAX / (extent_bytes / SpillSpace::kBlockBytes);
  return static_cast<uint32_t>(std::min(options.bytes_max / extent_bytes, most));
}

size_t batch_max_of(const SpillOptions& options) { return std::max<size_t>(1, kBatchBytes / largest_stride(options)); }

}  // namespace

Result<std::unique_ptr<SpillStore>> SpillStore::open(const std::string& folder, const SpillOptions& options) {
  if (os::folder_is_in_memory(folder)) {
    return Error{ErrorCode::kUnsupported,
                 format("{}: files there take memory, which spilling should free; choose a folder on a disk", folder)};
  }
  INFER_ASSIGN(auto file, os::create_block_file(folder));
  return make(std::move(file), options);
}

Result<std::unique_ptr<SpillStore>> SpillStore::make(std::unique_ptr<os::BlockFile> file, const SpillOptions& options) {
  INFER_CHECK(!options.slot_bytes.empty() && options.transfers_max > 0 && options.transfers_max < kTransfersMost);
  const size_t extent_bytes = extent_bytes_of(options);
  if (options.bytes_max / extent_bytes < options.slot_bytes.size()) {
    return Error{ErrorCode::kInvalidArgument,
                 format("{} for spilled KV pages is too little: at least {} are needed",
                        format_bytes(options.bytes_max), format_bytes(options.slot_bytes.size() * extent_bytes))};
  }
  INFER_ASSIGN(os::PageMemory staging, os::PageMemory::allocate(options.transfers_max * largest_stride(options)));
  auto store = std::unique_ptr<SpillStore>(new SpillStore(std::move(file), options, extent_bytes, std::move(staging)));
  INFER_TRY(store->start_thread());
  return store;
}

SpillStore::SpillStore(std::unique_ptr<os::BlockFile> file, const SpillOptions& options, size_t extent_bytes,
                       os::PageMemory staging)
    : options_(options),
      limit_reason_(format("the limit of {} for spilled KV pages is reached", format_bytes(options.bytes_max))),
      file_(std::move(file)),
      staging_stride_(largest_stride(options)),
      staging_(std::move(staging)),
      space_(options.slot_bytes, extent_bytes, extents_max_of(options, extent_bytes)),
      transfers_(options.transfers_max + 1),
      entries_(options.transfers_max + 1),
      disk_(*file_, transfers_, extent_bytes, extents_max_of(options, extent_bytes), batch_max_of(options)) {
  for (uint32_t number = options.transfers_max; number > 0; --number) idle_.push_back(number - 1);
  ended_.reserve(options.transfers_max);
  shown_.reserve(options.transfers_max);
  completions_.reserve(options.transfers_max);
}

SpillStore::~SpillStore() = default;

Status SpillStore::start_thread() {
  const auto work = [this](std::span<const uint32_t> numbers) { disk_.run(numbers); };
  INFER_ASSIGN(thread_, os::DiskThread::start(transfers_.size(), batch_max_of(options_), work));
  return {};
}

// ---- Starting transfers.

std::optional<SpillTicket> SpillStore::start_write(std::span<const std::byte> plane, uint64_t tag, Instant now) {
  const auto size = std::find(options_.slot_bytes.begin(), options_.slot_bytes.end(), plane.size());
  INFER_CHECK(size != options_.slot_bytes.end());
  bool probe = false;
  std::optional<SpillSlot> slot;
  if (!idle_.empty()) slot = take_slot(static_cast<size_t>(size - options_.slot_bytes.begin()), now, &probe);
  if (!slot) {
    ++statistics_.refused;
    return std::nullopt;
  }
  const uint32_t number = *take_entry();
  entries_[number].probe = probe;
  probing_ = probing_ || probe;
  if (slots_.size() < space_.slots_max()) slots_.resize(space_.slots_max());
  slots_[*slot] = {};
  std::memcpy(staging_.data() + number * staging_stride_, plane.data(), plane.size());
  submit(number, TransferKind::kWrite, *slot, tag);
  return ticket_of(number);
}

std::optional<SpillSlot> SpillStore::take_slot(size_t size, Instant now, bool* probe) {
  const bool healthy = health_.state == SpillState::kHealthy;
  const bool may_probe = !healthy && !probing_ && now >= health_.retry_at;
  // A full disk has the room that it had; a failed one is left alone.
  if (health_.state == SpillState::kFailed && !may_probe) return std::nullopt;
  const std::optional<SpillSlot> slot = space_.take(size, healthy || may_probe);
  // In proved room a write tells nothing about a full disk.
  *probe = may_probe && slot && (health_.state == SpillState::kFailed || !space_.is_proved(*slot));
  if (!slot && healthy) {
    set_health(SpillState::kFull, limit_reason_, now);
  }
  return slot;
}

bool SpillStore::takes_writes(Instant now) const {
  if (idle_.empty()) return false;
  return health_.state != SpillState::kFailed || (!probing_ && now >= health_.retry_at);
}

std::optional<SpillTicket> SpillStore::start_read(SpillSlot slot, uint64_t tag) {
  INFER_CHECK(slot < slots_.size() && space_.is_taken(slot) && !slots_[slot].leaving);
  const std::optional<uint32_t> number = take_entry();
  if (!number) {
    ++statistics_.refused;
    return std::nullopt;
  }
  ++slots_[slot].readers;
  transfers_[*number].checksum = slots_[slot].checksum;
  submit(*number, TransferKind::kRead, slot, tag);
  return ticket_of(*number);
}

std::optional<uint32_t> SpillStore::take_entry() {
  if (idle_.empty()) return std::nullopt;
  const uint32_t number = idle_.back();
  idle_.pop_back();
  const uint64_t generation = entries_[number].generation + 1;
  entries_[number] = {.generation = generation};
  return number;
}

void SpillStore::submit(uint32_t number, TransferKind kind, SpillSlot slot, uint64_t tag) {
  Entry& entry = entries_[number];
  entry.stage = Stage::kUnderWay;
  entry.slot = slot;
  entry.tag = tag;
  Transfer& transfer = transfers_[number];
  transfer.kind = kind;
  transfer.offset = space_.offset(slot);
  transfer.bytes = space_.bytes(slot);
  transfer.buffer = {staging_.data() + number * staging_stride_, space_.stride(slot)};
  transfer.cancelled.store(false, std::memory_order_relaxed);
  ++under_way_;
  thread_->submit(number,
                  kind == TransferKind::kRead ? os::DiskThread::Urgency::kUrgent : os::DiskThread::Urgency::kLater);
}

// ---- Taking back.

std::optional<uint32_t> SpillStore::find(SpillTicket ticket) const {
  const auto number = static_cast<uint32_t>(ticket & 0xFFFF);
  if (number >= options_.transfers_max || entries_[number].generation != ticket >> 16) return std::nullopt;
  const Stage stage = entries_[number].stage;
  if (entries_[number].silent || (stage != Stage::kUnderWay && stage != Stage::kEnded)) return std::nullopt;
  return number;
}

void SpillStore::cancel(SpillTicket ticket) {
  const std::optional<uint32_t> number = find(ticket);
  if (!number) return;
  Entry& entry = entries_[*number];
  entry.silent = true;
  ++statistics_.cancelled;
  if (entry.stage == Stage::kUnderWay) {
    transfers_[*number].cancelled.store(true, std::memory_order_relaxed);
  } else if (transfers_[*number].kind == TransferKind::kWrite && transfers_[*number].status) {
    free_slot(entry.slot);
  }
}

void SpillStore::give_back(SpillSlot slot) {
  INFER_CHECK(slot < slots_.size() && space_.is_taken(slot) && !slots_[slot].leaving);
  slots_[slot].leaving = true;
  for (uint32_t number = 0; number < options_.transfers_max; ++number) {
    const Entry& entry = entries_[number];
    const bool reads = transfers_[number].kind == TransferKind::kRead && entry.slot == slot;
    if (reads && (entry.stage == Stage::kUnderWay || entry.stage == Stage::kEnded)) cancel(ticket_of(number));
  }
  if (slots_[slot].readers == 0) free_slot(slot);
}

void SpillStore::free_slot(SpillSlot slot) {
  slots_[slot].leaving = slots_[slot].bad;
  if (slots_[slot].bad) return;
  space_.give_back(slot);
  // Room within the limit: full it was, perhaps, and is no longer. Of a full disk only a write can tell.
  if (health_.state == SpillState::kFull && failures_ == 0) set_health(SpillState::kHealthy, {}, {});
  start_release();
}

// Gives room back to the disk, an extent at a time.
void SpillStore::start_release() {
  if (releasing_) return;
  const std::optional<uint32_t> extent = space_.begin_release();
  if (!extent) return;
  releasing_ = true;
  const uint32_t number = options_.transfers_max;
  entries_[number].stage = Stage::kUnderWay;
  entries_[number].slot = *extent;
  Transfer& transfer = transfers_[number];
  transfer.kind = TransferKind::kRelease;
  transfer.offset = uint64_t{*extent} * space_.extent_bytes();
  ++under_way_;
  thread_->submit(number, os::DiskThread::Urgency::kLater);
}

// ---- Collecting.

std::span<const SpillCompletion> SpillStore::poll(Instant now) {
  for (const uint32_t number : shown_) recycle(number);
  shown_.clear();
  completions_.clear();
  collect(now);
  for (const uint32_t number : ended_) {
    Entry& entry = entries_[number];
    const Transfer& transfer = transfers_[number];
    if (entry.silent) {
      recycle(number);
      continue;
    }
    entry.stage = Stage::kShown;
    shown_.push_back(number);
    const bool has_bytes = transfer.kind == TransferKind::kRead && transfer.status.has_value();
    completions_.push_back(
        {ticket_of(number), entry.tag, transfer.kind, entry.slot, &transfer.status,
         has_bytes ? std::span<const std::byte>(transfer.buffer).first(transfer.bytes) : std::span<const std::byte>()});
  }
  ended_.clear();
  return completions_;
}

void SpillStore::collect(Instant now) {
  while (const std::optional<uint32_t> number = thread_->take_done()) {
    --under_way_;
    const Transfer& transfer = transfers_[*number];
    if (transfer.kind == TransferKind::kRelease) {
      space_.end_release(entries_[*number].slot);
      entries_[*number].stage = Stage::kIdle;
      releasing_ = false;
      start_release();
      continue;
    }
    entries_[*number].stage = Stage::kEnded;
    ended_.push_back(*number);
    if (transfer.kind == TransferKind::kWrite) {
      end_write(*number, now);
    } else {
      end_read(*number, now);
    }
  }
}

void SpillStore::end_write(uint32_t number, Instant now) {
  Transfer& transfer = transfers_[number];
  const Entry& entry = entries_[number];
  if (entry.probe) probing_ = false;
  statistics_.write_calls += transfer.calls;
  if (transfer.skipped) {
    free_slot(entry.slot);
    return;
  }
  if (transfer.status) {
    space_.prove(entry.slot);
    slots_[entry.slot].checksum = transfer.checksum;
    ++statistics_.writes;
    statistics_.bytes_written += transfer.bytes;
    if (entry.probe) {
      failures_ = 0;
      set_health(SpillState::kHealthy, {}, {});
    }
    if (entry.silent) free_slot(entry.slot);
    return;
  }
  ++statistics_.write_errors;
  if (transfer.status.error().code != ErrorCode::kExhausted) mark_bad(entry.slot);
  failed(transfer.status.error(), now);
  free_slot(entry.slot);
}

void SpillStore::end_read(uint32_t number, Instant now) {
  const Transfer& transfer = transfers_[number];
  Slot& slot = slots_[entries_[number].slot];
  statistics_.read_calls += transfer.calls;
  if (!transfer.skipped && transfer.status) {
    ++statistics_.reads;
    statistics_.bytes_read += transfer.bytes;
  } else if (!transfer.skipped) {
    ++(transfer.status.error().code == ErrorCode::kCorrupt ? statistics_.corrupt_slots : statistics_.read_errors);
    mark_bad(entries_[number].slot);
    failed(transfer.status.error(), now);
  }
  if (--slot.readers == 0 && slot.leaving) free_slot(entries_[number].slot);
}

void SpillStore::mark_bad(SpillSlot slot) {
  if (slots_[slot].bad) return;
  slots_[slot].bad = true;
  ++statistics_.bad_slots;
}

// Failures of transfers that were under way when the first of them failed count as one.
void SpillStore::failed(const Error& error, Instant now) {
  const bool full = error.code == ErrorCode::kExhausted;
  if (!full && statistics_.bad_slots >= options_.bad_slots_max) {
    set_health(SpillState::kFailed,
               format("{} places of the spill file failed, so that it is given up; the last: {}", statistics_.bad_slots,
                      error.message),
               Instant::never());
    return;
  }
  if (health_.state == SpillState::kFailed && health_.retry_at > now) return;
  if (health_.state == SpillState::kFull && full && health_.retry_at > now) return;
  constexpr uint32_t kDoublings = 16;
  const int64_t wait = options_.retry_first.ns() << std::min(failures_, kDoublings);
  ++failures_;
  set_health(full ? SpillState::kFull : SpillState::kFailed, error.message,
             now + std::min(Duration::from_ns(wait), options_.retry_most));
}

// Into the string that is there: at the limit, full and healthy may take turns often.
void SpillStore::set_health(SpillState state, std::string_view reason, Instant retry_at) {
  health_.state = state;
  health_.reason.assign(reason);
  health_.retry_at = retry_at;
}

void SpillStore::recycle(uint32_t number) {
  entries_[number].stage = Stage::kIdle;
  idle_.push_back(number);
}

Status SpillStore::wait(SpillTicket ticket, const CallContext& call) {
  const auto is_under_way = [&] {
    const std::optional<uint32_t> number = find(ticket);
    return number && entries_[*number].stage == Stage::kUnderWay;
  };
  const Instant begin = call.clock.now();
  collect(begin);
  if (!is_under_way()) return {};
  ++statistics_.waits;
  Status status;
  Instant now = begin;
  while (status && is_under_way()) {
    status = thread_->wait_for_done(call);
    now = call.clock.now();
    collect(now);
  }
  statistics_.wait_time = statistics_.wait_time + (now - begin);
  return is_under_way() ? std::move(status) : Status();
}

SpillStatistics SpillStore::statistics() const {
  SpillStatistics result = statistics_;
  result.slots = space_.taken_slots();
  result.file_bytes = uint64_t{space_.extents_held()} * space_.extent_bytes();
  return result;
}

bool SpillStore::check_integrity() const {
  uint32_t readers = 0, reads = 0, idle = 0, under_way = 0;
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
    const bool used = slots_[slot].readers > 0 || slots_[slot].leaving || slots_[slot].bad;
    if (used && !space_.is_taken(slot)) return false;
    readers += slots_[slot].readers;
  }
  for (uint32_t number = 0; number < entries_.size(); ++number) {
    const bool running = entries_[number].stage == Stage::kUnderWay;
    under_way += running ? 1 : 0;
    reads += running && transfers_[number].kind == TransferKind::kRead ? 1 : 0;
    idle += number < options_.transfers_max && entries_[number].stage == Stage::kIdle ? 1 : 0;
  }
  return space_.check_integrity() && readers == reads && idle == idle_.size() && under_way == under_way_;
}

}  // namespace infer::kv
