#include "kv/prefix_store.h"

#include <algorithm>
#include <bit>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "os/disk_thread.h"

namespace infer::kv {

namespace {

// What buffers of transfers take together, about.
constexpr size_t kBuffersBytes = size_t{32} << 20;
constexpr size_t kTransfersMin = 2, kTransfersMax = 16;
// What a writer leaves behind when its process is killed is removed after this time.
constexpr Duration kAbandonedAfter = Duration::from_seconds(600);
// The disk keeps this much free, whatever the limit says.
constexpr uint64_t kDiskReserveBytes = 1'000'000'000;
// Room is made for more than is needed, so that the folder is not listed for each file.
constexpr uint64_t kRoomShare = 16;
constexpr Duration kPauseMin = Duration::from_seconds(1), kPauseMax = Duration::from_seconds(60);

}  // namespace

// The thread's side: files, and what they take.
struct PrefixStore::Disk {
  Disk(std::unique_ptr<os::FileFolder> given, const PrefixStoreOptions& given_options)
      : folder(std::move(given)), options(given_options) {}

  std::unique_ptr<os::FileFolder> folder;
  const PrefixStoreOptions& options;
  uint64_t bytes = 0;  // Of all files of the cache, as far as is known.

  void run(Transfer& transfer);
  void read(Transfer& transfer);
  Status write(Transfer& transfer);
  Status make_room(Transfer& transfer, uint64_t wanted);
};

void PrefixStore::Disk::run(Transfer& transfer) {
  transfer.status = {};
  transfer.view.reset();
  transfer.removed = 0;
  switch (transfer.kind) {
    case Kind::kRead: read(transfer); break;
    case Kind::kWrite: transfer.status = write(transfer); break;
    case Kind::kRenew:
      if (!folder->mark_as_used(transfer.name)) transfer.status = Error{ErrorCode::kNotFound, transfer.name};
      break;
  }
  transfer.bytes = bytes;
}

void PrefixStore::Disk::read(Transfer& transfer) {
  Result<std::string> file = folder->read(transfer.name, prefix_file_bytes_max(options.shape, transfer.text.size()));
  // Too large is not of this text either.
  if (!file && file.error().code != ErrorCode::kExhausted) {
    transfer.status = std::move(file).error();
    return;
  }
  if (file) {
    transfer.file = *std::move(file);
    Result<PrefixFileView> view = open_prefix_file(transfer.file, options.shape, transfer.text);
    if (view) {
      transfer.view = *view;
      (void)folder->mark_as_used(transfer.name);
      return;
    }
    transfer.status = std::move(view).error().with_context(transfer.name);
  } else {
    transfer.status = Error{ErrorCode::kCorrupt, std::move(file).error().message};
  }
  (void)folder->remove(transfer.name);
}

Status PrefixStore::Disk::write(Transfer& transfer) {
  seal_prefix_file(transfer.file);
  INFER_TRY(make_room(transfer, transfer.file.size()));
  const std::span<const std::byte> part = std::as_bytes(std::span(transfer.file));
  INFER_TRY(folder->write(transfer.name, {&part, 1}));
  bytes += transfer.file.size();
  return {};
}

// Removes the files unused for longest until `wanted` more fit, and what writers left behind that were killed.
Status PrefixStore::Disk::make_room(Transfer& transfer, uint64_t wanted) {
  const uint64_t limit = options.limit_bytes;
  if (wanted > limit) {
    return Error{ErrorCode::kExhausted, format("64 tokens take {} bytes, more than the limit of {}", wanted, limit)};
  }
  const uint64_t free = folder->free_bytes();
  const bool disk_is_full = free > 0 && free < wanted + kDiskReserveBytes;
  if (bytes + wanted <= limit && !disk_is_full) return {};
  INFER_ASSIGN(std::vector<os::FolderEntry> entries, folder->list());
  struct Candidate {
    int age;  // In powers of two of a minute: those of one text are about as old.
    uint64_t pages;
    const os::FolderEntry* entry;
  };
  std::vector<Candidate> candidates;
  bytes = 0;
  for (const os::FolderEntry& entry : entries) {
    PrefixFileName name;
    if (is_unfinished_prefix_file(entry.name) && entry.age > kAbandonedAfter) (void)folder->remove(entry.name);
    if (!parse_prefix_file_name(entry.name, name)) continue;
    bytes += entry.bytes;
    const auto minutes = static_cast<uint64_t>(entry.age.seconds() / 60);
    candidates.push_back({static_cast<int>(std::bit_width(minutes)), name.pages, &entry});
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::tuple(a.age, a.pages, a.entry->age) > std::tuple(b.age, b.pages, b.entry->age);
  });
  uint64_t most = limit - std::max(wanted, limit / kRoomShare);
  if (disk_is_full) most = std::min(most, bytes - std::min(bytes, wanted + kDiskReserveBytes - free));
  for (const Candidate& candidate : candidates) {
    if (bytes <= most) break;
    if (!folder->remove(candidate.entry->name)) continue;
    bytes -= candidate.entry->bytes;
    ++transfer.removed;
  }
  if (bytes + wanted > limit || (disk_is_full && bytes > most)) {
    return Error{
        ErrorCode::kExhausted,
        format("{} bytes more do not fit: the files take {}, the limit is {}, the disk has {} left, of which {} "
               "stay free",
               wanted, bytes, limit, free, kDiskReserveBytes)};
  }
  return {};
}

