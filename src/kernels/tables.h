// The tables that the kernel files export, one for each WeightStream, in its order.
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

}  // namespace infer::kernels
