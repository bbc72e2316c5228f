#include "jinja/python_text.h"

#include <array>
#include <charconv>
#include <cmath>

#include "base/utf8.h"

namespace infer::jinja {
namespace {

bool in(char32_t code, char32_t first, char32_t last) { return code >= first && code <= last; }

// Ranges where upper and lower case letters alternate, the upper ones at even or at odd codes.
bool is_paired_even(char32_t code) {
  return in(code, 0x100, 0x12F) || in(code, 0x132, 0x137) || in(code, 0x14A, 0x177) || in(code, 0x1E00, 0x1E95) ||
         in(code, 0x1EA0, 0x1EFF) || in(code, 0x460, 0x481) || in(code, 0x48A, 0x4BF) || in(code, 0x4D0, 0x52F) ||
         in(code, 0x1DE, 0x1EF) || in(code, 0x1F8, 0x21F) || in(code, 0x222, 0x233) || in(code, 0x370, 0x373);
}
bool is_paired_odd(char32_t code) {
  return in(code, 0x139, 0x148) || in(code, 0x179, 0x17E) || in(code, 0x4C1, 0x4CE) || in(code, 0x1CD, 0x1DC);
}

// Blocks whose lower case letters are a fixed distance above the upper case ones.
struct CaseBlock {
  char32_t first_upper, last_upper, distance;
};
constexpr std::array<CaseBlock, 8> kCaseBlocks = {{{'A', 'Z', 32},
                                                   {0xC0, 0xD6, 32},
                                                   {0xD8, 0xDE, 32},
                                                   {0x391, 0x3A1, 32},
                                                   {0x3A3, 0x3AB, 32},
                                                   {0x400, 0x40F, 80},
                                                   {0x410, 0x42F, 32},
                                                   {0x531, 0x556, 48}}};

}  // namespace

Character character_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  if (byte(0) < 0x80) return {byte(0), 1};
  const Utf8Char next = first_utf8_char(text.substr(at));
  if (next.state != Utf8State::kWhole) return {kNoCode, 1};
  char32_t code = byte(0) & (next.length == 2 ? 0x1Fu : next.length == 3 ? 0x0Fu : 0x07u);
  for (size_t i = 1; i < next.length; ++i) code = code << 6 | (byte(i) & 0x3Fu);
  return {code, next.length};
}

size_t count_characters(std::string_view text) {
  size_t count = 0;
  for (size_t at = 0; at < text.size(); at += character_at(text, at).length) ++count;
  return count;
}

size_t byte_of_character(std::string_view text, size_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += character_at(text, at).length;
  return at;
}

void append_utf8(std::string& out, char32_t code) {
  const auto put = [&out](char32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | code >> 6);
  } else {
    if (code < 0x10000) {
      put(0xE0 | code >> 12);
    } else {
      put(0xF0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3F));
    }
    put(0x80 | (code >> 6 & 0x3F));
  }
  put(0x80 | (code & 0x3F));
}

bool is_space(char32_t code) {
  return in(code, 9, 13) || in(code, 0x1C, 0x20) || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         in(code, 0x2000, 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
         code == 0x3000;
}

bool is_printable(char32_t code) {
  if (code == ' ') return true;
  if (code < 0x20 || in(code, 0x7F, 0xA0) || code == 0xAD || is_space(code)) return false;
  return !(in(code, 0x600, 0x605) || code == 0x61C || code == 0x6DD || code == 0x70F || code == 0x180E ||
           in(code, 0x200B, 0x200F) || in(code, 0x202A, 0x202E) || in(code, 0x2060, 0x206F) ||
           in(code, 0xD800, 0xF8FF) || code == 0xFEFF || in(code, 0xFFF0, 0xFFFB) || code == 0xFFFE || code == 0xFFFF ||
           code >= 0xE0000);
}

bool is_letter(char32_t code) {
  if (code < 0x80) return in(code | 32, 'a', 'z');
  return code == 0xAA || code == 0xB5 || code == 0xBA ||
         (code >= 0xC0 && code != 0xD7 && code != 0xF7 && is_printable(code) && !in(code, 0x2000, 0x2BFF) &&
          !in(code, 0x3000, 0x3004) && !in(code, 0x3008, 0x3030) && !in(code, 0x1F000, 0x1FAFF));
}

char32_t to_upper(char32_t code) {
  for (const CaseBlock& block : kCaseBlocks) {
    if (in(code, block.first_upper + block.distance, block.last_upper + block.distance)) return code - block.distance;
  }
  if (code == 0xFF) return 0x178;
  if (code == 0xB5) return 0x39C;
  if (code == 0x3C2) return 0x3A3;
  if (code == 0x131) return 'I';
  if (is_paired_even(code) && code % 2 == 1) return code - 1;
  if (is_paired_odd(code) && code % 2 == 0) return code - 1;
  return code;
}

char32_t to_lower(char32_t code) {
  for (const CaseBlock& block : kCaseBlocks) {
    if (in(code, block.first_upper, block.last_upper)) return code + block.distance;
  }
  if (code == 0x178) return 0xFF;
  if (is_paired_even(code) && code % 2 == 0) return code + 1;
  if (is_paired_odd(code) && code % 2 == 1) return code + 1;
  return code;
}

Stripped strip(std::string_view text, std::string_view set, bool left, bool right) {
  const auto goes = [set](std::string_view character) {
    if (set.empty()) return is_space(character_at(character, 0).code);
    for (size_t at = 0; at < set.size(); at += character_at(set, at).length) {
      if (set.substr(at, character_at(set, at).length) == character) return true;
    }
    return false;
  };
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const size_t length = character_at(text, begin).length;
    if (!goes(text.substr(begin, length))) break;
    begin += length;
  }
  while (right && begin < end) {
    size_t last = end - 1;
    while (last > begin && end - last < 4 && (static_cast<uint8_t>(text[last]) & 0xC0) == 0x80) --last;
    if (character_at(text, last).length != end - last) last = end - 1;
    if (!goes(text.substr(last, end - last))) break;
    end = last;
  }
  return {begin, end};
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 400> digits{};
  // Python writes an exponent from 1e16 and below 1e-4.
  const double size = std::fabs(value);
  const bool fixed = size == 0 || (size >= 1e-4 && size < 1e16);
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value,
                                 fixed ? std::chars_format::fixed : std::chars_format::scientific);
  std::string text(digits.data(), end.ptr);
  if (fixed && text.find('.') == std::string::npos) text += ".0";
  return text;
}

Searcher::Searcher(std::string_view needle) : needle_(needle) {
  constexpr size_t kShort = 16;
  if (needle.size() <= kShort) return;
  borders_.resize(needle.size() + 1);
  uint32_t border = 0;
  for (size_t i = 1; i < needle.size(); ++i) {
    while (border > 0 && needle[i] != needle[border]) border = borders_[border];
    if (needle[i] == needle[border]) ++border;
    borders_[i + 1] = border;
  }
}

size_t Searcher::find(std::string_view text, size_t from) const {
  if (borders_.empty()) return text.find(needle_, from);
  size_t matched = 0;
  for (size_t i = from; i < text.size(); ++i) {
    while (matched > 0 && text[i] != needle_[matched]) matched = borders_[matched];
    if (text[i] == needle_[matched]) ++matched;
    if (matched == needle_.size()) return i + 1 - matched;
  }
  return std::string_view::npos;
}

}  // namespace infer::jinja
