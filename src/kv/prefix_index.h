// Finds the longest beginning of a text whose keys and values are already in memory, so that nothing is computed twice:
// neither a prompt that another request shares, nor one whose request ended early.
//
// A node is 64 tokens at one place of one text: their ids, the pages that hold them in all layers, and the node before.
// It is found by a hash chained over all tokens up to its end, seeded with the model's fingerprint, and used only when
// its token ids and the node before agree as well: a collision costs a miss, never a wrong answer. The index is one
// more user of each of its pages; they are given back, the least recently used first, when somebody needs room (evict).
// Where a layer has a window, a node may lack that layer's page; a match ends where the window would miss it, and
// before a page that left memory.
//
// With a prefix store (prefix_store.h) texts that have ended are saved to disk behind the engine's back, and pages that
// are there come back when a text wants them.
//
// With lowered pages (level_policy.h) a match has the levels that the pages have by now: within the error of the mode,
// but not bit for bit what computing the prefix again would give. At 16 bits it is. Ownership: the pool must outlive
// it. Thread safety: one thread (the engine's); hinted_pages from any.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "kernels/kernel_table.h"
#include "kv/page_pool.h"
#include "kv/prefix_store.h"
#include "kv/sequence_cache.h"

namespace infer::kv {

// How far the pages of a sequence are known to an index; kept by the sequence's owner, one per sequence.
struct PrefixCursor {
  int32_t node = -1;        // Of the last page registered.
  uint32_t generation = 0;  // Of that node; another one means that it was evicted since.
  int pages = 0;            // Registered ones, from the start.
};

struct PrefixMatch {
  int pages = 0;       // Of 64 tokens each, from the start of the text.
  int64_t in_use = 0;  // Pages of all layers among them that sequences use as well.
  int64_t unused = 0;  // Those that only the index holds.
};

class PrefixIndex {
 public:
  // fingerprint: of the model and whatever else decides what the pages hold.
  PrefixIndex(PagePool& pool, int layers, uint64_t fingerprint);
  ~PrefixIndex();
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  // What a sequence like `sequence` could take over of the whole pages at the start of `tokens`.
  PrefixMatch find(std::span<const TokenId> tokens, const SequenceCache& sequence) const;
  // Takes them over into `sequence`, which is empty; returns how many.
  int adopt(std::span<const TokenId> tokens, SequenceCache& sequence, PrefixCursor& cursor);
  // Registers the whole pages of `sequence` that are not yet: it holds the first of `tokens`. What is known already is
  // kept as it is, but for pages that left memory.
  void keep(std::span<const TokenId> tokens, const SequenceCache& sequence, PrefixCursor& cursor);

  // ---- The tier below. Without a store these do nothing.

  // The store outlives the index. Before anything was registered.
  void set_store(PrefixStore* store);
  // A text ended: its pages that are registered are to be saved, from the first on, or renewed where they are.
  void save(const PrefixCursor& cursor, Instant now);
  // Whether further pages at the start of `tokens` are on their way from the disk; starts reading them. A sequence has
  // room for `context` tokens.
  bool restore(std::span<const TokenId> tokens, int context, Instant now);
  // Takes what has arrived and starts what is to be saved, as far as that goes without waiting.
  void tend(Instant now);
  bool saving() const { return !to_save_.empty() || (store_ != nullptr && !store_->idle()); }
  uint64_t restored_pages() const { return restored_; }  // Of 64 tokens, so far.

  // Forgets nodes until `pages` pages have become free, or nothing is left; returns how many became free.
  int64_t evict(int64_t pages);
  // Pages that nobody else uses. Linear in the number of nodes.
  int64_t evictable_pages() const;

  // Appends the pages that it uses.
  void list_pages(std::vector<PageId>& into) const;

  int nodes() const { return static_cast<int>(nodes_.size() - free_.size()); }
  // About as many pages as find() would give, windows aside: a guess from any thread while the index is in use.
  int hinted_pages(std::span<const TokenId> tokens) const;

  // Whether links, order and hashes agree. For tests and simulation; linear.
  bool check_integrity() const;

 private:
  static constexpr int32_t kNone = -1;

  struct Node {
    uint64_t key = 0;
    int32_t parent = kNone;
    int32_t children = 0;
    uint32_t generation = 0;
    int32_t older = kNone, newer = kNone;  // By last use,
    uint64_t used = 0;                     // which is this on the index's own clock.
    bool taken = false;
    Instant saved_at = Instant::never();  // Or since when it waits for that; never(): not.
    std::array<TokenId, kernels::kPageTokens> tokens{};
  };

  uint64_t chain(uint64_t before, std::span<const TokenId> page) const;
  PageId& page(int32_t node, int layer) {
    return pages_[static_cast<size_t>(node) * static_cast<size_t>(layers_) + static_cast<size_t>(layer)];
  }
  PageId page(int32_t node, int layer) const {
    return pages_[static_cast<size_t>(node) * static_cast<size_t>(layers_) + static_cast<size_t>(layer)];
  }
  Node& at(int32_t node) { return nodes_[static_cast<size_t>(node)]; }
  const Node& at(int32_t node) const { return nodes_[static_cast<size_t>(node)]; }

  int32_t find_child(int32_t parent, uint64_t key, std::span<const TokenId> tokens) const;
  // The nodes of the longest known beginning, at most `pages_max` of them, into path_.
  void walk(std::span<const TokenId> tokens, size_t pages_max) const;
  int usable_pages(const SequenceCache& sequence) const;
  bool is_out_of_memory(const SequenceCache& sequence, int index) const;
  void renew(int32_t node, const SequenceCache& sequence, int index);
  bool make_room(int32_t spared);
  int32_t add(int32_t parent, uint64_t key, std::span<const TokenId> tokens, const SequenceCache& sequence, int index);
  int32_t add_node(int32_t parent, uint64_t key, std::span<const TokenId> tokens);
  int64_t remove(int32_t node);
  void take_in(const PrefixStore::Read& read, Instant now);
  bool has_pages_besides_path() const;
  bool make_pages(int32_t parent);
  bool save_next(Instant now);
  void touch(int32_t node);
  void link_newest(int32_t node);
  void unlink(int32_t node);
  bool is_shared(int32_t node) const;
  // The low bits of FNV hashes depend on the low bits of tokens alone; multiplied, the high ones depend on all.
  std::atomic<uint64_t>& hint(uint64_t key) const {
    return hints_[(key * 0x9E3779B97F4A7C15ull >> 32) & (hints_size_ - 1)];
  }

  PagePool* pool_;
  int layers_;
  uint64_t seed_;
  int nodes_max_;
  size_t hints_size_;  // A power of two.
  std::unique_ptr<std::atomic<uint64_t>[]> hints_;
  std::vector<Node> nodes_;
  std::vector<PageId> pages_;  // [nodes][layers]
  std::vector<int32_t> free_;
  std::unordered_multimap<uint64_t, int32_t> by_key_;
  int32_t oldest_ = kNone, newest_ = kNone;
  uint64_t uses_ = 0;
  mutable std::vector<int32_t> path_;

  struct ToSave {
    int32_t node;
    uint32_t generation;
  };
  PrefixStore* store_ = nullptr;
  std::deque<ToSave> to_save_;
  uint64_t restored_ = 0;
};

}  // namespace infer::kv
