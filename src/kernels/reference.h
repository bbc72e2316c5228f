// The plain definitions: what a weight is worth, what a product should be. Slow, obvious, compiled for the baseline
// processor; tests hold every kernel against these, and embedding lookups use dequantize_row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/block_formats.h"

namespace infer::kernels {

float half_to_float(uint16_t half);
uint16_t float_to_half(float value);  // To nearest, ties to even; overflow gives infinity.
float bfloat16_to_float(uint16_t bits);

// One row of `cols` weights as it lies in a file -> floats.
void dequantize_row(WeightType type, const std::byte* row, int cols, float* out);

// Writes one row of floats in the given type, round to nearest within each block (the simple quantizer of the format;
// for tests and make-model, not meant to be the best possible one).
void quantize_row(WeightType type, const float* values, int cols, std::byte* row);

}  // namespace infer::kernels
