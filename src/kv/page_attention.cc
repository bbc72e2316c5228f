#include "kv/page_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/panels.h"

namespace infer::kv {

namespace {

constexpr double kUnit = 0x1p30;
// What is left of an average after one more observed token: half after 23 of them, which are 180 tokens.
constexpr double kKeep = 0.97;

int64_t in_units(double x) { return std::llround(std::clamp(x, 0.0, 1e6) * kUnit); }

// The average after `tokens` more, whose mean is `mean`; `known` is false for the first.
float moved(float average, double keep, double mean, bool known) {
  return static_cast<float>(known ? static_cast<double>(average) * keep + mean * (1 - keep) : mean);
}

}  // namespace

PageAttention::PageAttention(int layers, int pages, const Queries& shape)
    : layers_(layers),
      pages_(pages),
      shape_(shape),
      tallies_(std::make_unique<Tally[]>(static_cast<size_t>(layers) * static_cast<size_t>(pages))),
      averages_(static_cast<size_t>(layers) * static_cast<size_t>(pages)) {
  const size_t rows = static_cast<size_t>(layers) * static_cast<size_t>(shape.kv_heads) * rows_per_head();
  codes_.resize(rows * kernels::query_row_bytes(shape.head_dim));
  if (shape.floats) queries_.resize(rows * static_cast<size_t>(shape.head_dim));
  out_.resize(rows * static_cast<size_t>(shape.head_dim));
  max_.resize(rows);
  sum_.resize(rows);
  positions_.assign(static_cast<size_t>(layers) * kSlots, -1);
}

PageAttention::PageAttention(const PageAttention& other)
    : layers_(other.layers_),
      pages_(other.pages_),
      shape_(other.shape_),
      tallies_(std::make_unique<Tally[]>(other.averages_.size())),
      averages_(other.averages_),
      codes_(other.codes_),
      queries_(other.queries_),
      out_(other.out_),
      max_(other.max_),
      sum_(other.sum_),
      positions_(other.positions_) {}

void PageAttention::observe(const kernels::PageShare& share, const RowTotal& row, PageObservation* sum) {
  ++sum->rows;
  if (!(share.sum > 0)) return;
  const double most = static_cast<double>(row.max);
  const double mass =
      static_cast<double>(share.sum) * std::exp2(static_cast<double>(share.base) - most) / static_cast<double>(row.sum);
  if (!(mass <= 1.5)) return;  // NaN in the cache: nothing is known.
  sum->mass += mass;
  sum->relevance += std::exp2(static_cast<double>(share.most) - most);
  sum->frequent += mass * row.pages > 1 ? 1 : 0;
}

void PageAttention::tally(int layer, int page, const PageObservation& sum) {
  if (sum.rows == 0) return;
  tallied_.store(true, std::memory_order_relaxed);
  Tally& tally = tallies_[at(layer, page)];
  tally.mass.fetch_add(in_units(sum.mass), std::memory_order_relaxed);
  tally.relevance.fetch_add(in_units(sum.relevance), std::memory_order_relaxed);
  tally.frequent.fetch_add(sum.frequent, std::memory_order_relaxed);
  tally.rows.fetch_add(sum.rows, std::memory_order_relaxed);
}

void PageAttention::put(int layer, int kv_head, int member, int position, const std::byte* codes, const float* query,
                        const float* out, float max, float sum) {
  INFER_DCHECK(observes(position));
  const auto head_dim = static_cast<size_t>(shape_.head_dim);
  const int slot = position / kEvery % kSlots;
  const size_t row = head_at(layer, kv_head) * rows_per_head() + static_cast<size_t>(slot * shape_.group + member);
  const size_t row_bytes = kernels::query_row_bytes(shape_.head_dim);
  std::memcpy(codes_.data() + row * row_bytes, codes, row_bytes);
  if (shape_.floats) std::memcpy(queries_.data() + row * head_dim, query, head_dim * sizeof(float));
  std::memcpy(out_.data() + row * head_dim, out, head_dim * sizeof(float));
  max_[row] = max;
  sum_[row] = sum;
  if (kv_head == 0 && member == 0) positions_[static_cast<size_t>(layer * kSlots + slot)] = position;
}

std::span<const std::byte> PageAttention::codes(int layer, int kv_head) const {
  const size_t bytes = rows_per_head() * kernels::query_row_bytes(shape_.head_dim);
  return std::span(codes_).subspan(head_at(layer, kv_head) * bytes, bytes);
}
const float* PageAttention::queries(int layer, int kv_head) const {
  if (!shape_.floats) return nullptr;
  return queries_.data() + head_at(layer, kv_head) * rows_per_head() * static_cast<size_t>(shape_.head_dim);
}
const float* PageAttention::out(int layer, int kv_head) const {
  return out_.data() + head_at(layer, kv_head) * rows_per_head() * static_cast<size_t>(shape_.head_dim);
}
const float* PageAttention::max(int layer, int kv_head) const {
  return max_.data() + head_at(layer, kv_head) * rows_per_head();
}
const float* PageAttention::sum(int layer, int kv_head) const {
  return sum_.data() + head_at(layer, kv_head) * rows_per_head();
}

void PageAttention::fold(int pages) { fold_into(averages_.data(), pages); }

// Takes the tallies, and moves the averages by them unless that is null.
void PageAttention::fold_into(Average* averages, int pages) {
  latest_tokens_ = 0;
  if (!tallied_.exchange(false, std::memory_order_relaxed)) return;
  const double heads = static_cast<double>(shape_.kv_heads) * shape_.group;
  for (int layer = 0; layer < layers_; ++layer) {
    for (int page = 0; page < pages; ++page) {
      Tally& tally = tallies_[at(layer, page)];
      const int64_t rows = tally.rows.exchange(0, std::memory_order_relaxed);
      if (averages != nullptr) averages[at(layer, page)].latest_mass = 0;
      if (rows == 0) continue;
      const double count = static_cast<double>(rows), tokens = count / heads;
      const auto mean = [count](std::atomic<int64_t>& sum, double unit) {
        return static_cast<double>(sum.exchange(0, std::memory_order_relaxed)) / unit / count;
      };
      const double mass = mean(tally.mass, kUnit), relevance = mean(tally.relevance, kUnit);
      const double frequency = mean(tally.frequent, 1.0), keep = std::pow(kKeep, tokens);
      if (averages == nullptr) continue;
      Average& average = averages[at(layer, page)];
      const bool known = average.rows > 0;
      average.mass = moved(average.mass, keep, mass, known);
      average.relevance = moved(average.relevance, keep, relevance, known);
      average.frequency = moved(average.frequency, keep, frequency, known);
      average.rows += rows;
      average.latest_mass = static_cast<float>(mass);
      latest_tokens_ = std::max(latest_tokens_, static_cast<int>(tokens));
    }
  }
}

void PageAttention::forget_from(int page) {
  for (int layer = 0; layer < layers_; ++layer) {
    std::fill(averages_.begin() + static_cast<std::ptrdiff_t>(at(layer, page)),
              averages_.begin() + static_cast<std::ptrdiff_t>(at(layer, 0) + static_cast<size_t>(pages_)), Average{});
  }
}

PageStats PageAttention::stats(int layer, int page) const {
  const Average& average = averages_[at(layer, page)];
  return {average.mass, average.frequency, average.relevance, average.rows};
}

}  // namespace infer::kv
