#include "testing/attention_case.h"

#include <cmath>

#include "testing/machine_kernels.h"

namespace infer::testing {

float normal(Rng& rng) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - rng.uniform()));
  return static_cast<float>(radius * std::cos(6.283185307179586 * rng.uniform()));
}

std::vector<float> random_floats(Rng& rng, size_t n, float scale) {
  std::vector<float> x(n);
  for (float& value : x) value = normal(rng) * scale;
  return x;
}

Cache cache_of(const KernelTable& table, int head_dim, const std::vector<float>& keys,
               const std::vector<float>& values) {
  Cache cache{head_dim, static_cast<int>(keys.size()) / head_dim, {}, {}, {}};
  for (int t = 0; t < cache.tokens; ++t) {
    if (t % kPageTokens == 0) cache.full.emplace_back(kernels::kv_page_bytes(head_dim), std::byte{0xFF});
    const size_t first = static_cast<size_t>(t) * static_cast<size_t>(head_dim);
    table.store_key(&keys[first], head_dim, t % kPageTokens, cache.full.back().data());
    table.store_value(&values[first], head_dim, t % kPageTokens, cache.full.back().data());
  }
  for (const auto& page : cache.full) cache.pages.push_back({page.data(), nullptr, nullptr});
  return cache;
}

void lower_all(Cache& cache, const KernelTable& table, Level level) {
  lower(cache, table, [level](int) { return level; });
}

Cache random_cache(Rng& rng, int head_dim, int tokens, float key_scale, float value_scale) {
  const auto count = static_cast<size_t>(tokens * head_dim);
  const std::vector<float> keys = random_floats(rng, count, key_scale);
  return cache_of(*machine_kernels()[0], head_dim, keys, random_floats(rng, count, value_scale));
}

Cache random_mixed_cache(Rng& rng, int head_dim, int tokens, float key_scale, float value_scale) {
  Cache cache = random_cache(rng, head_dim, tokens, key_scale, value_scale);
  lower(cache, *machine_kernels()[0], [&rng](int) { return kLevels[rng.below(3)]; });
  return cache;
}

Queries queries_of(const KernelTable& table, int head_dim, const std::vector<float>& values) {
  const int rows = static_cast<int>(values.size()) / head_dim;
  const auto count = static_cast<size_t>(rows);
  const size_t row_bytes = kernels::query_row_bytes(head_dim);
  Queries q{rows, std::vector<std::byte>(count * row_bytes), std::vector<int>(count), {}};
  for (size_t r = 0; r < count; ++r) {
    table.store_query(&values[r * static_cast<size_t>(head_dim)], head_dim, 1.0f, &q.codes[r * row_bytes]);
  }
  return q;
}

RowCodes row_codes(const Cache& cache, const Queries& q, int row) {
  const auto dims = static_cast<size_t>(cache.head_dim);
  return {q.codes.data() + static_cast<size_t>(row) * kernels::query_row_bytes(cache.head_dim), dims};
}

Queries random_queries(Rng& rng, const Cache& cache, int rows, float scale) {
  Queries q = queries_of(*machine_kernels()[0], cache.head_dim,
                         random_floats(rng, static_cast<size_t>(rows * cache.head_dim), scale));
  for (int r = 0; r < rows; ++r) q.end.push_back(static_cast<int>(rng.below(static_cast<uint32_t>(cache.tokens) + 1)));
  return q;
}

}  // namespace infer::testing
