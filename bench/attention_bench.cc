// Attention over pages in memory: how close decode comes to the memory's bandwidth and prefill to the multiply peak.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernel_benchmarks.h"
#include "kernels/panels.h"

namespace infer::bench {
namespace {

// One KV head's pages, and queries that see all of them.
struct Run {
  Run(int row_count, int dimensions, int page_count) : rows(row_count), head_dim(dimensions), pages(page_count) {
    const size_t page_bytes = kernels::kv_page_bytes(head_dim);
    const auto elements = static_cast<size_t>(head_dim);
    memory = memory_of(page_bytes * static_cast<size_t>(pages));
    const kernels::KernelTable& table = *machine_kernels().front();
    std::vector<float> x(elements);
    for (int token = 0; token < pages * kernels::kPageTokens; ++token) {
      for (size_t d = 0; d < elements; ++d) {
        x[d] = static_cast<float>((static_cast<size_t>(token) * elements + d) * 7919 % 1024) / 1024.0f - 0.5f;
      }
      std::byte* const page = memory.data() + static_cast<size_t>(token / kernels::kPageTokens) * page_bytes;
      table.store_key(x.data(), head_dim, token % kernels::kPageTokens, page);
      table.store_value(x.data(), head_dim, token % kernels::kPageTokens, page);
    }
    for (size_t p = 0; p < static_cast<size_t>(pages); ++p) parts.push_back(memory.data() + p * page_bytes);
    const auto count = static_cast<size_t>(rows);
    visible_begin.assign(count, 0);
    visible_end.assign(count, pages * kernels::kPageTokens);
    queries.resize(count * elements);
    query_scales.resize(count);
    for (size_t r = 0; r < count; ++r) {
      for (size_t d = 0; d < elements; ++d) x[d] = static_cast<float>((r + 3 * d) % 17) / 17.0f - 0.5f;
      table.store_query(x.data(), head_dim, 0.125f, &queries[r * elements], &query_scales[r]);
    }
    out.resize(count * elements);
    max.resize(count);
    sum.resize(count);
  }

  kernels::AttentionArgs args() {
    return {.queries = queries.data(),
            .query_scales = query_scales.data(),
            .rows = rows,
            .head_dim = head_dim,
            .visible_begin = visible_begin.data(),
            .visible_end = visible_end.data(),
            .score_cap = 0.0f,
            .pages = parts.data(),
            .page_count = pages,
            .out = out.data(),
            .max = max.data(),
            .sum = sum.data()};
  }

  int rows, head_dim, pages;
  os::PageMemory memory;
  std::vector<const std::byte*> parts;
  std::vector<int> visible_begin, visible_end;
  std::vector<int16_t> queries;
  std::vector<float> query_scales, out, max, sum;
};

void attend(benchmark::State& state, const kernels::KernelTable& table, int rows, int head_dim, int pages) {
  Run run(rows, head_dim, pages);
  const kernels::AttentionArgs args = run.args();
  for (auto _ : state) {
    table.attend(args);
    benchmark::DoNotOptimize(run.out.data());
  }
  const double elements = static_cast<double>(pages) * kernels::kPageTokens * head_dim;
  count_rate(state, "bytes", static_cast<double>(pages) * static_cast<double>(kernels::kv_page_bytes(head_dim)));
  count_rate(state, "ops", 4.0 * elements * rows);
}

}  // namespace

void register_attention(Size size) {
  constexpr int kNearPages = 16, kFarPages = 4096;  // 64 MiB at head_dim 64: more than the caches hold.
  for (const kernels::KernelTable* table : machine_kernels()) {
    if (!is_worth_measuring(*table, size)) continue;
    const auto add = [&](const std::string& name, int rows, int head_dim, int pages) {
      add_benchmark(name + "/" + table->name + "/rows:" + std::to_string(rows) + "/head_dim:" +
                        std::to_string(head_dim) + "/tokens:" + std::to_string(pages * kernels::kPageTokens),
                    size, [=](benchmark::State& state) { attend(state, *table, rows, head_dim, pages); });
    };
    if (size == Size::kSmoke) {
      add("Attend", 2, 64, 2);
      continue;
    }
    for (const int rows : {1, 4, 8}) {
      add("AttendFromCache", rows, 64, kNearPages);
      add("AttendFromMemory", rows, 64, kFarPages);
    }
    add("AttendFromMemory", 4, 128, kFarPages / 2);
    for (const int head_dim : {64, 128}) {
      add("AttendPrefill", 256, head_dim, kNearPages);
      add("AttendPrefill", 256, head_dim, 8 * kNearPages);  // At depth 8192.
    }
  }
}

}  // namespace infer::bench
