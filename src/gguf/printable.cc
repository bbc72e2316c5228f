#include "gguf/printable.h"

#include <cstdint>

#include "base/format.h"

namespace infer::gguf {

namespace {

constexpr size_t kQuotedChars = 80;

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Decodes the UTF-8 sequence at the front; returns its length, or 0 when it is malformed (also overlong forms,
// surrogates and values above U+10FFFF).
size_t decode(std::string_view text, uint32_t* code_point) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  uint32_t value = length == 1 ? lead : lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if (!is_continuation(text[i])) return 0;
    value = value << 6 | (static_cast<unsigned char>(text[i]) & 0x3Fu);
  }
  if (length == 3 && (value < 0x800 || (value >= 0xD800 && value < 0xE000))) return 0;
  if (length == 4 && (value < 0x10000 || value > 0x10FFFF)) return 0;
  *code_point = value;
  return length;
}

// Control characters (C0, DEL, C1), line separators, and the marks that reorder or hide text.
bool is_unsafe(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF;
}

void append_escaped(std::string_view bytes, std::string* out) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const char c : bytes) {
    if (c == '\n') {
      *out += "\\n";
    } else if (c == '\t') {
      *out += "\\t";
    } else {
      const auto byte = static_cast<unsigned char>(c);
      *out += "\\x";
      *out += kDigits[byte >> 4];
      *out += kDigits[byte & 15];
    }
  }
}

// Appends what stands for the first character of `text`; returns how many bytes it covered and how wide it came out.
size_t append_character(std::string_view text, std::string* out, size_t* width) {
  uint32_t code_point = 0;
  const size_t length = decode(text, &code_point);
  const size_t before = out->size();
  if (length > 0 && !is_unsafe(code_point) && code_point != '\\') {
    out->append(text.substr(0, length));
    *width = 1;
    return length;
  }
  const size_t taken = length == 0 ? 1 : length;
  if (code_point == '\\') {
    *out += "\\\\";
  } else {
    append_escaped(text.substr(0, taken), out);
  }
  *width = out->size() - before;
  return taken;
}

}  // namespace

std::string printable(std::string_view text, size_t max_chars) {
  constexpr size_t kDots = 3;
  std::string out;
  size_t chars = 0;
  size_t room_for_dots = 0;  // Length of the longest prefix that leaves room for the dots.
  while (!text.empty()) {
    size_t width = 0;
    text.remove_prefix(append_character(text, &out, &width));
    chars += width;
    if (chars + kDots <= max_chars) room_for_dots = out.size();
    if (chars > max_chars) {
      out.resize(room_for_dots);
      out.append(max_chars < kDots ? max_chars : kDots, '.');
      return out;
    }
  }
  return out;
}

std::string quoted(std::string_view text) { return format("'{}'", printable(text, kQuotedChars)); }

}  // namespace infer::gguf
