// The prefix index's second tier: pages of texts in files of one folder, so that a restart does not lose them.
//
// Whoever owns it never waits for the disk: pages are copied into a buffer and written behind, reads are asked for and
// taken when they are there. A thread of its own does the rest (os/disk_thread.h): checksums, files, and room within
// the limit, for which the files unused for longest are removed, of about as long the deepest in their texts first, so
// that no text loses its beginning before its end.
//
// A file that is damaged, foreign or of another text is counted, logged once, removed and never used; a disk that is
// full or fails is left alone for a while, longer each time. Several processes may use one folder at once.
// Ownership: borrows the log. Thread safety: one thread (the engine's).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/call_context.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/result.h"
#include "base/time.h"
#include "kv/page_pool.h"
#include "kv/prefix_file.h"
#include "os/file_folder.h"

namespace infer::kv {

struct PrefixStoreOptions {
  PrefixFileShape shape{};
  uint64_t limit_bytes = uint64_t{4} << 30;  // Of all files in the folder, those of other models too.
  // For simulation: no thread is started, run_pending() does its work.
  bool threaded = true;
};

// Since the store was opened.
struct PrefixStoreCounters {
  uint64_t written = 0, written_bytes = 0;  // Files.
  uint64_t read = 0, read_bytes = 0;        // Those that were good.
  uint64_t refused = 0;                     // Damaged, foreign, or of another text.
  uint64_t failed = 0;                      // Errors of the disk, a full one among them.
  uint64_t removed = 0;                     // For lack of room.
  uint64_t bytes = 0;                       // Of all files, as far as this process knows.
};

class PrefixStore {
 public:
  // Lists the folder; what other models left in it counts for the limit. kExhausted without a thread; kIo.
  static Result<std::unique_ptr<PrefixStore>> open(std::unique_ptr<os::FileFolder> folder,
                                                   const PrefixStoreOptions& options, Log& log);
  ~PrefixStore();
  PrefixStore(const PrefixStore&) = delete;
  PrefixStore& operator=(const PrefixStore&) = delete;

  // Called when something is done, from the store's thread. Before the first start_*.
  void set_on_done(std::function<void()> on_done);

  // Whether a file of this key is thought to be there. Keys: those of PrefixIndex, chained over the text.
  bool knows(uint64_t key) const { return known_.contains(key); }
  const std::unordered_set<uint64_t>& known() const { return known_; }
  bool is_reading(uint64_t key) const;

  // These start something, or do nothing and return false: too much is under way, or the disk failed a moment ago.
  // text: all tokens up to the end of the page. pages: one per layer, kNoPage for none; copied before it returns.
  bool start_read(uint64_t key, std::span<const TokenId> text, Instant now);
  bool start_write(uint64_t key, std::span<const TokenId> text, const PagePool& pool, std::span<const PageId> pages,
                   Instant now);
  // Makes the file young again, since its text is in use.
  bool start_renewal(uint64_t key, size_t pages, Instant now);

  // A read that has ended, whatever became of it; valid until the next call.
  struct Read {
    uint64_t key = 0;
    std::span<const TokenId> text;
    std::optional<PrefixFileView> file;  // Nothing: it is not there, or not good.
  };
  // What ended since, one after the other; nullopt: nothing more by now.
  std::optional<Read> take_read(Instant now);

  bool idle() const { return under_way_ == 0; }
  // How many are under way at most.
  size_t transfers_max() const { return transfers_.size(); }
  // Waits for one that is under way to end.
  Status wait(const CallContext& call);
  const PrefixStoreCounters& counters() const { return counters_; }

  // What the thread would do, where there is none. Returns whether there was something.
  bool run_pending();
  bool has_pending() const { return !pending_.empty(); }

 private:
  enum class Kind : uint8_t { kRead, kWrite, kRenew };
  struct Transfer {
    Kind kind = Kind::kRead;
    bool taken = false;
    uint64_t key = 0;
    std::string name;
    std::vector<TokenId> text;
    std::string file;
    // How it ended.
    Status status;
    std::optional<PrefixFileView> view;
    uint64_t removed = 0;  // Files, for its sake.
    uint64_t bytes = 0;    // In the folder, as counted then.
  };
  struct Disk;
  struct Threads;

  PrefixStore(std::unique_ptr<os::FileFolder> folder, const PrefixStoreOptions& options, Log& log);
  Status list();
  Transfer* begin(Kind kind, uint64_t key, std::span<const TokenId> text, size_t pages, Instant now);
  void submit(const Transfer& transfer);
  std::optional<uint32_t> take_done();
  void settle(Transfer& transfer, Instant now);
  void note_failure(const Error& error, Instant now);

  PrefixStoreOptions options_;
  Log& log_;
  std::unordered_set<uint64_t> known_;
  std::vector<Transfer> transfers_;
  size_t under_way_ = 0;
  std::optional<uint32_t> shown_;  // The read that take_read() gave last.
  PrefixStoreCounters counters_;
  bool refusal_logged_ = false;
  Instant write_again_at_;
  Duration pause_;                 // Before the next write after a failure; zero: the disk is well.
  std::vector<uint32_t> pending_;  // Without a thread.
  std::vector<uint32_t> done_;
  std::unique_ptr<Disk> disk_;  // What the thread works on: it outlives
  std::unique_ptr<Threads> threads_;
};

}  // namespace infer::kv
