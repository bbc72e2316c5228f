// Attention over pages in memory: how close decode comes to the memory's bandwidth and prefill to the multiply peak.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernel_benchmarks.h"
#include "kernels/panels.h"

namespace infer::bench {
namespace {

// One KV head's pages, keys and values of a page side by side, and queries that see all of it.
struct Run {
  Run(int row_count, int dimensions, int page_count) : rows(row_count), head_dim(dimensions), pages(page_count) {
    const size_t half_page = static_cast<size_t>(kernels::kPageTokens * head_dim);
    memory = memory_of(2 * half_page * sizeof(uint16_t) * static_cast<size_t>(pages));
    auto* halves = reinterpret_cast<uint16_t*>(memory.data());
    for (size_t i = 0; i < 2 * half_page * static_cast<size_t>(pages); ++i) {
      halves[i] = static_cast<uint16_t>(0x3000 + i * 7919 % 0x800);  // 0.125 to 0.5
    }
    for (size_t p = 0; p < static_cast<size_t>(pages); ++p) {
      keys.push_back(halves + 2 * half_page * p);
      values.push_back(keys.back() + half_page);
    }
    const auto count = static_cast<size_t>(rows);
    visible.assign(count, pages * kernels::kPageTokens);
    queries.assign(count * static_cast<size_t>(head_dim), 0.01f);
    out = queries;
    max.resize(count);
    sum.resize(count);
    scratch = memory_of(kernels::attention_scratch_bytes(rows, head_dim));
  }

  kernels::AttentionArgs args() {
    return {.queries = queries.data(),
            .rows = rows,
            .head_dim = head_dim,
            .visible = visible.data(),
            .keys = keys.data(),
            .values = values.data(),
            .pages = pages,
            .out = out.data(),
            .max = max.data(),
            .sum = sum.data(),
            .scratch = scratch.data()};
  }

  int rows, head_dim, pages;
  os::PageMemory memory, scratch;
  std::vector<const uint16_t*> keys, values;
  std::vector<int> visible;
  std::vector<float> queries, out, max, sum;
};

void attend(benchmark::State& state, const kernels::KernelTable& table, int rows, int head_dim, int pages) {
  Run run(rows, head_dim, pages);
  const kernels::AttentionArgs args = run.args();
  for (auto _ : state) {
    table.attend(args);
    benchmark::DoNotOptimize(run.out.data());
  }
  const double elements = static_cast<double>(pages) * kernels::kPageTokens * head_dim;
  count_rate(state, "bytes", 2 * sizeof(uint16_t) * elements);
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
