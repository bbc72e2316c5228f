// All kernels for avx512: the generic algorithms over this instruction set's vocabulary, and the one table that leaves
// this file. Only plain headers may be included here (an inline function compiled for this instruction set must never
// be the one that the linker keeps for everybody); tests/tidy checks the object file's symbols.

// g++ 12's own header builds "undefined" operands from uninitialised variables and warns of them once inlined (GCC bug
// 105593); clang would be told of an unknown warning.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"
#include "kernels/tables.h"

// The vocabulary is whole in every file; no file uses all of it.
#pragma GCC diagnostic ignored "-Wunused-function"
#if !defined(__clang__)  // gcc 12 takes the undefined sources of masked intrinsics for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace infer::kernels::avx512 {
namespace {
#include "kernels/isa/avx512.h"
//
#include "kernels/generic/vector_math.inl.h"
//
#include "kernels/generic/kv_page.inl.h"
//
#include "kernels/generic/code_product.inl.h"
//
#include "kernels/generic/attention_nibbles.inl.h"
//
#include "kernels/generic/attention.inl.h"
//
#include "kernels/generic/unpack.inl.h"
//
#include "kernels/generic/tiles.inl.h"
//
#include "kernels/generic/unpacked.inl.h"
//
#include "kernels/generic/matmul.inl.h"
//
#include "kernels/generic/pack.inl.h"
//
#include "kernels/generic/limits.inl.h"
//
#include "kernels/isa/avx512_bf16.h"

constexpr KernelTable table(WeightStream stream) {
  return {
#include "kernels/generic/table.inl.h"
  };
}
}  // namespace

extern const KernelTable kTables[] = {table(WeightStream::kPastL2), table(WeightStream::kThroughL2)};

}  // namespace infer::kernels::avx512
