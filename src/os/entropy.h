// Random bits of the system, for what must not be guessed: tokens, and seeds of what is drawn from them.
// Thread safety: any thread. Each call asks the system.
#pragma once

#include <array>
#include <cstdint>

#include "base/result.h"

namespace infer::os {

// kIo when the system gives none.
Result<std::array<uint64_t, 4>> random_words();

}  // namespace infer::os
