// Pages of KV cache: each holds the keys and values of 64 tokens of one layer, for all its KV heads, at one of three
// levels (kernels::AttentionPage), and belongs to one or more sequences.
//
// A page starts at 16 bits, where tokens are written. Once all 64 are, it may be lowered: to 8 bits (two planes), to 4
// (one plane). What a level no longer needs is given back to the system at once. Inside a slab, KV head h lies at
// h * (bytes of one head).
//
// Invariants (check_integrity): a page has users or is free, and has exactly the slabs of its level.
// Ownership: the pool must outlive everything that holds a page. Thread safety: one thread (the engine's); parts() from
// any while nothing changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "kernels/kernel_table.h"
#include "kv/slab_store.h"

namespace infer::kv {

enum class Level : uint8_t { k16, k8, k4 };

// The shape of one layer's keys and values.
struct PageShape {
  int kv_heads;
  int head_dim;

  size_t page_bytes(Level level) const;
  size_t page_bytes_f16() const;  // What they would take as IEEE halves, without scales.
};

int pages_for_tokens(int tokens);
// What `tokens` of one sequence take in `layers` layers at 16 bits: whole pages.
uint64_t cache_bytes(const PageShape& shape, int layers, int tokens);

using PageId = int32_t;
inline constexpr PageId kNoPage = -1;

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

  // A page of 16 bits with one user and undefined content, or kNoPage when all are taken.
  PageId take();
  // One more user, who reads only.
  void share(PageId page);
  // One user less; the last one frees the page.
  void give_back(PageId page);
  int users(PageId page) const { return at(page).users; }

  Level level(PageId page) const { return at(page).level; }
  // The page's part of one KV head.
  kernels::AttentionPage part(PageId page, int kv_head) const;
  // Where tokens are written: the page is at 16 bits.
  std::byte* writable_part(PageId page, int kv_head);
  // To a lower level than the page has, for all its users. All 64 tokens are written.
  void lower(PageId page, Level level, const kernels::KernelTable& kernels);

  // True when the invariants hold. For tests and simulation; linear in the number of pages.
  bool check_integrity() const;

 private:
  struct Page {
    std::byte* full = nullptr;
    std::byte* high = nullptr;
    std::byte* low = nullptr;
    int users = 0;
    Level level = Level::k16;
  };

  PagePool(const PageShape& shape, int pages_max, SlabStore full, SlabStore high, SlabStore low);
  Page& at(PageId page);
  const Page& at(PageId page) const;
  static void drop(SlabStore& store, std::byte*& slab);

  PageShape shape_;
  SlabStore full_, high_, low_;  // As many slabs each as there are pages, so that a page never lacks one.
  std::vector<Page> pages_;
  std::vector<PageId> free_;  // A stack.
};

}  // namespace infer::kv
