// Which kernel table this machine runs. Chosen once at start and passed down by reference.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "kernels/kernel_table.h"

namespace infer::kernels {

// What the processor and the system support; os/cpu_features.h fills it (kernels knows no system calls).
struct IsaSupport {
  bool avx2_fma_f16c = false;
  bool avx512_vnni = false;  // F, BW, DQ, VL and VNNI, with the registers saved by the system.
  bool amx_int8 = false;     // Tiles and their products of bytes, which the system lets this process use.
  WeightStream stream = WeightStream::kThroughL2;
};

// What suits a processor, by the maker's name and the family that CPUID gives.
WeightStream weight_stream_for(std::string_view vendor, int family);

// The best table; or the one named by `forced` ("scalar", "avx2", "avx512", "amx"; "" = best). An unknown name lists
// the known ones; an unsupported one says so.
Result<const KernelTable*> select_kernels(const IsaSupport& support, std::string_view forced);

// All tables that this machine can run, best first.
std::span<const KernelTable* const> supported_kernels(const IsaSupport& support);

}  // namespace infer::kernels
