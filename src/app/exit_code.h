// What the shell sees: 0 ok, 2 bad usage, 3 bad input file, 4 deadline, 5 out of memory budget, 1 anything else.
#pragma once

#include <string_view>

#include "base/result.h"

namespace infer::app {

inline constexpr int kExitOk = 0;
inline constexpr int kExitOther = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitInput = 3;
inline constexpr int kExitDeadline = 4;
inline constexpr int kExitMemory = 5;

int exit_code(ErrorCode code);

// An error that came while opening an input file is about the file, whatever the layer below called it: a directory
// or an empty file is an invalid argument to the mapping, but a bad input file to the user.
Error as_input_error(Error error, std::string_view remedy);

}  // namespace infer::app
