// The element-wise kernels, at the sizes of a small model's rows and of a large vocabulary.
#include <cmath>
#include <vector>

#include "kernel_benchmarks.h"

namespace infer::bench {
namespace {

using kernels::KernelTable;

std::vector<float> waves(int n) {
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i) * 1.3f) * 4.0f;
  return x;
}

double bytes_of(int floats) { return static_cast<double>(floats) * sizeof(float); }

void rms_norm(benchmark::State& state, const KernelTable& table, int n) {
  const std::vector<float> x = waves(n), weight = waves(n);
  std::vector<float> out(x.size());
  for (auto _ : state) {
    table.rms_norm(x.data(), weight.data(), n, 1e-5f, out.data());
    benchmark::ClobberMemory();
  }
  count_rate(state, "bytes", bytes_of(3 * n));
}

void silu_multiply(benchmark::State& state, const KernelTable& table, int n) {
  const std::vector<float> gate = waves(n), up = waves(n);
  std::vector<float> out(gate.size());
  for (auto _ : state) {
    table.silu_multiply(gate.data(), up.data(), n, out.data());
    benchmark::ClobberMemory();
  }
  count_rate(state, "bytes", bytes_of(3 * n));
}

void rope(benchmark::State& state, void (*rotate)(const float*, const float*, int, float*), int pairs) {
  const std::vector<float> cosine(static_cast<size_t>(pairs), 0.8f), sine(static_cast<size_t>(pairs), 0.6f);
  std::vector<float> head = waves(2 * pairs);
  for (auto _ : state) {
    rotate(cosine.data(), sine.data(), pairs, head.data());
    benchmark::ClobberMemory();
  }
  count_rate(state, "bytes", bytes_of(6 * pairs));
}

void add(benchmark::State& state, const KernelTable& table, int n) {
  const std::vector<float> x(static_cast<size_t>(n), 1e-6f);
  std::vector<float> y = waves(n);
  for (auto _ : state) {
    table.add(x.data(), n, y.data());
    benchmark::ClobberMemory();
  }
  count_rate(state, "bytes", bytes_of(3 * n));
}

void log_sum_exp(benchmark::State& state, const KernelTable& table, int n) {
  const std::vector<float> x = waves(n);
  for (auto _ : state) benchmark::DoNotOptimize(table.log_sum_exp(x.data(), n));
  count_rate(state, "bytes", bytes_of(n));
}

void pack_int8(benchmark::State& state, const KernelTable& table, int n) {
  const std::vector<float> x = waves(n);
  std::vector<int8_t> codes(x.size());
  const size_t blocks = x.size() / kernels::kActivationBlock;
  std::vector<float> scales(blocks), sums(blocks);
  std::vector<int32_t> neg_sums(2 * blocks);
  const kernels::Activations to{.tokens = 1,
                                .cols = n,
                                .codes = codes.data(),
                                .scales = scales.data(),
                                .scaled_sums = sums.data(),
                                .neg_sums = neg_sums.data(),
                                .values = nullptr};
  for (auto _ : state) {
    table.pack_int8(x.data(), 0, to);
    benchmark::ClobberMemory();
  }
  count_rate(state, "bytes", bytes_of(n));
}

}  // namespace

void register_vector_math(Size size) {
  const bool smoke = size == Size::kSmoke;
  const int width = smoke ? 64 : 2048, ffn_width = smoke ? 96 : 8192, vocabulary = smoke ? 100 : 128256;
  const int pairs = smoke ? 8 : 64;
  for (const KernelTable* table : machine_kernels()) {
    if (!is_worth_measuring(*table, size)) continue;
    const auto measure = [&](const std::string& name, int n, auto body) {
      add_benchmark(name + "/" + table->name + "/n:" + std::to_string(n), size,
                    [=](benchmark::State& state) { body(state, *table, n); });
    };
    measure("RmsNorm", width, rms_norm);
    measure("SiluMultiply", ffn_width, silu_multiply);
    measure("Add", width, add);
    measure("PackInt8", width, pack_int8);
    measure("LogSumExp", vocabulary, log_sum_exp);
    measure("RopeAdjacent", pairs,
            [](benchmark::State& state, const KernelTable& k, int n) { rope(state, k.rope_adjacent, n); });
    measure("RopeHalves", pairs,
            [](benchmark::State& state, const KernelTable& k, int n) { rope(state, k.rope_halves, n); });
  }
}

}  // namespace infer::bench
