// Pages of KV cache: each holds the keys and values of 64 tokens of one layer, for all its KV heads, at one of four
// levels (kernels::AttentionPage), and belongs to one or more sequences.
//
// A page starts at 16 bits, or in floats where the pool's shape says so: this is the level k16 of such a pool, and
// nothing else of it differs. There tokens are written. Once all 64 are, it may be moved: to 8 bits (two planes), to 4
// (the high plane), out of memory. What a level no longer needs is given back to the system at once. With a spill store
// a plane that leaves memory goes to the disk first, and comes back from there bit for bit when the page is moved up
// again; without one, or while its disk is full or fails, a low plane is dropped for good, and nothing is evicted
// unless the caller says that the page may be lost. Moves that need the disk end later, in poll(); until then the page
// keeps the level that it has. Inside a slab, KV head h lies at h * (bytes of one head).
//
// Invariants (check_integrity): a page has users or is free, and has exactly the slabs of its level and of its move.
// Ownership: the pool must outlive everything that holds a page. Thread safety: one thread (the engine's); parts() from
// any while nothing changes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "kernels/kernel_table.h"
#include "kernels/panels.h"
#include "kv/slab_store.h"
#include "kv/spill_store.h"

namespace infer::kv {

enum class Level : uint8_t { k16, k8, k4, kEvicted };
inline constexpr int kLevelCount = 4;

// The shape of one layer's keys and values.
struct PageShape {
  int kv_heads;
  int head_dim;
  bool floats = false;  // What is not lowered is kept in 32 bits instead of 16.

  size_t page_bytes(Level level) const;  // Out of memory: what is kept to know it by.
  size_t page_bytes_f16() const;         // What they would take as IEEE halves, without scales.
};

int pages_for_tokens(int tokens);
// What `tokens` of one sequence take in `layers` layers at 16 bits: whole pages.
uint64_t cache_bytes(const PageShape& shape, int layers, int tokens);

using PageId = int32_t;
inline constexpr PageId kNoPage = -1;

// What happened to pages since the pool was made.
struct PoolCounters {
  uint64_t lowered = 0;         // Moves to a lower level that stays in memory.
  uint64_t raised = 0;          // Moves up.
  uint64_t evicted = 0;         // Moves out of memory,
  uint64_t recalled = 0;        // and back.
  uint64_t planes_dropped = 0;  // Low planes that no disk took: 4 bits are for good.
  uint64_t pages_lost = 0;      // Pages whose only copy was dropped, or could not be read.
};

class PagePool {
 public:
  // kInvalidArgument on a shape that the kernels do not serve; kExhausted when the system refuses the address space.
  static Result<std::unique_ptr<PagePool>> make(const PageShape& shape, int pages_max);

  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  const PageShape& shape() const { return shape_; }
  int pages_max() const { return static_cast<int>(pages_.size()); }
  int free_pages() const { return static_cast<int>(free_.size()); }
  int taken_pages() const { return pages_max() - free_pages(); }
  uint64_t bytes() const;  // Of all slabs taken.
  // How many of the taken pages are at each level.
  const std::array<int, kLevelCount>& pages_at_levels() const { return at_levels_; }

  // A page with one user and undefined content, or kNoPage when all are taken. Not out of memory; below 16 bits its
  // content has to be copied in.
  PageId take(Level level = Level::k16);
  // One more user, who reads only.
  void share(PageId page);
  // One user less; the last one frees the page.
  void give_back(PageId page);
  int users(PageId page) const { return at(page).users; }
  // Of a user that keeps the page for others and does not read it itself (kv/prefix_index.h): it does not stand in the
  // way of moving the page.
  void keep(PageId page);
  void stop_keeping(PageId page);
  // Users that read it.
  int readers(PageId page) const { return at(page).users - at(page).keepers; }

