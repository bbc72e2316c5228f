// The kernel tables that the machine under test can run, best first.
#pragma once

#include <span>

#include "kernels/dispatch.h"
#include "os/cpu_features.h"

namespace infer::testing {

inline std::span<const kernels::KernelTable* const> machine_kernels() {
  static const os::CpuFeatures cpu = os::detect_cpu_features();  // Asking takes long in a virtual machine.
  kernels::IsaSupport support;
  support.avx2_fma_f16c = cpu.avx2 && cpu.fma && cpu.f16c;
  support.avx512_vnni = cpu.avx512f && cpu.avx512bw && cpu.avx512dq && cpu.avx512vl && cpu.avx512_vnni;
  support.amx_int8 = cpu.amx_int8;
  return kernels::supported_kernels(support);
}

}  // namespace infer::testing
