// What the files of kernels_bench share: each registers the benchmarks of one kind of kernel, for every kernel table
// that this machine runs (a table is passed, nothing is chosen by the environment).
//
// Speeds are those of one thread. Compare within one run: ReadStreams and the peaks are the limits of the same core at
// the same time. Thread safety: called once each, by main.
#pragma once

#include <benchmark/benchmark.h>

#include <cstddef>
#include <span>
#include <string>

#include "kernels/kernel_table.h"
#include "os/page_memory.h"

namespace infer::bench {

enum class Size {
  kFull,
  kSmoke,  // Tiny shapes, one iteration each: that everything runs. What the tests do.
};

void register_limits(Size size);
void register_matmul(Size size);
void register_attention(Size size);
void register_vector_math(Size size);
void register_sampling(Size size);
void register_spill(Size size);
void register_masks(Size size);

// Best first.
std::span<const kernels::KernelTable* const> machine_kernels();
// The scalar table is only for smoke: it is slow, and nobody waits for it.
bool is_worth_measuring(const kernels::KernelTable& table, Size size);

// Zeroed memory, or the end of the program.
os::PageMemory memory_of(size_t bytes);

// `amount` per iteration as a rate: "bytes" (reads as GB/s) or "ops" (Gop/s).
void count_rate(benchmark::State& state, const char* name, double amount);

template <class Body>
void add_benchmark(const std::string& name, Size size, Body body) {
  benchmark::internal::Benchmark* added = benchmark::RegisterBenchmark(name.c_str(), body);
  if (size == Size::kSmoke) added->Iterations(1);
}

}  // namespace infer::bench
