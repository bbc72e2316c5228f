// Text of a file or a user, quoted for a message: one line, at most 48 bytes of it, control characters and ill-formed
// bytes as \xHH, so that a terminal shows it as it is.
// Thread safety: a pure function.
#pragma once

#include <string>
#include <string_view>

namespace infer {

std::string quoted(std::string_view text);

}  // namespace infer
