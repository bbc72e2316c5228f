// How many columns of a terminal a text takes: Japanese and Chinese characters take two, combining marks none.
//
// A fixed table of the wide and the zero-width ranges of Unicode 15 (East Asian Width W and F, emoji, marks), because
// wcwidth depends on the locale and on the C library. Bytes that are not UTF-8 count as one column each, control
// characters as none.
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>

namespace infer::app {

int display_width(std::string_view utf8);

// The text if it fits, else its longest start that leaves room for "…". columns >= 0.
std::string fit_width(std::string_view utf8, int columns);

// Text of a model or a file as a terminal may be given it: control characters but line feed and tab become U+FFFD, so
// that no file can move the cursor or rename the window.
std::string printable(std::string_view utf8);

}  // namespace infer::app
