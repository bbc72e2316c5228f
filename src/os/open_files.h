// How many files and sockets this process may have open. Many systems start a process with room for 1,024 and allow far
// more to those who ask.
// Thread safety: process-wide; call it before threads open files.
#pragma once

#include <cstdint>

namespace infer::os {

// Asks for room for `wanted`. Returns how many may be open now, which can be less, and can be more.
uint64_t raise_open_file_limit(uint64_t wanted);

}  // namespace infer::os
