// The KV cache of one sequence: for each layer a table of pages in order of position, and how many tokens are valid.
//
// A step reserves room behind length(), writes keys and values there, and commits; until then nothing of it counts, so
// that a step that was cancelled leaves the sequence as it was. Pages may be shared with other sequences (fork): who
// writes into one first gets a copy.
//
// A layer with a window keeps the pages that the next token sees, those that a token kRewindTokens before it would see,
// and those that the next token would see if the sequence ended at its mark; the others go back to the pool when tokens
// are committed. Its pages are never lowered: they are few. What levels the pages of other layers have is
// SequenceLevels' to say.
//
// Invariants: all layers have pages for the same positions, but for those that a window has passed; length() <=
// reserved() <= context(); reserved() is a whole number of pages or context(). Ownership: holds pages of the pool and
// gives them back on destruction; the pool must outlive it. Move-only. Thread safety: one thread (the engine's);
// reading page pointers inside a step from many threads is fine.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "kernels/kernel_table.h"
#include "kv/level_policy.h"
#include "kv/page_pool.h"
#include "kv/sequence_levels.h"

namespace infer::kv {

inline constexpr int kPageTokens = kernels::kPageTokens;

// As many tokens as this can be taken back from the end of a sequence that grew.
inline constexpr int kRewindTokens = 64;

// The most pages that a layer holds whose tokens see `window` tokens (0: all), for a context appended to in steps of at
// most `step` tokens.
int layer_pages_max(int window, int context, int step);

class SequenceCache {
 public:
  // Room for the page tables of `context` tokens is allocated here, so that no later call allocates. windows: of each
  // layer, 0: none. levels: for policies other than to leave everything at 16 bits; outlives the sequence.
  SequenceCache(PagePool& pool, std::span<const int> windows, int context, const LevelModel* levels = nullptr);
  SequenceCache(SequenceCache&& other) noexcept;
  SequenceCache& operator=(SequenceCache&& other) noexcept;
  ~SequenceCache();

  int layers() const { return static_cast<int>(layers_.size()); }
  int context() const { return context_; }
  int length() const { return length_; }  // Committed tokens.
  int reserved() const;                   // Tokens that fit into the pages held.

  // Makes room for `tokens` more after length(). kInvalidArgument past the context, kExhausted when the pool has too
  // few pages; either way nothing changed.
  Status reserve(int tokens);
  // The `tokens` after length() are written: they count from now on. They were reserved.
  void commit(int tokens);
  // Whether the next token would be written into a page that others hold too, so that reserve() takes a copy of it in
  // each layer.
  bool last_page_is_shared() const;
  // Gives back what was reserved and not committed.
  void release_reserved();
  // Forgets the tokens from `length` on and gives back the pages that held nothing else. 0 <= length <= length(), and
  // can_truncate(length). Nothing can be written into a page that was lowered, or that others may lower: where `length`
  // is inside one, and is not the mark, the page's start becomes the length. Returns the new length.
  int truncate(int length);
  // Whether what the windows keep allows it: always to 0, to the mark and to the last kRewindTokens; to any length
  // where no layer has a window.
  bool can_truncate(int length) const;
  // The sequence can be truncated to its present length from now on, and no more to the mark before.
  void set_mark();

  // A sequence with the same committed tokens in the same pages, and without a mark.
  SequenceCache fork() const;
  // Takes over 64 more tokens that lie in others' pages: one page per layer, kNoPage where the layer's window has
  // passed it by the time the sequence goes on. length() is a whole number of pages and nothing is reserved behind it.
  void append_shared(std::span<const PageId> pages);
  // The first page that the token behind `length` sees in a layer.
  int first_visible_page(int layer, int length) const {
    return first_page(layers_[static_cast<size_t>(layer)], length);
  }

  // The pages of a layer in order of position; page i holds tokens 64i .. 64i+63. kNoPage where a window has passed.
  std::span<const PageId> pages(int layer) const;
  kernels::AttentionPage part(int layer, int index, int kv_head) const {
    return pool_->part(pages(layer)[static_cast<size_t>(index)], kv_head);
  }
  kernels::PartStride part_stride() const { return pool_->part_stride(); }
  bool holds_floats() const { return pool_->shape().floats; }
  std::byte* writable_part(int layer, int index, int kv_head) {
    return pool_->writable_part(pages(layer)[static_cast<size_t>(index)], kv_head);
  }
  Level level(int layer, int index) const { return pool_->level(pages(layer)[static_cast<size_t>(index)]); }

  // What levels pages shall have, from the next apply_policy on, which moves them. Between steps.
  LevelPolicy policy() const { return levels_ ? levels_->policy() : LevelPolicy{}; }
  // Without a level model only the mode that lowers nothing.
  void set_policy(const LevelPolicy& policy);
  void apply_policy(const kernels::KernelTable& kernels, Instant now);
  // Null: nobody wants to know.
  PageAttention* attention() { return levels_ ? levels_->attention() : nullptr; }
  SequenceLevels* levels() { return levels_.get(); }
  const SequenceLevels* levels() const { return levels_.get(); }
  // Of a page out of memory.
  const std::byte* digest(int layer, int index, int kv_head) const {
    return pool_->digest(pages(layer)[static_cast<size_t>(index)], kv_head);
  }

  // How many pages of a layer, or of all, are at each level.
  std::array<int, kLevelCount> pages_at_levels(int layer) const;
  std::array<int, kLevelCount> pages_at_levels() const;
  int64_t pages_held() const { return pages_held_; }  // By all layers, shared ones too.
  // Bytes of the pages held, and what as many pages would take in F16.
  uint64_t kv_bytes() const;
  uint64_t kv_bytes_f16() const;

 private:
  struct Layer {
    int window;
    int looked_at;  // Pages before this one are null or kept for the mark.
  };

  PageId& page(size_t layer, int index) {
    return tables_[layer * static_cast<size_t>(pages_for_tokens(context_)) + static_cast<size_t>(index)];
  }
  // The first page that the token after `length` sees.
  static int first_page(const Layer& layer, int length);
  void pin_mark(bool pin);
  void copy_last_pages();
  void give_back_pages(int pages_kept);
  void leave_windows();

  PagePool* pool_;
  std::vector<Layer> layers_;
  int context_;
  int length_ = 0;
  int mark_ = 0;
  std::unique_ptr<SequenceLevels> levels_;
  int pages_end_ = 0;           // Of every layer's table.
  int64_t pages_held_ = 0;      // By all layers.
  std::vector<PageId> tables_;  // [layers][pages for context]
};

}  // namespace infer::kv
