// UTF-8, which the program uses everywhere, to and from the UTF-16 of Windows. Internal to os/.
#pragma once

#if defined(_WIN32)

#include <string>
#include <string_view>

namespace infer::os {

// Bytes that are not UTF-8 become U+FFFD, and halves of surrogate pairs likewise.
std::wstring to_utf16(std::string_view text);
std::string to_utf8(std::wstring_view text);

}  // namespace infer::os

#endif
