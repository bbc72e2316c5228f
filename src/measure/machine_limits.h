// What this machine can do at most, measured with the kernels that will be judged by it: reading memory (the limit of
// decoding) and multiplying (the limit of prefill), on all threads of the pool at once.
// Thread safety: one thread, the pool's caller; nothing else should run meanwhile.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/call_context.h"
#include "base/result.h"
#include "kernels/kernel_table.h"
#include "os/thread_pool.h"

namespace infer::measure {

struct MachineLimits {
  double read_bytes_per_second = 0;
  double int8_ops_per_second = 0;  // A multiplication and an addition are two.
  double f32_ops_per_second = 0;
  std::optional<double> bf16_ops_per_second;  // Of dot products of BF16 pairs; nothing where there are none.
};

// Takes about a second. Each figure is the median of several passes; that of reading is the best median over several
// ways to read (one stream or several in each thread, with and without prefetching), so that it bounds whatever order a
// kernel reads in.
// `memory` is what is read: the very memory whose reading is to be judged, because pages of one machine differ (nearer
// and farther memory, large and small pages of the host: 42 and 75 GB/s were seen side by side). Where it is smaller
// than eight times the last-level cache (256 MB at least), a buffer of that size takes its place.
Result<MachineLimits> measure_machine_limits(const kernels::KernelTable& kernels, os::ThreadPool& pool,
                                             std::span<const std::byte> memory, uint64_t last_level_cache_bytes,
                                             const CallContext& call);

// Of each figure the median of several measurements (at least one). A shared machine drifts by more than what is worth
// knowing: limits are to be measured in turns with what they are compared with.
MachineLimits median_limits(std::span<const MachineLimits> measured);

}  // namespace infer::measure
