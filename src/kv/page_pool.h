// Pages of KV cache: each holds the keys and values of 64 tokens of one layer, for all its KV heads, in 16-bit codes.
//
// Inside a page, KV head h lies at h * head_bytes(), laid out as the attention kernels read it
// (kernels::AttentionArgs).
//
// Invariants (check_integrity tests them):
//  1. Every page is either free or taken, never both; free_pages() + taken_pages() == pages_max().
//  2. A page's address never changes, and no two pages overlap.
// Memory: the address space of all pages is reserved once; a page costs memory from its first use on. The page
// given back last is taken next, so that what is in use stays compact.
// Ownership: the pool must outlive everything that holds a page. Thread safety: one thread (the engine's).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "os/page_memory.h"

namespace infer::kv {

// The shape of one layer's keys and values.
struct PageShape {
  int kv_heads;
  int head_dim;

  size_t head_bytes() const;  // Keys and values of one KV head in a page.
  size_t page_bytes() const;
  size_t page_bytes_f16() const;  // What they would take as IEEE halves, without scales.
};

int pages_for_tokens(int tokens);
// What `tokens` of one sequence take in `layers` layers: whole pages.
uint64_t cache_bytes(const PageShape& shape, int layers, int tokens);

class PagePool {
 public:
  // kInvalidArgument on a shape that the kernels do not serve; kExhausted when the system refuses the address space.
  static Result<std::unique_ptr<PagePool>> make(const PageShape& shape, int pages_max);

  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  const PageShape& shape() const { return shape_; }
  int pages_max() const { return static_cast<int>(taken_.size()); }
  int free_pages() const { return static_cast<int>(free_.size()); }
  int taken_pages() const { return pages_max() - free_pages(); }

  // A page with undefined content (finite or not), or nullptr when all are taken.
  std::byte* take();
  // `page` came from take() and was not given back since.
  void give_back(std::byte* page);

  // True when the invariants hold. For tests and simulation; linear in the number of pages.
  bool check_integrity() const;

 private:
  PagePool(const PageShape& shape, int pages_max, os::PageMemory memory);
  size_t index_of(const std::byte* page) const;

  PageShape shape_;
  os::PageMemory memory_;
  std::vector<int> free_;       // A stack; the next page to take is at the back.
  std::vector<uint8_t> taken_;  // By page index.
};

}  // namespace infer::kv
