// The KV cache of one sequence: for each layer a table of pages in order of position, and how many tokens are valid.
//
// A step reserves room behind length(), writes keys and values there, and commits; until then nothing of it counts, so
// that a step that was cancelled leaves the sequence as it was.
//
// Invariants: all layers hold the same number of pages; length() <= reserved() <= context(); reserved() is a whole
// number of pages or context(). Ownership: holds pages of the pool and gives them back on destruction; the pool must
// outlive it. Move-only. Thread safety: one thread (the engine's); reading page pointers inside a step from many
// threads is fine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "kv/page_pool.h"

namespace infer::kv {

class SequenceCache {
 public:
  // Room for the page tables of `context` tokens is allocated here, so that no later call allocates.
  SequenceCache(PagePool& pool, int layers, int context);
  SequenceCache(SequenceCache&& other) noexcept;
  SequenceCache& operator=(SequenceCache&& other) noexcept;
  ~SequenceCache();

  int layers() const { return layers_; }
  int context() const { return context_; }
  int length() const { return length_; }  // Committed tokens.
  int reserved() const;                   // Tokens that fit into the pages held.

  // Makes room for `tokens` more after length(). kInvalidArgument past the context, kExhausted when the pool has too
  // few pages; either way nothing changed.
  Status reserve(int tokens);
  // The `tokens` after length() are written: they count from now on. They were reserved.
  void commit(int tokens);
  // Forgets the tokens from `length` on and gives back the pages that held nothing else. 0 <= length <= length().
  void truncate(int length);

  // The pages of a layer in order of position; page i holds tokens 64i .. 64i+63.
  std::span<std::byte* const> pages(int layer) const;

  // Bytes of the pages held, and what as many pages would take in F16.
  uint64_t kv_bytes() const;
  uint64_t kv_bytes_f16() const;

 private:
  void give_back_pages(int pages_kept);

  PagePool* pool_;
  int layers_;
  int context_;
  int length_ = 0;
  int pages_held_ = 0;              // Per layer.
  std::vector<std::byte*> tables_;  // [layers][pages for context]
};

}  // namespace infer::kv
