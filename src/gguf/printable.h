// Text from a file made safe to print: one line, valid UTF-8, no control characters, no terminal escapes, no direction
// overrides. Names and values of a hostile file appear in messages only through this.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace infer::gguf {

// Bytes that cannot be shown become \xNN, \n, \t or \\; at most `max_chars` characters, the last three being dots when
// something was cut off.
std::string printable(std::string_view text, size_t max_chars);

// 'printable' in single quotes, for messages.
std::string quoted(std::string_view text);

}  // namespace infer::gguf
