// The keys, values and queries of attention's tests: random ones as the kernels store them, and what they stand for by
// the documented layout (kernels::AttentionPage, AttentionArgs), read without the kernels.
// Ownership: a Cache owns its pages; copies share nothing but point into the original's pages. Thread safety: plain
// data.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "kernels/panels.h"
#include "kernels/reference.h"
#include "testing/machine_kernels.h"

namespace infer::testing {

using kernels::AttentionPage;
using kernels::KernelTable;
using kernels::kPageTokens;

inline float normal(Rng& rng) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - rng.uniform()));
  return static_cast<float>(radius * std::cos(6.283185307179586 * rng.uniform()));
}

inline std::vector<float> random_floats(Rng& rng, size_t n, float scale) {
  std::vector<float> x(n);
  for (float& value : x) value = normal(rng) * scale;
  return x;
}

// What a test reads at a place in a page.
template <class T>
T at(const std::byte* page, size_t byte) {
  T value;
  std::memcpy(&value, page + byte, sizeof value);
  return value;
}

enum class Level { k16, k8, k4 };
constexpr Level kLevels[] = {Level::k16, Level::k8, Level::k4};

// The keys and values of one KV head, in pages; read here by their documented layout (AttentionPage).
struct Cache {
  int head_dim;
  int tokens;
  std::vector<std::vector<std::byte>> full, high, low;
  std::vector<AttentionPage> pages{};

  int page_count() const { return static_cast<int>(pages.size()); }
  const AttentionPage& page(int token) const { return pages[static_cast<size_t>(token / kPageTokens)]; }
  // Codes about 0, such that scale * code (and the page's mean) is the element.
  double key_code(int token, int d) const {
    const int slot = token % kPageTokens, half = head_dim / 2, line = d % half / 4;
    if (page(token).full != nullptr) return half_word(token, (d / 2 * kPageTokens + slot) * 2 + d % 2);
    return plane_code(token, 4 * (line * kPageTokens + slot) + d % 4, d >= half, 0);
  }
  double value_code(int token, int d) const {
    const int slot = token % kPageTokens, quad = slot % 32 / 4;
    if (page(token).full != nullptr) {
      return half_word(token, kPageTokens * head_dim + (slot / 2 * head_dim + d) * 2 + slot % 2);
    }
    return plane_code(token, 32 * head_dim + 4 * (quad * head_dim + d) + slot % 4, slot >= 32, 8);
  }
  double key_scale(int token) const { return scale(token, 0); }
  double value_scale(int token) const { return scale(token, kPageTokens); }
  double mean_key(int token, int d) const {
    if (page(token).full != nullptr) return 0;
    const size_t mean = static_cast<size_t>(kPageTokens) * (static_cast<size_t>(head_dim) + 4);
    const double scale = static_cast<double>(at<float>(page(token).high, mean + 2 * static_cast<size_t>(head_dim)));
    return scale * at<int16_t>(page(token).high, mean + 2 * static_cast<size_t>(d));
  }
  double key(int token, int d) const { return mean_key(token, d) + key_scale(token) * key_code(token, d); }
  double value(int token, int d) const { return value_scale(token) * value_code(token, d); }

 private:
  int half_word(int token, int index) const { return at<int16_t>(page(token).full, 2 * static_cast<size_t>(index)); }
  double plane_code(int token, int index, bool upper, unsigned flip) const {
    const auto nibble = [&](const std::byte* plane) {
      return static_cast<unsigned>(plane[index]) >> (upper ? 4 : 0) & 15u;
    };
    const unsigned above = 16 * (nibble(page(token).high) ^ flip);
    return page(token).low != nullptr ? above + nibble(page(token).low) - 127.5 : above + 7.5 - 127.5;
  }
  double scale(int token, int offset) const {
    const auto slot = static_cast<size_t>(offset + token % kPageTokens);
    const size_t codes = static_cast<size_t>(kPageTokens * head_dim);
    if (page(token).full != nullptr) return static_cast<double>(at<float>(page(token).full, 4 * codes + 4 * slot));
    return static_cast<double>(kernels::bfloat16_to_float(at<uint16_t>(page(token).high, codes + 2 * slot)));
  }
};

