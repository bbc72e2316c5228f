// Well-formed UTF-8 (Unicode's table 3-7: no surrogates, no overlong forms, nothing above U+10FFFF), found byte by
// byte. Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <string_view>

namespace infer {

// What stands at the start of some bytes.
enum class Utf8State {
  kWhole,       // A well-formed character of `length` bytes.
  kIncomplete,  // `length` bytes, all there is, that more bytes could complete.
  kInvalid,     // `length` bytes that no further byte makes a character (the maximal such start of one, at least 1).
};

struct Utf8Char {
  Utf8State state;
  size_t length;
};

// `bytes` is not empty.
Utf8Char first_utf8_char(std::string_view bytes);

// The length of the longest prefix that is well formed.
size_t valid_utf8_prefix(std::string_view bytes);

}  // namespace infer
