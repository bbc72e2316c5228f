// The merge loop that BPE and SPM share: a word is a row of symbols, and of all neighbours that merge the pair of the
// lowest priority value, the leftmost of equals, becomes one symbol, until no pair merges.
//
// Two ways with the same result: short words by scanning (no allocation), long ones with a heap over a linked list in
// O(n log n). Memory: about 50 bytes per symbol of the longest word. Thread safety: one object per thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace infer::tokenizer {

struct Symbol {
  uint32_t begin;  // In the word.
  uint32_t size;   // In bytes.
  TokenId id;      // kNoToken: a character that is no token.
};

struct Merge {
  uint32_t priority;  // Below UINT32_MAX.
  TokenId id;         // The token that the two become; kNoToken when they do not merge.
};

inline constexpr size_t kScannedSymbols = 64;

class SymbolMerger {
 public:
  // Lookup: Merge(const Symbol& left, const Symbol& right); its prefetch(left, right), if it has one, is called some
  // time before. `symbols` becomes what is left.
  template <class Lookup>
  void merge(std::vector<Symbol>& symbols, const Lookup& lookup) {
    if (symbols.size() <= kScannedSymbols) {
      merge_by_scan(symbols, lookup);
    } else {
      merge_by_heap(symbols, lookup);
    }
  }

  template <class Lookup>
  static void merge_by_scan(std::vector<Symbol>& symbols, const Lookup& lookup);
  template <class Lookup>
  void merge_by_heap(std::vector<Symbol>& symbols, const Lookup& lookup);

 private:
  static constexpr uint32_t kEnd = UINT32_MAX;
  static constexpr uint32_t kNever = UINT32_MAX;

  struct Links {
    uint32_t previous;
    uint32_t next;
  };
  struct Candidate {
    uint64_t order;  // Priority, then the index of the left symbol.
    uint32_t size;   // Of both symbols together when it was found: another size now means that one has changed.
    TokenId id;

    bool operator<(const Candidate& other) const { return order > other.order; }  // std heaps put the largest on top.
  };

  template <class Lookup>
  static void prefetch(const Lookup& lookup, const Symbol& left, const Symbol& right) {
    if constexpr (requires { lookup.prefetch(left, right); }) lookup.prefetch(left, right);
  }
  template <class Lookup>
  void add_candidate(const std::vector<Symbol>& symbols, uint32_t left, uint32_t right, const Lookup& lookup) {
    if (left == kEnd || right == kEnd) return;
    const Merge found = lookup(symbols[left], symbols[right]);
    if (found.id == kNoToken) return;
    heap_.push_back({uint64_t{found.priority} << 32 | left, symbols[left].size + symbols[right].size, found.id});
  }

  std::vector<Links> links_;
  std::vector<Candidate> heap_;
};

template <class Lookup>
void SymbolMerger::merge_by_scan(std::vector<Symbol>& symbols, const Lookup& lookup) {
  // Of symbols i and i + 1: the priority of their merge, and what they become.
  uint32_t priorities[kScannedSymbols];
  TokenId results[kScannedSymbols];
  const auto look_up = [&](size_t i) {
    const Merge merge = lookup(symbols[i], symbols[i + 1]);
    priorities[i] = merge.id == kNoToken ? kNever : merge.priority;
    results[i] = merge.id;
  };
  size_t count = symbols.size();
  for (size_t i = 0; i + 1 < count; ++i) prefetch(lookup, symbols[i], symbols[i + 1]);
  for (size_t i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    // The lowest priority, then the leftmost, as one number: nothing here for a branch predictor to get wrong.
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i + 1 < count; ++i) first = std::min(first, uint64_t{priorities[i]} << 32 | i);
    if (first >> 32 == kNever) break;
    const auto best = static_cast<size_t>(first & UINT32_MAX);
    symbols[best].size += symbols[best + 1].size;
    symbols[best].id = results[best];
    if (best > 0) prefetch(lookup, symbols[best - 1], symbols[best]);
    if (best + 2 < count) prefetch(lookup, symbols[best], symbols[best + 2]);
    for (size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      priorities[i] = priorities[i + 1];
      results[i] = results[i + 1];
    }
    --count;
    if (best > 0) look_up(best - 1);
    if (best + 1 < count) look_up(best);
  }
  symbols.resize(count);
}

template <class Lookup>
void SymbolMerger::merge_by_heap(std::vector<Symbol>& symbols, const Lookup& lookup) {
  const auto count = static_cast<uint32_t>(symbols.size());
  links_.resize(count);
  heap_.clear();
  for (uint32_t i = 0; i + 1 < count; ++i) prefetch(lookup, symbols[i], symbols[i + 1]);
  for (uint32_t i = 0; i < count; ++i) {
    links_[i] = {i == 0 ? kEnd : i - 1, i + 1 == count ? kEnd : i + 1};
    add_candidate(symbols, i, links_[i].next, lookup);
  }
  std::make_heap(heap_.begin(), heap_.end());
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end());
    const Candidate candidate = heap_.back();
    heap_.pop_back();
    const auto left = static_cast<uint32_t>(candidate.order);
    const uint32_t right = links_[left].next;
    // A symbol that was merged into its left neighbour has size 0; sizes only grow otherwise.
    if (symbols[left].size == 0 || right == kEnd || symbols[left].size + symbols[right].size != candidate.size)
      continue;
    symbols[left].size = candidate.size;
    symbols[left].id = candidate.id;
    symbols[right].size = 0;
    links_[left].next = links_[right].next;
    if (links_[left].next != kEnd) {
      links_[links_[left].next].previous = left;
      prefetch(lookup, symbols[left], symbols[links_[left].next]);
    }
    for (const uint32_t changed : {links_[left].previous, left}) {
      if (changed == kEnd) continue;
      const size_t before = heap_.size();
      add_candidate(symbols, changed, links_[changed].next, lookup);
      if (heap_.size() > before) std::push_heap(heap_.begin(), heap_.end());
    }
  }
  symbols.erase(std::remove_if(symbols.begin(), symbols.end(), [](const Symbol& s) { return s.size == 0; }),
                symbols.end());
}

}  // namespace infer::tokenizer
