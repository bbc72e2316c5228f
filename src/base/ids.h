// Integers that must not be mixed up.
#pragma once

#include <cstdint>

namespace infer {

using TokenId = int32_t;  // An index into the vocabulary; -1 is "none".
inline constexpr TokenId kNoToken = -1;

}  // namespace infer