// Keys and values [tokens][head_dim], rotated already. Slots after the last token hold what memory that was used before
// may: scales that are NaN.
inline Cache cache_of(const KernelTable& table, int head_dim, const std::vector<float>& keys,
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

// Pages that are full get planes; level(page) says which.
template <class Choice>
void lower(Cache& cache, const KernelTable& table, Choice level) {
  for (int p = 0; p < cache.tokens / kPageTokens; ++p) {
    const auto page = static_cast<size_t>(p);
    cache.high.emplace_back(kernels::kv_high_bytes(cache.head_dim));
    cache.low.emplace_back(kernels::kv_low_bytes(cache.head_dim));
    table.make_planes(cache.full[page].data(), cache.head_dim, cache.high[page].data(), cache.low[page].data());
    if (level(p) == Level::k16) continue;
    cache.pages[page] = {nullptr, cache.high[page].data(), level(p) == Level::k8 ? cache.low[page].data() : nullptr};
  }
}
inline void lower_all(Cache& cache, const KernelTable& table, Level level) {
  lower(cache, table, [level](int) { return level; });
}

inline Cache random_cache(Rng& rng, int head_dim, int tokens, float key_scale = 1.0f, float value_scale = 1.0f) {
  const auto count = static_cast<size_t>(tokens * head_dim);
  const std::vector<float> keys = random_floats(rng, count, key_scale);
  return cache_of(*machine_kernels()[0], head_dim, keys, random_floats(rng, count, value_scale));
}

// The same, full pages at random levels.
inline Cache random_mixed_cache(Rng& rng, int head_dim, int tokens, float key_scale = 1.0f, float value_scale = 1.0f) {
  Cache cache = random_cache(rng, head_dim, tokens, key_scale, value_scale);
  lower(cache, *machine_kernels()[0], [&rng](int) { return kLevels[rng.below(3)]; });
  return cache;
}

struct Queries {
  int rows;
  std::vector<std::byte> codes;  // [rows][query_row_bytes]
  std::vector<int> begin, end;
  float cap = 0.0f;
};

inline Queries queries_of(const KernelTable& table, int head_dim, const std::vector<float>& values) {
  const int rows = static_cast<int>(values.size()) / head_dim;
  const auto count = static_cast<size_t>(rows);
  const size_t row_bytes = kernels::query_row_bytes(head_dim);
  Queries q{rows, std::vector<std::byte>(count * row_bytes), std::vector<int>(count), {}};
  for (size_t r = 0; r < count; ++r) {
    table.store_query(&values[r * static_cast<size_t>(head_dim)], head_dim, 1.0f, &q.codes[r * row_bytes]);
  }
  return q;
}

// A row's query as its codes say, by their documented layout.
struct RowCodes {
  const std::byte* row;
  size_t dims;

  double wide(int d) const { return at<int16_t>(row, 2 * static_cast<size_t>(d)); }
  double narrow(int d) const { return at<int8_t>(row, 2 * dims + static_cast<size_t>(d)); }
  double wide_scale() const { return static_cast<double>(at<float>(row, 3 * dims)); }
  double narrow_scale() const { return static_cast<double>(at<float>(row, 3 * dims + 4)); }
};
inline RowCodes row_codes(const Cache& cache, const Queries& q, int row) {
  const auto dims = static_cast<size_t>(cache.head_dim);
  return {q.codes.data() + static_cast<size_t>(row) * kernels::query_row_bytes(cache.head_dim), dims};
}

// Each row sees the first so many tokens.
inline Queries random_queries(Rng& rng, const Cache& cache, int rows, float scale) {
  Queries q = queries_of(*machine_kernels()[0], cache.head_dim,
                         random_floats(rng, static_cast<size_t>(rows * cache.head_dim), scale));
  for (int r = 0; r < rows; ++r) q.end.push_back(static_cast<int>(rng.below(static_cast<uint32_t>(cache.tokens) + 1)));
  return q;
}

}  // namespace infer::testing
