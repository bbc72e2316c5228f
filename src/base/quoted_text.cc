#include "base/quoted_text.h"

#include <cstdint>

#include "base/utf8.h"

namespace infer {

std::string quoted(std::string_view text) {
  constexpr size_t kMaxBytes = 48;
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out = "\"";
  size_t at = 0;
  while (at < text.size() && at < kMaxBytes) {
    const Utf8Char next = first_utf8_char(text.substr(at));
    const auto first = static_cast<uint8_t>(text[at]);
    const bool is_control = next.length == 1 && (first < 0x20 || first == 0x7F);
    const bool is_c1_control = next.length == 2 && first == 0xC2 && static_cast<uint8_t>(text[at + 1]) < 0xA0;
    if (next.state == Utf8State::kWhole && !is_control && !is_c1_control) {
      out.append(text.substr(at, next.length));
    } else {
      for (size_t i = at; i < at + next.length; ++i) {
        const auto byte = static_cast<uint8_t>(text[i]);
        out.append("\\x").append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
      }
    }
    at += next.length;
  }
  return out.append(at < text.size() ? "...\"" : "\"");
}

}  // namespace infer
