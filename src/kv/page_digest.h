// What is kept in memory of a page whose keys are on the disk: enough to bound the score of any query with any of its
// tokens from above, so that pages worth reading back can be told from those that can be left out.
//
// A digest is of one page and one KV head. It has the centroid of the keys, how far they reach above and below it in
// each dimension, and a radius around it. With c the centroid and x = k - c for a key k:
//
//   q.k = q.c + q.x <= q.c + min( sum over i of max(q_i above_i, -q_i below_i)      the box
//                               , |q| max |x| )                                      the ball
//
// the second by Cauchy and Schwarz. Everything is rounded outwards: bound() is never below the greatest product with
// the keys that the page's bytes stand for. (Attention rounds its queries, to 8 bits where pages have planes: its
// scores may exceed the exact ones by that error.) A NaN in keys or query gives an infinite bound.
// Thread safety: pure functions and plain values.
#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <span>

#include "kernels/kernel_table.h"

namespace infer::kv {

// 3 head_dim + 12: 4.6 % of a page's head at 4 bits for dimensions of 64 and more.
size_t page_digest_bytes(int head_dim);

// Of a page whose 64 tokens are written. It holds for each level that these bytes allow: of two planes, 8 and 4 bits.
void make_page_digest(const kernels::AttentionPage& page, int head_dim, std::byte* digest);

// A query as attention multiplies it with keys: rotated like them, times the factor of all scores.
class DigestQuery {
 public:
  explicit DigestQuery(std::span<const float> query);

  // At least the greatest product with a key of the digest's page.
  float bound(const std::byte* digest) const;

 private:
  int head_dim_;
  double length_ = 0.0;                                            // Rounded up.
  double rounding_ = 0.0;                                          // Of the product with a centroid's codes.
  std::array<float, kernels::kHeadDimMax> value_, above_, below_;  // The query, its positive and negative part.
};

// The share of attention that pages would get which are left out, at most.
//
// A query gives token t the weight e^s_t / (R + O), where R sums e^s over the tokens that attention reads and O over
// those left out. Left out are n_p tokens of page p, none with a score above U_p, so that O <= sum n_p e^U_p, and
// R = e^lse. With X = sum n_p e^(U_p - lse), O / R <= X; the share O / (R + O) grows with O / R and is thus at most
// X / (1 + X). Outputs differ by at most that share times the greatest distance between two values: the output is
// the mean of what was read and what was left out, weighted by 1 - share and share.
class OmittedMass {
 public:
  // `tokens` of a page with this bound are left out.
  void add(int tokens, float bound);
  // Of a query whose tokens that are read have this log-sum-exp of scores, or a greater one. 1 where nothing is read.
  double share(double log_sum_exp) const;

 private:
  double max_ = -std::numeric_limits<double>::infinity();  // Of the bounds.
  double sum_ = 0.0;                                       // Of tokens * e^(bound - max_).
};

}  // namespace infer::kv