struct PrefixStore::Threads {
  std::function<void()> on_done;
  std::unique_ptr<os::DiskThread> disk;
};

PrefixStore::PrefixStore(std::unique_ptr<os::FileFolder> folder, const PrefixStoreOptions& options, Log& log)
    : options_(options), log_(log), threads_(std::make_unique<Threads>()) {
  const size_t node_bytes = static_cast<size_t>(options.shape.layers) * options.shape.page.page_bytes(Level::k16);
  transfers_.resize(std::clamp(kBuffersBytes / std::max<size_t>(1, node_bytes), kTransfersMin, kTransfersMax));
  disk_ = std::make_unique<Disk>(std::move(folder), options_);
}

PrefixStore::~PrefixStore() = default;

Result<std::unique_ptr<PrefixStore>> PrefixStore::open(std::unique_ptr<os::FileFolder> folder,
                                                       const PrefixStoreOptions& options, Log& log) {
  INFER_CHECK(options.shape.layers > 0);
  auto store = std::unique_ptr<PrefixStore>(new PrefixStore(std::move(folder), options, log));
  INFER_TRY(store->list());
  if (!options.threaded) return store;
  PrefixStore* const raw = store.get();
  INFER_ASSIGN(store->threads_->disk, os::DiskThread::start(
                                          store->transfers_.size(), 1,
                                          [raw](std::span<const uint32_t> numbers) {
                                            for (const uint32_t number : numbers)
                                              raw->disk_->run(raw->transfers_[number]);
                                          },
                                          [threads = store->threads_.get()] {
                                            if (threads->on_done) threads->on_done();
                                          }));
  return store;
}

void PrefixStore::set_on_done(std::function<void()> on_done) { threads_->on_done = std::move(on_done); }

Status PrefixStore::list() {
  INFER_ASSIGN(const std::vector<os::FolderEntry> entries, disk_->folder->list());
  for (const os::FolderEntry& entry : entries) {
    PrefixFileName name;
    if (is_unfinished_prefix_file(entry.name)) {
      if (entry.age > kAbandonedAfter) (void)disk_->folder->remove(entry.name);
    } else if (!parse_prefix_file_name(entry.name, name)) {
      ++counters_.refused;  // Not of the cache: it is left alone.
    } else {
      disk_->bytes += entry.bytes;
      if (name.fingerprint == options_.shape.fingerprint) known_.insert(name.key);
    }
  }
  counters_.bytes = disk_->bytes;
  return {};
}

bool PrefixStore::is_reading(uint64_t key) const {
  return std::any_of(transfers_.begin(), transfers_.end(), [&](const Transfer& transfer) {
    return transfer.taken && transfer.kind == Kind::kRead && transfer.key == key;
  });
}

PrefixStore::Transfer* PrefixStore::begin(Kind kind, uint64_t key, std::span<const TokenId> text, size_t pages,
                                          Instant now) {
  if (kind != Kind::kRead && now < write_again_at_) return nullptr;
  const auto free = std::find_if(transfers_.begin(), transfers_.end(), [](const Transfer& t) { return !t.taken; });
  // One is left for reads: writes must not keep a request waiting.
  if (free == transfers_.end() || (kind != Kind::kRead && under_way_ + 1 >= transfers_.size())) return nullptr;
  free->taken = true;
  free->kind = kind;
  free->key = key;
  free->name = prefix_file_name(options_.shape.fingerprint, key, pages);
  free->text.assign(text.begin(), text.end());
  ++under_way_;
  return &*free;
}

void PrefixStore::submit(const Transfer& transfer) {
  const auto number = static_cast<uint32_t>(&transfer - transfers_.data());
  if (!threads_->disk) {
    pending_.push_back(number);
    return;
  }
  threads_->disk->submit(
      number, transfer.kind == Kind::kRead ? os::DiskThread::Urgency::kUrgent : os::DiskThread::Urgency::kLater);
}

