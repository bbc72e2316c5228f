// What this machine can do at most, measured with the kernels that will be judged by it: reading memory (the limit of
// decoding) and multiplying (the limit of prefill), on all threads of the pool at once.
// Thread safety: one thread, the pool's caller; nothing else should run meanwhile.
#pragma once

#include <cstdint>

#include "base/call_context.h"
#include "base/result.h"
#include "kernels/kernel_table.h"
#include "os/thread_pool.h"

namespace infer::measure {

struct MachineLimits {
  double read_bytes_per_second = 0;
  double int8_ops_per_second = 0;  // A multiplication and an addition are two.
  double f32_ops_per_second = 0;
};

// Takes about a second and a buffer of eight times the last-level cache (256 MB at least). Medians of several passes.
Result<MachineLimits> measure_machine_limits(const kernels::KernelTable& kernels, os::ThreadPool& pool,
                                             uint64_t last_level_cache_bytes, const CallContext& call);

}  // namespace infer::measure
