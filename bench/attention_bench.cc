// Attention over pages in memory: how close decode comes to the memory's bandwidth and prefill to the multiply peak.
// Compare within one run: ReadAll and F32Peak are the limits of the same core at the same time.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/dispatch.h"
#include "kernels/kernel_table.h"
#include "kernels/panels.h"
#include "os/cpu_features.h"
#include "os/page_memory.h"

namespace infer {
namespace {

std::span<const kernels::KernelTable* const> machine_kernels() {
  const os::CpuFeatures cpu = os::detect_cpu_features();
  kernels::IsaSupport support;
  support.avx2_fma_f16c = cpu.avx2 && cpu.fma && cpu.f16c;
  support.avx512_vnni = cpu.avx512f && cpu.avx512bw && cpu.avx512dq && cpu.avx512vl && cpu.avx512_vnni;
  return kernels::supported_kernels(support);
}

// One KV head's pages, keys and values of a page side by side, and queries that see all of it.
struct Run {
  Run(int row_count, int dimensions, int page_count) : rows(row_count), head_dim(dimensions), pages(page_count) {
    const size_t half_page = static_cast<size_t>(kernels::kPageTokens * head_dim);
    auto allocated = os::PageMemory::allocate(2 * half_page * sizeof(uint16_t) * static_cast<size_t>(pages));
    INFER_CHECK(allocated.has_value());
    memory = std::move(allocated.value());
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
    scratch = std::move(os::PageMemory::allocate(kernels::attention_scratch_bytes(rows, head_dim)).value());
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
  const double done = static_cast<double>(state.iterations()) * pages;
  const double elements = static_cast<double>(kernels::kPageTokens) * head_dim;
  state.counters["pages"] = benchmark::Counter(done, benchmark::Counter::kIsRate);
  state.counters["bytes"] = benchmark::Counter(done * 4.0 * elements, benchmark::Counter::kIsRate);
  state.counters["flop"] = benchmark::Counter(done * 4.0 * elements * rows, benchmark::Counter::kIsRate);
}

void read_all(benchmark::State& state, const kernels::KernelTable& table, size_t bytes) {
  auto memory = os::PageMemory::allocate(bytes);
  INFER_CHECK(memory.has_value());
  for (size_t i = 0; i < bytes; i += 64) memory.value().data()[i] = std::byte{1};
  for (auto _ : state) benchmark::DoNotOptimize(table.read_all(memory.value().data(), bytes));
  state.counters["bytes"] = benchmark::Counter(static_cast<double>(state.iterations()) * static_cast<double>(bytes),
                                               benchmark::Counter::kIsRate);
}

void f32_peak(benchmark::State& state, const kernels::KernelTable& table) {
  float sink = 0.0f;
  double operations = 0.0;
  for (auto _ : state) operations += static_cast<double>(table.f32_peak(10000, &sink));
  benchmark::DoNotOptimize(sink);
  state.counters["flop"] = benchmark::Counter(operations, benchmark::Counter::kIsRate);
}

void register_all() {
  constexpr int kFarPages = 4096;  // 64 MiB at head_dim 64: more than the caches hold.
  for (const kernels::KernelTable* table : machine_kernels()) {
    const std::string isa = std::string("/") + table->name;
    const auto add = [&](const std::string& name, int rows, int head_dim, int pages) {
      benchmark::RegisterBenchmark((name + isa + "/rows:" + std::to_string(rows) +
                                    "/head_dim:" + std::to_string(head_dim) + "/pages:" + std::to_string(pages))
                                       .c_str(),
                                   attend, *table, rows, head_dim, pages);
    };
    benchmark::RegisterBenchmark(("ReadAll" + isa).c_str(), read_all, *table, size_t{64} << 20);
    benchmark::RegisterBenchmark(("F32Peak" + isa).c_str(), f32_peak, *table);
    add("Smoke", 2, 64, 2);
    if (std::string_view(table->name) == "scalar") continue;  // Slow, and nobody waits for it.
    for (const int rows : {1, 4, 8}) {
      add("DecodeFromCache", rows, 64, 16);
      add("DecodeFromMemory", rows, 64, kFarPages);
    }
    add("DecodeFromMemory", 4, 128, kFarPages / 2);
    add("Prefill", 256, 64, 16);
    add("Prefill", 256, 128, 16);
  }
}

}  // namespace
}  // namespace infer

int main(int argc, char** argv) {
  infer::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
