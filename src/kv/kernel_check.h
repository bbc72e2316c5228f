// Whether the kernels of the KV cache compute on this processor what they should: keys and values of one page at 16, 8
// and 4 bits, attended to, against the plain formula.
//
// A set of instructions that the processor claims and gets wrong, or a build that went wrong, shows here before it
// shows in answers. Takes well below a millisecond. Thread safety: pure functions.
#pragma once

#include "kernels/kernel_table.h"

namespace infer::kv {

struct KernelCheck {
  // Length of the error over that of the exact output.
  double error_16 = 0, error_8 = 0, error_4 = 0;

  // What rounding to so many bits explains, several times over; a NaN is never within it.
  bool works_16() const { return error_16 < 0.002; }
  bool works_8() const { return error_8 < 0.05; }
  bool works_4() const { return error_4 < 0.5; }
};

KernelCheck check_kernels(const kernels::KernelTable& kernels);

}  // namespace infer::kv
