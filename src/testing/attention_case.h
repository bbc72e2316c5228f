// The keys, values and queries of attention's tests: random ones as the kernels store them, and what they stand for by
// the documented layout (kernels::AttentionPage, AttentionArgs), read without the kernels.
// Ownership: a Cache owns its pages; copies share nothing but point into the original's pages. Thread safety: plain
// data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "kernels/panels.h"
#include "kernels/reference.h"

namespace infer::testing {

using kernels::AttentionPage;
using kernels::KernelTable;
using kernels::kPageTokens;

// Normally distributed about 0, with a variance of 1, and of scale^2.
float normal(Rng& rng);
std::vector<float> random_floats(Rng& rng, size_t n, float scale);

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
Cache cache_of(const KernelTable& table, int head_dim, const std::vector<float>& keys,
               const std::vector<float>& values);

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
void lower_all(Cache& cache, const KernelTable& table, Level level);

Cache random_cache(Rng& rng, int head_dim, int tokens, float key_scale = 1.0f, float value_scale = 1.0f);

// The same, full pages at random levels.
Cache random_mixed_cache(Rng& rng, int head_dim, int tokens, float key_scale = 1.0f, float value_scale = 1.0f);

struct Queries {
  int rows;
  std::vector<std::byte> codes;  // [rows][query_row_bytes]
  std::vector<int> begin, end;
  float cap = 0.0f;
};

Queries queries_of(const KernelTable& table, int head_dim, const std::vector<float>& values);

// A row's query as its codes say, by their documented layout.
struct RowCodes {
  const std::byte* row;
  size_t dims;

  double wide(int d) const { return at<int16_t>(row, 2 * static_cast<size_t>(d)); }
  double narrow(int d) const { return at<int8_t>(row, 2 * dims + static_cast<size_t>(d)); }
  double wide_scale() const { return static_cast<double>(at<float>(row, 3 * dims)); }
  double narrow_scale() const { return static_cast<double>(at<float>(row, 3 * dims + 4)); }
};
RowCodes row_codes(const Cache& cache, const Queries& q, int row);

// Each row sees the first so many tokens.
Queries random_queries(Rng& rng, const Cache& cache, int rows, float scale);

}  // namespace infer::testing
