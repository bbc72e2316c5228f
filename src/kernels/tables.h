// What the kernel files export: tables, one for each WeightStream, in its order; and for a set that is another one but
// for a few kernels, those.
#pragma once

#include "kernels/kernel_table.h"

namespace infer::kernels {

namespace scalar {
extern const KernelTable kTables[2];
}
namespace avx2 {
extern const KernelTable kTables[2];
}
namespace avx512 {
extern const KernelTable kTables[2];
}

namespace amx {  // Of avx512.
struct TileKernels {
  void (*matmul)(const MatmulArgs& args);
  uint64_t (*int8_peak)(uint64_t rounds, int32_t* sink);
};
extern const TileKernels kTileKernels;
}  // namespace amx

}  // namespace infer::kernels
