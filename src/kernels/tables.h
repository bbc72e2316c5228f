// The tables that the kernel files export.
#pragma once

#include "kernels/kernel_table.h"

namespace infer::kernels {

namespace scalar {
extern const KernelTable kTable;
}
namespace avx2 {
extern const KernelTable kTable;
}
namespace avx512 {
extern const KernelTable kTable;
}

}  // namespace infer::kernels
