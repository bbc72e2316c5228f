// How much attention the pages of one sequence get, as attention itself says it (kernels::PageShare), and the last
// queries, to try out what lowering a page would change.
//
// Every kEvery-th token is observed, by its position, so that what is known does not depend on who else is in a step.
// Within a step, threads add up what they observe; between steps it is folded into moving averages.
// Invariants: sums are integers, so that the order in which threads add does not matter. Ownership: its own memory,
// none allocated after construction. Thread safety: tally() and put() from many threads within a step, for different
// slots in put; everything else from one thread, between steps.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/kernel_table.h"

namespace infer::kv {

// Of one page in one layer; 0 to 1. Averages over heads and tokens that could see the whole page.
struct PageStats {
  float mass = 0;       // Part of the attention that the page gets.
  float frequency = 0;  // Of the heads, those to which the page is more than an average page.
  float relevance = 0;  // How near its best token comes to the best of all: 2^(score - greatest score).
  int64_t rows = 0;     // Heads times tokens observed; 0: nothing is known, and the rest is 0.
};

// What one KV head's rows of a step gave to a page.
struct PageObservation {
  double mass = 0;
  double relevance = 0;
  int frequent = 0;  // Rows to which the page was more than an average one.
  int rows = 0;
};

// One observed row, once all its pages are known: its greatest score and the sum over all pages (AttentionArgs), and
// how many pages it saw.
struct RowTotal {
  float max;
  float sum;
  int pages;
};

class PageAttention {
 public:
  static constexpr int kEvery = 8;
  static constexpr int kSlots = 4;  // Tokens whose queries are kept for each layer.

  // The shape of the queries of one KV head.
  struct Queries {
    int kv_heads;
    int group;  // Heads that share a KV head.
    int head_dim;
    bool floats = false;  // The pages are in floats: queries are kept so besides their codes.
  };

  PageAttention(int layers, int pages, const Queries& shape);
  // A copy for a forked sequence: averages and queries, no tallies.
  PageAttention(const PageAttention& other);

  static bool observes(int position) { return position % kEvery == kEvery - 1; }
  const Queries& shape() const { return shape_; }

  // Adds what a row gave to a page; `whole`: it could see all of the page's tokens.
  static void observe(const kernels::PageShare& share, const RowTotal& row, PageObservation* sum);
  void tally(int layer, int page, const PageObservation& sum);

  // Keeps a head's query of the token at `position` (observed, one of the last kSlots such of its step): its codes
  // [query_row_bytes], itself as it was rotated [head_dim] and, by AttentionArgs, its sum of weighted values
  // [head_dim], max and sum over all pages. member: which of the heads that share the KV head.
  void put(int layer, int kv_head, int member, int position, const std::byte* codes, const float* query,
           const float* out, float max, float sum);
  // Those kept: rows [kSlots][group] of one KV head. A slot that was never filled has position -1.
  std::span<const std::byte> codes(int layer, int kv_head) const;
  const float* queries(int layer, int kv_head) const;  // Null where pages are not in floats.
  const float* out(int layer, int kv_head) const;
  const float* max(int layer, int kv_head) const;
  const float* sum(int layer, int kv_head) const;
  int position(int layer, int slot) const { return positions_[static_cast<size_t>(layer * kSlots + slot)]; }

  // The step was committed: what it observed of the first `pages` pages joins the averages.
  void fold(int pages);
  // It was not.
  void discard() { fold_into(nullptr, pages_); }
  // Pages from this one on hold other tokens from now on.
  void forget_from(int page);

  PageStats stats(int layer, int page) const;
  // Part of the attention of one token that the page got, of the tokens that the last fold() brought and that could see
  // all of it; and of how many of them: 0 where it brought none.
  double latest_mass(int layer, int page) const { return static_cast<double>(averages_[at(layer, page)].latest_mass); }
  int latest_tokens() const { return latest_tokens_; }

 private:
  // In units so small that the sums of millions of rows fit.
  struct Tally {
    std::atomic<int64_t> mass{0};
    std::atomic<int64_t> relevance{0};
    std::atomic<int64_t> frequent{0};
    std::atomic<int64_t> rows{0};
  };
  struct Average {
    float mass = 0;
    float frequency = 0;
    float relevance = 0;
    int64_t rows = 0;
    float latest_mass = 0;
  };

  void fold_into(Average* averages, int pages);
  size_t at(int layer, int page) const {
    return static_cast<size_t>(layer) * static_cast<size_t>(pages_) + static_cast<size_t>(page);
  }
  size_t head_at(int layer, int kv_head) const {
    return static_cast<size_t>(layer) * static_cast<size_t>(shape_.kv_heads) + static_cast<size_t>(kv_head);
  }
  size_t rows_per_head() const { return static_cast<size_t>(kSlots) * static_cast<size_t>(shape_.group); }

  int layers_;
  int pages_;
  Queries shape_;
  std::atomic<bool> tallied_{false};  // Since the last fold.
  std::unique_ptr<Tally[]> tallies_;  // [layers][pages]
  std::vector<Average> averages_;     // The same.
  int latest_tokens_ = 0;
  std::vector<std::byte> codes_;  // [layers][kv_heads][kSlots][group][query_row_bytes]
  std::vector<float> queries_;    // [layers][kv_heads][kSlots][group][head_dim], or nothing.
  std::vector<float> out_;        // [layers][kv_heads][kSlots][group][head_dim]
  std::vector<float> max_, sum_;  // [layers][kv_heads][kSlots][group]
  std::vector<int> positions_;    // [layers][kSlots]
};

}  // namespace infer::kv
