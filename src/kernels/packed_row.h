// One row of a packed matrix as floats: what an embedding lookup wants from an output matrix that is also the
// embedding. Thread safety: pure.
#pragma once

#include "kernels/kernel_table.h"

namespace infer::kernels {

// The same values as dequantize_row of the file's row, out[panels.cols]. 0 <= row < panels.rows.
void dequantize_packed_row(const Panels& panels, int row, float* out);

}  // namespace infer::kernels
