// Sizes of packed weights, activations and scratch, the same for every instruction set.
// Thread safety: pure functions.
#pragma once

#include <cstddef>

#include "kernels/kernel_table.h"

namespace infer::kernels {

// Block types take int8 inputs, float types f32 inputs.
bool uses_int8_inputs(WeightType type);

int panel_count(int rows);
size_t row_bytes(WeightType type, int cols);
// 16 rows of the file's bytes, rounded up to 64.
size_t panel_bytes(WeightType type, int cols);
size_t packed_bytes(WeightType type, int rows, int cols);

// A buffer for up to `tokens` x `cols` inputs, both int8 and f32 views at once sharing nothing.
size_t activation_bytes(bool int8, int tokens, int cols);
// Lays the view over a 64-byte aligned buffer of activation_bytes(int8, tokens, cols).
Activations activation_view(std::byte* buffer, bool int8, int tokens, int cols);

size_t matmul_scratch_bytes(int cols_max);
// One KV head's part of a page (AttentionPage), multiples of 64: 16 bits, floats, and the planes of 8 bits.
size_t kv_page_bytes(int head_dim);
size_t kv_float_page_bytes(int head_dim);
size_t kv_high_bytes(int head_dim);
size_t kv_low_bytes(int head_dim);
// One row of AttentionArgs::queries: a multiple of 16.
size_t query_row_bytes(int head_dim);

}  // namespace infer::kernels
