#include "kv/kernel_check.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "base/rng.h"
#include "kernels/panels.h"

namespace infer::kv {

namespace {

constexpr int kHeadDim = 64;
constexpr int kTokens = kernels::kPageTokens;

struct Sample {
  std::vector<float> query, keys, values;
  std::vector<double> exact;  // [head_dim]
};

Sample make_sample() {
  Rng rng(20);
  const auto floats = [&](int count) {
    std::vector<float> x(static_cast<size_t>(count));
    for (float& value : x) value = static_cast<float>(2 * rng.uniform() - 1);
    return x;
  };
  Sample sample{floats(kHeadDim), floats(kTokens * kHeadDim), floats(kTokens * kHeadDim), {}};
  // Tokens that differ in weight, and values that do not average out.
  for (size_t i = 0; i < sample.values.size(); ++i) sample.values[i] += i % 3 == 0 ? 1.0f : -0.5f;
  std::vector<double> weights;
  double most = -1e9, sum = 0;
  for (size_t t = 0; t < kTokens; ++t) {
    double score = 0;
    for (size_t d = 0; d < kHeadDim; ++d) {
      score += static_cast<double>(sample.query[d]) * static_cast<double>(sample.keys[t * kHeadDim + d]);
    }
    weights.push_back(score);
    most = std::max(most, score);
  }
  for (double& weight : weights) sum += weight = std::exp(weight - most);
  sample.exact.assign(kHeadDim, 0);
  for (size_t i = 0; i < sample.values.size(); ++i) {
    sample.exact[i % kHeadDim] += weights[i / kHeadDim] / sum * static_cast<double>(sample.values[i]);
  }
  return sample;
}

double error_of(const kernels::KernelTable& kernels, const Sample& sample, const std::byte* query,
                const kernels::AttentionPage& page) {
  const int begin = 0, end = kTokens;
  std::vector<float> out(kHeadDim);
  float max = 0, sum = 0;
  kernels.attend({.queries = query,
                  .rows = 1,
                  .head_dim = kHeadDim,
                  .visible_begin = &begin,
                  .visible_end = &end,
                  .score_cap = 0,
                  .pages = &page,
                  .page_count = 1,
                  .out = out.data(),
                  .max = &max,
                  .sum = &sum});
  double error = 0, length = 0;
  for (size_t d = 0; d < kHeadDim; ++d) {
    const double difference = static_cast<double>(out[d]) / static_cast<double>(sum) - sample.exact[d];
    error += difference * difference;
    length += sample.exact[d] * sample.exact[d];
  }
  return std::sqrt(error / length);
}

}  // namespace

KernelCheck check_kernels(const kernels::KernelTable& kernels) {
  const Sample sample = make_sample();
  // As the kernels want it: aligned to 64 bytes.
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  const auto room = [](size_t bytes) { return std::vector<Line>(bytes / sizeof(Line) + 1); };
  auto full_lines = room(kernels::kv_page_bytes(kHeadDim)), high_lines = room(kernels::kv_high_bytes(kHeadDim)),
       low_lines = room(kernels::kv_low_bytes(kHeadDim)), query_lines = room(kernels::query_row_bytes(kHeadDim));
  std::byte* const full = full_lines.front().bytes;
  std::byte* const high = high_lines.front().bytes;
  std::byte* const low = low_lines.front().bytes;
  std::byte* const query = query_lines.front().bytes;
  for (int t = 0; t < kTokens; ++t) {
    kernels.store_key(&sample.keys[static_cast<size_t>(t * kHeadDim)], kHeadDim, t, full);
    kernels.store_value(&sample.values[static_cast<size_t>(t * kHeadDim)], kHeadDim, t, full);
  }
  kernels.store_query(sample.query.data(), kHeadDim, 1, query);
  kernels.make_planes(full, kHeadDim, high, low);
  return {.error_16 = error_of(kernels, sample, query, {full, nullptr, nullptr}),
          .error_8 = error_of(kernels, sample, query, {nullptr, high, low}),
          .error_4 = error_of(kernels, sample, query, {nullptr, high, nullptr})};
}

}  // namespace infer::kv
