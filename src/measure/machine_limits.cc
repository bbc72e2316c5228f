#include "measure/machine_limits.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "measure/statistics.h"
#include "os/cpu_features.h"
#include "os/page_memory.h"

namespace infer::measure {
namespace {

constexpr size_t kReadBytesMin = 256u << 20;
constexpr size_t kReadBytesMax = size_t{2} << 30;
constexpr size_t kPieceBytes = 1 << 20;
constexpr int kPasses = 5;
constexpr double kPieceSeconds = 0.004;
constexpr int kPiecesPerThread = 8;  // So that a thread that is disturbed does not decide the result alone.

// How a thread goes through its piece.
struct ReadingWay {
  int streams;
  size_t ahead;  // Bytes between a prefetch and the use.
};
constexpr std::array<ReadingWay, 6> kReadingWays{{{1, 0}, {1, 4096}, {2, 0}, {2, 4096}, {4, 0}, {4, 2048}}};

Result<double> measure_reading(const kernels::KernelTable& kernels, os::ThreadPool& pool,
                               std::span<const std::byte> memory, const CallContext& call) {
  const size_t pieces = memory.size() / kPieceBytes;
  std::vector<uint64_t> sums(static_cast<size_t>(pool.threads()) * 8);  // A cache line apart.
  std::array<std::vector<double>, kReadingWays.size()> rates;
  for (int pass = 0; pass <= kPasses; ++pass) {  // The ways take turns: a disturbance meets all of them.
    for (size_t way = 0; way < kReadingWays.size(); ++way) {
      INFER_TRY(call.check("measuring the memory's speed"));
      const auto [streams, ahead] = kReadingWays[way];
      const Instant start = call.clock.now();
      pool.run(pieces, [&](size_t piece, int thread) {
        sums[static_cast<size_t>(thread) * 8] +=
            kernels.read_streams(memory.data() + piece * kPieceBytes, kPieceBytes, streams, ahead);
      });
      const double seconds = (call.clock.now() - start).seconds();
      if (pass > 0) rates[way].push_back(static_cast<double>(pieces * kPieceBytes) / std::max(seconds, 1e-9));
    }
  }
  double best = 0;
  for (const std::vector<double>& of_way : rates) best = std::max(best, summarize(of_way).median);
  return best;
}

// `peak(rounds)` runs on one thread and returns its number of operations.
template <class Peak>
Result<double> measure_operations(os::ThreadPool& pool, const CallContext& call, Peak peak) {
  uint64_t rounds = 1 << 12;
  for (double seconds = 0; seconds < kPieceSeconds; rounds *= 2) {  // How many rounds fill a piece?
    const Instant start = call.clock.now();
    (void)peak(rounds, 0);
    seconds = (call.clock.now() - start).seconds();
  }
  std::vector<double> rates;
  const size_t pieces = static_cast<size_t>(pool.threads()) * kPiecesPerThread;
  for (int pass = 0; pass < kPasses; ++pass) {
    INFER_TRY(call.check("measuring the processor's speed"));
    std::vector<uint64_t> operations(pieces);
    const Instant start = call.clock.now();
    pool.run(pieces, [&](size_t piece, int thread) { operations[piece] = peak(rounds / 2, thread); });
    const double seconds = (call.clock.now() - start).seconds();
    uint64_t sum = 0;
    for (const uint64_t count : operations) sum += count;
    rates.push_back(static_cast<double>(sum) / std::max(seconds, 1e-9));
  }
  return summarize(rates).median;
}

}  // namespace

Result<MachineLimits> measure_machine_limits(const kernels::KernelTable& kernels, os::ThreadPool& pool,
                                             std::span<const std::byte> memory, uint64_t last_level_cache_bytes,
                                             const CallContext& call) {
  MachineLimits limits;
  const uint64_t least = std::clamp<uint64_t>(8 * last_level_cache_bytes, kReadBytesMin, kReadBytesMax);
  os::PageMemory buffer;
  if (memory.size() < least) {
    INFER_ASSIGN(buffer, os::PageMemory::allocate(least));
    pool.run(least / kPieceBytes,
             [&](size_t piece, int) { std::memset(buffer.data() + piece * kPieceBytes, 1, kPieceBytes); });
    memory = {buffer.data(), least};
  }
  memory = memory.first(std::min(memory.size(), kReadBytesMax));
  INFER_ASSIGN(limits.read_bytes_per_second, measure_reading(kernels, pool, memory, call));
  // Where the sums go, a cache line apart, so that the products are not optimized away.
  std::vector<int32_t> integers(static_cast<size_t>(pool.threads()) * 16);
  std::vector<float> floats(static_cast<size_t>(pool.threads()) * 16);
  INFER_ASSIGN(limits.int8_ops_per_second, measure_operations(pool, call, [&](uint64_t rounds, int thread) {
                 return kernels.int8_peak(rounds, &integers[static_cast<size_t>(thread) * 16]);
               }));
  INFER_ASSIGN(limits.f32_ops_per_second, measure_operations(pool, call, [&](uint64_t rounds, int thread) {
                 return kernels.f32_peak(rounds, &floats[static_cast<size_t>(thread) * 16]);
               }));
  // The kernels of a set may be there without the processor's having these instructions.
  if (kernels.bf16_peak != nullptr && os::detect_cpu_features().avx512_bf16) {
    INFER_ASSIGN(limits.bf16_ops_per_second, measure_operations(pool, call, [&](uint64_t rounds, int thread) {
                   return kernels.bf16_peak(rounds, &floats[static_cast<size_t>(thread) * 16]);
                 }));
  }
  return limits;
}

MachineLimits median_limits(std::span<const MachineLimits> measured) {
  const auto median = [&](auto figure) {
    std::vector<double> values;
    for (const MachineLimits& one : measured) values.push_back(figure(one));
    return summarize(values).median;
  };
  MachineLimits limits{.read_bytes_per_second = median([](const MachineLimits& m) { return m.read_bytes_per_second; }),
                       .int8_ops_per_second = median([](const MachineLimits& m) { return m.int8_ops_per_second; }),
                       .f32_ops_per_second = median([](const MachineLimits& m) { return m.f32_ops_per_second; }),
                       .bf16_ops_per_second = {}};
  const bool has_bf16 = std::all_of(measured.begin(), measured.end(),
                                    [](const MachineLimits& m) { return m.bf16_ops_per_second.has_value(); });
  if (has_bf16) limits.bf16_ops_per_second = median([](const MachineLimits& m) { return *m.bf16_ops_per_second; });
  return limits;
}

}  // namespace infer::measure
