// kernels_bench [--smoke] [Google Benchmark's options]: the speed of each kernel on each instruction set.
#include <string_view>
#include <vector>

#include "base/check.h"
#include "kernel_benchmarks.h"
#include "kernels/dispatch.h"
#include "os/cpu_features.h"

namespace infer::bench {

std::span<const kernels::KernelTable* const> machine_kernels() {
  const os::CpuFeatures cpu = os::detect_cpu_features();
  kernels::IsaSupport support;
  support.avx2_fma_f16c = cpu.avx2 && cpu.fma && cpu.f16c;
  support.avx512_vnni = cpu.avx512f && cpu.avx512bw && cpu.avx512dq && cpu.avx512vl && cpu.avx512_vnni;
  support.amx_int8 = cpu.amx_int8;
  support.stream = kernels::weight_stream_for(cpu.vendor, cpu.family);
  return kernels::supported_kernels(support);
}

bool is_worth_measuring(const kernels::KernelTable& table, Size size) {
  return size == Size::kSmoke || std::string_view(table.name) != "scalar";
}

os::PageMemory memory_of(size_t bytes) {
  auto memory = os::PageMemory::allocate(bytes);
  INFER_CHECK(memory.has_value());
  return std::move(memory.value());
}

void count_rate(benchmark::State& state, const char* name, double amount) {
  state.counters[name] =
      benchmark::Counter(amount * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

namespace {

void read_streams(benchmark::State& state, const kernels::KernelTable& table, size_t bytes, int streams, size_t ahead) {
  const os::PageMemory memory = memory_of(bytes);
  for (size_t i = 0; i < bytes; i += 64) memory.data()[i] = std::byte{1};
  for (auto _ : state) benchmark::DoNotOptimize(table.read_streams(memory.data(), bytes, streams, ahead));
  count_rate(state, "bytes", static_cast<double>(bytes));
}

template <class Sum>
void peak(benchmark::State& state, uint64_t (*run)(uint64_t rounds, Sum* sink)) {
  constexpr uint64_t kRounds = 10000;
  Sum sink{};
  double operations = 0;
  for (auto _ : state) operations = static_cast<double>(run(kRounds, &sink));
  benchmark::DoNotOptimize(sink);
  count_rate(state, "ops", operations);
}

}  // namespace

void register_limits(Size size) {
  const size_t bytes = size == Size::kSmoke ? size_t{1} << 16 : size_t{256} << 20;
  const bool has_bf16 = os::detect_cpu_features().avx512_bf16;
  for (const kernels::KernelTable* table : machine_kernels()) {
    if (!is_worth_measuring(*table, size)) continue;
    const std::string isa = std::string("/") + table->name;
    for (const int streams : {1, 2, 4, 8}) {
      for (const size_t ahead : {size_t{0}, size_t{1024}, size_t{4096}}) {
        const std::string name =
            "ReadStreams" + isa + "/streams:" + std::to_string(streams) + "/ahead:" + std::to_string(ahead);
        add_benchmark(name, size, [=](benchmark::State& state) { read_streams(state, *table, bytes, streams, ahead); });
      }
    }
    add_benchmark("Int8Peak" + isa, size, [=](benchmark::State& state) { peak(state, table->int8_peak); });
    add_benchmark("F32Peak" + isa, size, [=](benchmark::State& state) { peak(state, table->f32_peak); });
    if (table->bf16_peak != nullptr && has_bf16) {
      add_benchmark("Bf16Peak" + isa, size, [=](benchmark::State& state) { peak(state, table->bf16_peak); });
    }
  }
}

}  // namespace infer::bench

int main(int argc, char** argv) {
  using namespace infer::bench;
  Size size = Size::kFull;
  std::vector<char*> arguments;
  for (int i = 0; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--smoke") {
      size = Size::kSmoke;
    } else {
      arguments.push_back(argv[i]);
    }
  }
  register_limits(size);
  register_matmul(size);
  register_attention(size);
  register_vector_math(size);
  register_sampling(size);
  register_spill(size);
  register_masks(size);
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  const size_t run = benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return run > 0 ? 0 : 2;  // A filter that meets nothing is a mistake.
}
