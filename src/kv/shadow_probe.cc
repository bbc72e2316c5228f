#include "kv/shadow_probe.h"

#include <algorithm>
#include <cmath>

namespace infer::kv {

ShadowProbe::ShadowProbe(const PageAttention::Queries& shape)
    : shape_(shape), rows_(PageAttention::kSlots * shape.group) {
  const auto rows = static_cast<size_t>(rows_);
  begin_.assign(rows, 0);
  end_.assign(rows, 0);
  for (Part* part : {&before_, &after_}) {
    part->out.resize(rows * static_cast<size_t>(shape.head_dim));
    part->max.resize(rows);
    part->sum.resize(rows);
  }
}

void ShadowProbe::attend(const PageAttention& attention, int layer, int kv_head, const kernels::AttentionPage& page,
                         const Scores& scores, const kernels::KernelTable& kernels, Part* part) {
  kernels.attend({.queries = attention.codes(layer, kv_head).data(),
                  .rows = rows_,
                  .head_dim = shape_.head_dim,
                  .visible_begin = begin_.data(),
                  .visible_end = end_.data(),
                  .score_cap = scores.cap,
                  .pages = &page,
                  .page_count = 1,
                  .float_queries = {.first = attention.queries(layer, kv_head),
                                    .token_stride = static_cast<size_t>(shape_.group * shape_.head_dim),
                                    .group = shape_.group,
                                    .factor = scores.factor},
                  .out = part->out.data(),
                  .max = part->max.data(),
                  .sum = part->sum.data()});
}

void ShadowProbe::add(const PageAttention& attention, int layer, int kv_head, int begin, const PageVersions& page,
                      const Scores& scores, const kernels::KernelTable& kernels, ProbeSum* sum) {
  for (int row = 0; row < rows_; ++row) {
    const int seen = attention.position(layer, row / shape_.group) + 1 - begin;
    end_[static_cast<size_t>(row)] = std::clamp(seen, 0, kernels::kPageTokens);
  }
  attend(attention, layer, kv_head, page.before, scores, kernels, &before_);
  attend(attention, layer, kv_head, page.after, scores, kernels, &after_);
  const float* const all_out = attention.out(layer, kv_head);
  for (int row = 0; row < rows_; ++row) {
    const auto r = static_cast<size_t>(row), first = r * static_cast<size_t>(shape_.head_dim);
    if (end_[r] == 0) continue;
    const auto most = static_cast<double>(attention.max(layer, kv_head)[row]);
    const auto total = static_cast<double>(attention.sum(layer, kv_head)[row]);
    const double by_before = std::exp2(static_cast<double>(before_.max[r]) - most);
    const double by_after = std::exp2(static_cast<double>(after_.max[r]) - most);
    const double part = static_cast<double>(before_.sum[r]) * by_before;
    const double more = static_cast<double>(after_.sum[r]) * by_after - part;
    double change = 0, energy = 0;
    for (size_t d = first; d < first + static_cast<size_t>(shape_.head_dim); ++d) {
      const double mean = static_cast<double>(all_out[d]) / total;
      const double moved =
          static_cast<double>(after_.out[d]) * by_after - static_cast<double>(before_.out[d]) * by_before;
      change += std::pow((moved - mean * more) / (total + more), 2);
      energy += mean * mean;
    }
    const double attended = energy * std::pow(part / total, 2);
    if (!std::isfinite(change) || !std::isfinite(attended)) continue;
    sum->change += change;
    sum->usual += std::min(change, kUsualMost * attended);
    sum->attention += attended;
  }
}

}  // namespace infer::kv
