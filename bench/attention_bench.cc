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
  Run(int code_bits, int row_count, int dimensions, int page_count)
      : bits(code_bits), rows(row_count), head_dim(dimensions), pages(page_count) {
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
    for (size_t p = 0; p < static_cast<size_t>(pages); ++p) full.push_back(memory.data() + p * page_bytes);
    const size_t high_bytes = kernels::kv_high_bytes(head_dim), low_bytes = kernels::kv_low_bytes(head_dim);
    planes = memory_of((high_bytes + low_bytes) * static_cast<size_t>(pages));
    std::byte* high = planes.data();
    std::byte* low = planes.data() + high_bytes * static_cast<size_t>(pages);
    for (const std::byte* page : full) {
      table.make_planes(page, head_dim, high, low);
      parts.push_back(bits == 16  ? kernels::AttentionPage{page, nullptr, nullptr}
                      : bits == 8 ? kernels::AttentionPage{nullptr, high, low}
                                  : kernels::AttentionPage{nullptr, high, nullptr});
      high += high_bytes, low += low_bytes;
    }
    const auto count = static_cast<size_t>(rows);
    visible_begin.assign(count, 0);
    visible_end.assign(count, pages * kernels::kPageTokens);
    const size_t row_bytes = kernels::query_row_bytes(head_dim);
    queries.resize(count * row_bytes);
    for (size_t r = 0; r < count; ++r) {
      for (size_t d = 0; d < elements; ++d) x[d] = static_cast<float>((r + 3 * d) % 17) / 17.0f - 0.5f;
      table.store_query(x.data(), head_dim, 0.125f, &queries[r * row_bytes]);
    }
    out.resize(count * elements);
    max.resize(count);
    sum.resize(count);
  }

  kernels::AttentionArgs args() {
    return {.queries = queries.data(),
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

  // What the pages take.
  size_t bytes() const {
    const size_t page = bits == 16  ? kernels::kv_page_bytes(head_dim)
                        : bits == 8 ? kernels::kv_high_bytes(head_dim) + kernels::kv_low_bytes(head_dim)
                                    : kernels::kv_high_bytes(head_dim);
    return page * static_cast<size_t>(pages);
  }

  int bits, rows, head_dim, pages;
  os::PageMemory memory, planes;
  std::vector<const std::byte*> full;
  std::vector<kernels::AttentionPage> parts;
  std::vector<int> visible_begin, visible_end;
  std::vector<std::byte> queries;
  std::vector<float> out, max, sum;
};

void attend(benchmark::State& state, const kernels::KernelTable& table, int bits, int rows, int head_dim, int pages) {
  Run run(bits, rows, head_dim, pages);
  const kernels::AttentionArgs args = run.args();
  for (auto _ : state) {
    table.attend(args);
    benchmark::DoNotOptimize(run.out.data());
  }
  const double elements = static_cast<double>(pages) * kernels::kPageTokens * head_dim;
  count_rate(state, "bytes", static_cast<double>(run.bytes()));
  count_rate(state, "ops", 4.0 * elements * rows);
}

}  // namespace

void register_attention(Size size) {
  constexpr int kNearPages = 16, kFarPages = 4096;  // 64 MiB at head_dim 64: more than the caches hold.
  for (const kernels::KernelTable* table : machine_kernels()) {
    if (!is_worth_measuring(*table, size)) continue;
    const auto add = [&](const std::string& name, int rows, int head_dim, int pages) {
      for (const int bits : {16, 8, 4}) {
        add_benchmark(name + "/" + table->name + "/bits:" + std::to_string(bits) + "/rows:" + std::to_string(rows) +
                          "/head_dim:" + std::to_string(head_dim) +
                          "/tokens:" + std::to_string(pages * kernels::kPageTokens),
                      size, [=](benchmark::State& state) { attend(state, *table, bits, rows, head_dim, pages); });
      }
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