bool PrefixStore::start_read(uint64_t key, std::span<const TokenId> text, Instant now) {
  Transfer* const transfer = begin(Kind::kRead, key, text, text.size() / kernels::kPageTokens, now);
  if (transfer == nullptr) return false;
  submit(*transfer);
  return true;
}

bool PrefixStore::start_write(uint64_t key, std::span<const TokenId> text, const PagePool& pool,
                              std::span<const PageId> pages, Instant now) {
  INFER_CHECK(pages.size() == static_cast<size_t>(options_.shape.layers));
  Transfer* const transfer = begin(Kind::kWrite, key, text, text.size() / kernels::kPageTokens, now);
  if (transfer == nullptr) return false;
  std::vector<uint8_t> levels;
  for (const PageId page : pages) {
    levels.push_back(page == kNoPage ? kNoPageLevel : static_cast<uint8_t>(pool.level(page)));
  }
  transfer->file = begin_prefix_file(options_.shape, text, levels);
  auto* at =
      reinterpret_cast<std::byte*>(transfer->file.data()) + prefix_file_pages_offset(options_.shape, text.size());
  for (const PageId page : pages) {
    if (page != kNoPage) at += pool.copy_out(page, at);
  }
  submit(*transfer);
  return true;
}

bool PrefixStore::start_renewal(uint64_t key, size_t pages, Instant now) {
  Transfer* const transfer = begin(Kind::kRenew, key, {}, pages, now);
  if (transfer == nullptr) return false;
  submit(*transfer);
  return true;
}

std::optional<uint32_t> PrefixStore::take_done() {
  if (threads_->disk) return threads_->disk->take_done();
  if (done_.empty()) return std::nullopt;
  const uint32_t number = done_.front();
  done_.erase(done_.begin());
  return number;
}

std::optional<PrefixStore::Read> PrefixStore::take_read(Instant now) {
  if (shown_) {
    transfers_[*shown_].taken = false;
    transfers_[*shown_].view.reset();
    --under_way_;
    shown_.reset();
  }
  while (const std::optional<uint32_t> number = take_done()) {
    Transfer& transfer = transfers_[*number];
    settle(transfer, now);
    if (transfer.kind == Kind::kRead) {
      shown_ = *number;
      return Read{.key = transfer.key, .text = transfer.text, .file = transfer.view};
    }
    transfer.taken = false;
    --under_way_;
  }
  return std::nullopt;
}

void PrefixStore::settle(Transfer& transfer, Instant now) {
  counters_.removed += transfer.removed;
  counters_.bytes = transfer.bytes;
  if (!transfer.status) {
    if (transfer.kind != Kind::kWrite) known_.erase(transfer.key);
    const Error& error = transfer.status.error();
    if (error.code == ErrorCode::kCorrupt) {
      ++counters_.refused;
      if (!std::exchange(refusal_logged_, true)) {
        log_.write(LogLevel::kWarning,
                   format("a file of the prefix cache is removed and not used: {}; further ones are only counted",
                          error.message));
      }
    } else if (error.code != ErrorCode::kNotFound) {
      note_failure(error, now);
    }
    return;
  }
  if (transfer.kind == Kind::kRead) {
    ++counters_.read;
    counters_.read_bytes += transfer.file.size();
  } else if (transfer.kind == Kind::kWrite) {
    known_.insert(transfer.key);
    ++counters_.written;
    counters_.written_bytes += transfer.file.size();
    pause_ = {};
  }
}

void PrefixStore::note_failure(const Error& error, Instant now) {
  ++counters_.failed;
  if (pause_ == Duration()) {
    log_.write(LogLevel::kWarning,
               format("the prefix cache on disk rests until the disk is better: {}", error.message));
  }
  pause_ = pause_ == Duration() ? kPauseMin : std::min(kPauseMax, pause_ + pause_);
  write_again_at_ = now + pause_;
}

Status PrefixStore::wait(const CallContext& call) {
  if (under_way_ == 0 || shown_ || !threads_->disk) return {};
  return threads_->disk->wait_for_done(call);
}

bool PrefixStore::run_pending() {
  if (pending_.empty()) return false;
  const uint32_t number = pending_.front();
  pending_.erase(pending_.begin());
  disk_->run(transfers_[number]);
  done_.push_back(number);
  if (threads_->on_done) threads_->on_done();
  return true;
}

}  // namespace infer::kv
