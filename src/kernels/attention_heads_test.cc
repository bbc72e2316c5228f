// Attention of several heads at once: what each gets is what it gets alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "kernels/panels.h"
#include "testing/attention_case.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"

namespace infer::kernels {
namespace {

using testing::Cache;
using testing::kLevels;
using testing::Level;
using testing::Queries;

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

struct Attended {
  std::vector<float> out, max, sum;
  std::vector<PageShare> shares;

  explicit Attended(size_t rows, size_t dim, size_t pages)
      : out(rows * dim, 777.0f), max(rows, 777.0f), sum(rows, 777.0f), shares(rows * pages) {}
  void append(const Attended& more) {
    const auto join = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    join(out, more.out);
    join(max, more.max);
    join(sum, more.sum);
    join(shares, more.shares);
  }
};

// Heads whose pages are at the same levels, some of them absent, and rows that see the same tokens.
struct Heads {
  std::vector<Cache> caches;
  std::vector<Queries> queries;

  explicit Heads(Rng& rng) {
    constexpr int kDims[] = {16, 64, 80, 128};
    const int count = 1 + static_cast<int>(rng.below(8)), dim = kDims[rng.below(4)];
    const int tokens = 64 * 4 - static_cast<int>(rng.below(64)), rows = 1 + static_cast<int>(rng.below(30));
    std::vector<Level> levels;
    for (int i = 0; i < 4; ++i) levels.push_back(kLevels[rng.below(3)]);
    for (int head = 0; head < count; ++head) {
      caches.push_back(testing::random_cache(rng, dim, tokens));
      testing::lower(caches.back(), *testing::machine_kernels()[0],
                     [&](int page) { return levels[static_cast<size_t>(page)]; });
      queries.push_back(testing::random_queries(rng, caches.back(), rows, 0.4f));
      queries.back().end = queries.front().end;
    }
    if (rng.below(3) > 0) return;
    const size_t absent = rng.below(3);
    for (Cache& cache : caches) cache.pages[absent] = {};
  }
  size_t rows() const { return static_cast<size_t>(queries.front().rows); }
  size_t dim() const { return static_cast<size_t>(caches.front().head_dim); }
  size_t pages() const { return caches.front().pages.size(); }
};

AttentionArgs args_of(const Heads& heads, const AttentionPage* pages, Attended& to) {
  const Queries& q = heads.queries.front();
  return {.queries = q.codes.data(),
          .rows = q.rows,
          .head_dim = static_cast<int>(heads.dim()),
          .visible_begin = q.begin.data(),
          .visible_end = q.end.data(),
          .score_cap = 0,
          .pages = pages,
          .page_count = static_cast<int>(heads.pages()),
          .out = to.out.data(),
          .max = to.max.data(),
          .sum = to.sum.data(),
          .shares = to.shares.data()};
}

Attended attend_one_by_one(const KernelTable& table, const Heads& heads) {
  Attended all(0, heads.dim(), heads.pages());
  for (size_t head = 0; head < heads.caches.size(); ++head) {
    Attended own(heads.rows(), heads.dim(), heads.pages());
    AttentionArgs args = args_of(heads, heads.caches[head].pages.data(), own);
    args.queries = heads.queries[head].codes.data();
    table.attend(args);
    all.append(own);
  }
  return all;
}

// The parts of all heads behind each other, with a gap.
struct SideBySide {
  static constexpr size_t kGap = 64;
  PartStride stride;
  std::vector<std::vector<std::byte>> memory;
  std::vector<AttentionPage> pages;
  std::vector<std::byte> queries;
  size_t queries_stride = 0;

  explicit SideBySide(const Heads& heads) {
    const int dim = static_cast<int>(heads.dim());
    stride = {.full = kv_page_bytes(dim) + kGap, .high = kv_high_bytes(dim) + kGap, .low = kv_low_bytes(dim) + kGap};
    for (size_t page = 0; page < heads.pages(); ++page) {
      pages.push_back({.full = join(heads, page, &AttentionPage::full, stride.full),
                       .high = join(heads, page, &AttentionPage::high, stride.high),
                       .low = join(heads, page, &AttentionPage::low, stride.low)});
    }
    queries_stride = heads.queries.front().codes.size() + kGap;
    for (const Queries& q : heads.queries) {
      queries.insert(queries.end(), q.codes.begin(), q.codes.end());
      queries.resize(queries.size() + kGap);
    }
  }

 private:
  const std::byte* join(const Heads& heads, size_t page, const std::byte* AttentionPage::* part, size_t bytes) {
    if (heads.caches.front().pages[page].*part == nullptr) return nullptr;
    std::vector<std::byte>& joined = memory.emplace_back(heads.caches.size() * bytes);
    for (size_t head = 0; head < heads.caches.size(); ++head) {
      std::memcpy(joined.data() + head * bytes, heads.caches[head].pages[page].*part, bytes - kGap);
    }
    return joined.data();
  }
};

Attended attend_together(const KernelTable& table, const Heads& heads) {
  const SideBySide memory(heads);
  Attended all(heads.caches.size() * heads.rows(), heads.dim(), heads.pages());
  AttentionArgs args = args_of(heads, memory.pages.data(), all);
  args.queries = memory.queries.data();
  args.queries_stride = memory.queries_stride;
  args.heads = static_cast<int>(heads.caches.size());
  args.part_stride = memory.stride;
  table.attend(args);
  return all;
}

TEST(AttentionHeads, TogetherEachGetsTheBitsThatItGetsAlone) {
  testing::for_each_case(40, [](Rng& rng) {
    const Heads heads(rng);
    for (const KernelTable* table : testing::machine_kernels()) {
      const Attended together = attend_together(*table, heads), alone = attend_one_by_one(*table, heads);
      EXPECT_TRUE(same_bytes(together.out, alone.out)) << table->name;
      EXPECT_TRUE(same_bytes(together.max, alone.max)) << table->name;
      EXPECT_TRUE(same_bytes(together.sum, alone.sum)) << table->name;
      EXPECT_TRUE(same_bytes(together.shares, alone.shares)) << table->name;
    }
  });
}

}  // namespace
}  // namespace infer::kernels
