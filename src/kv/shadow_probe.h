// What lowering a page would change, tried out on the last queries of its layer instead of guessed.
//
// For each query kept by PageAttention whose token sees some of the page: the attention output with the page as it is,
// and with the page at another level. Energies are |o' - o|^2 of the change and |o|^2 of the output, summed over heads
// and queries. To first order in the change: with each page's part of a row (out, max, sum by AttentionArgs) scaled to
// the row's own greatest score, o' - o = ((out' - out) - o * (sum' - sum)) / (sum of all + sum' - sum). The change
// grows with the square of the part of the attention that the page gets; change / attention is what a level costs a
// page that would get all of it. Ownership: its buffers; none allocated after construction. Thread safety: one thread.
#pragma once

#include <vector>

#include "kernels/kernel_table.h"
#include "kv/page_attention.h"

namespace infer::kv {

// The parts of a page for one KV head at two levels.
struct PageVersions {
  kernels::AttentionPage before;
  kernels::AttentionPage after;  // Without any part: the page out of memory.
};

// Energies added up over rows.
struct ProbeSum {
  double change = 0;
  double attention = 0;  // Of the outputs, times the squares of the page's parts of the attention.
  // The change again, where no row counts for more than ShadowProbe::kUsualMost times its attention: a rare one that is
  // changed beyond recognition says little of others.
  double usual = 0;
};

class ShadowProbe {
 public:
  static constexpr double kUsualMost = 4;

  // What a model makes of products of queries and keys, as in AttentionArgs.
  struct Scores {
    float factor = 1;
    float cap = 0;
  };

  explicit ShadowProbe(const PageAttention::Queries& shape);

  // Adds one KV head of the page that begins at token `begin`.
  void add(const PageAttention& attention, int layer, int kv_head, int begin, const PageVersions& page,
           const Scores& scores, const kernels::KernelTable& kernels, ProbeSum* sum);

 private:
  struct Part {
    std::vector<float> out, max, sum;  // [rows][head_dim], [rows], [rows]
  };
  void attend(const PageAttention& attention, int layer, int kv_head, const kernels::AttentionPage& page,
              const Scores& scores, const kernels::KernelTable& kernels, Part* part);

  PageAttention::Queries shape_;
  int rows_;
  std::vector<int> begin_, end_;  // Of the page's tokens, those that a row sees.
  Part before_, after_;
};

}  // namespace infer::kv
