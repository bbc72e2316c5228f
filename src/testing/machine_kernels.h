// The kernel tables that the machine under test can run, best first.
#pragma once

#include <span>

#include "kernels/dispatch.h"

namespace infer::testing {

inline std::span<const kernels::KernelTable* const> machine_kernels() {
  kernels::IsaSupport support;
  support.avx2_fma_f16c = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  support.avx512_vnni = __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw");
  return kernels::supported_kernels(support);
}

}  // namespace infer::testing