  Level level(PageId page) const { return at(page).level; }
  // The page's part of one KV head.
  kernels::AttentionPage part(PageId page, int kv_head) const;
  // Heads' parts lie behind each other.
  kernels::PartStride part_stride() const {
    return {.full = kernels::kv_page_bytes(shape_.head_dim),
            .high = kernels::kv_high_bytes(shape_.head_dim),
            .low = kernels::kv_low_bytes(shape_.head_dim),
            .floats = kernels::kv_float_page_bytes(shape_.head_dim)};
  }
  // Where tokens are written, as the shape says: the page is at k16.
  std::byte* writable_part(PageId page, int kv_head);
  // Where planes go that leave memory; null: nowhere. Before any page was moved; the store outlives the pool.
  void set_spill(SpillStore* spill) { spill_ = spill; }
  const SpillStore* spill() const { return spill_; }

  // The content of a page in memory, of shape().page_bytes(level) bytes, to or from elsewhere; returns how many.
  size_t copy_out(PageId page, std::byte* to) const;
  size_t copy_in(PageId page, const std::byte* from);

  bool has_planes(PageId page) const { return at(page).high != nullptr; }
  // Whether planes can leave memory and be had again.
  bool disk_is_good() const;
  // The planes of a page at 16 bits whose 64 tokens are all written; it stays at 16 bits until it is moved.
  void make_planes(PageId page, const kernels::KernelTable& kernels);
  // Keeps a page from being moved, for a sequence that may come back to write into it; as often as unpinned.
  void pin(PageId page) { ++at(page).pins; }
  void unpin(PageId page) { --at(page).pins; }
  // Before tokens are written into a page at 16 bits that was full once.
  void drop_planes(PageId page);
  // The page's part of one KV head at a level that it has the slabs of, whatever level it is at.
  kernels::AttentionPage part_at(PageId page, int kv_head, Level level) const;
  // The highest level that the page can have again.
  Level highest(PageId page) const;
  bool is_moving(PageId page) const { return at(page).ticket.has_value(); }
  // One level nearer to `level` for all its users, at once or by way of the disk; nothing when it is there, is moving
  // or pinned, or cannot be moved now. From 16 bits the page has its planes. may_lose: of a page that shall leave
  // memory, the last copy may be dropped where no disk takes it.
  void move(PageId page, Level level, bool may_lose, Instant now);
  // Of a page out of memory: what bounds its scores (kv/page_digest.h).
  const std::byte* digest(PageId page, int kv_head) const;
  // Ends the moves whose transfers are done.
  void poll(Instant now);
  const PoolCounters& counters() const { return counters_; }

  // True when the invariants hold. For tests and simulation; linear in the number of pages.
  bool check_integrity() const;

 private:
  struct Page {
    std::byte* full = nullptr;
    std::byte* high = nullptr;
    std::byte* low = nullptr;
    std::byte* digest = nullptr;         // Of a page out of memory.
    std::optional<SpillSlot> high_slot;  // Copies on the disk.
    std::optional<SpillSlot> low_slot;
    std::optional<SpillTicket> ticket;  // Of the transfer that the page waits for.
    int users = 0;
    int keepers = 0;  // Of the users.
    int pins = 0;
    Level level = Level::k16;
  };
  // Which plane of which page a transfer is for.
  static uint64_t tag_of(PageId page, bool high) { return static_cast<uint64_t>(page) * 2 + (high ? 1 : 0); }

  PagePool(const PageShape& shape, int pages_max, SlabStore full, SlabStore high, SlabStore low, SlabStore digests);
  Page& at(PageId page);
  const Page& at(PageId page) const;
  void set_level(Page& page, Level level);
  // One head's, of a page at k16.
  size_t whole_part_bytes() const { return full_.slab_bytes() / static_cast<size_t>(shape_.kv_heads); }
  static void drop(SlabStore& store, std::byte*& slab);
  void drop_copy(std::optional<SpillSlot>& slot);
  void leave(PageId id, bool high, bool may_lose, Instant now);
  void end_leaving(Page& page, bool high);
  void come_back(PageId id, bool high);
  void end_transfer(const SpillCompletion& done);

  PageShape shape_;
  SlabStore full_, high_, low_, digests_;  // As many slabs each as there are pages, so that a page never lacks one.
  std::vector<Page> pages_;
  std::vector<PageId> free_;  // A stack.
  std::array<int, kLevelCount> at_levels_{};
  SpillStore* spill_ = nullptr;
  PoolCounters counters_;
};

}  // namespace infer::kv
