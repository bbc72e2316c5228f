#include "tokenizer/byte_alphabet.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace infer::tokenizer {
namespace {

constexpr int kCodePoints = 0x144;  // One more than the largest code point of the alphabet.

constexpr bool spells_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

struct Alphabet {
  std::array<uint16_t, 256> code_point_of{};
  std::array<int16_t, kCodePoints> byte_of{};  // -1: not of the alphabet.

  constexpr Alphabet() {
    for (int16_t& byte : byte_of) byte = -1;
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const int code_point = spells_itself(byte) ? byte : next++;
      code_point_of[static_cast<size_t>(byte)] = static_cast<uint16_t>(code_point);
      byte_of[static_cast<size_t>(code_point)] = static_cast<int16_t>(byte);
    }
  }
};

constexpr Alphabet kAlphabet;

}  // namespace

bool append_spelled_bytes(std::string_view text, std::string& out) {
  const size_t before = out.size();
  for (size_t at = 0; at < text.size();) {
    // The alphabet lies below U+0144, so its characters take one or two bytes.
    const auto first = static_cast<uint8_t>(text[at]);
    unsigned code_point = first;
    size_t length = 1;
    if (first >= 0xC2 && first <= 0xC5 && at + 1 < text.size()) {
      const auto second = static_cast<uint8_t>(text[at + 1]);
      code_point = (second & 0xC0) == 0x80 ? (first & 0x1Fu) << 6 | (second & 0x3Fu) : kCodePoints;
      length = 2;
    } else if (first >= 0x80) {
      code_point = kCodePoints;
    }
    if (code_point >= kCodePoints || kAlphabet.byte_of[code_point] < 0) {
      out.resize(before);
      return false;
    }
    out.push_back(static_cast<char>(kAlphabet.byte_of[code_point]));
    at += length;
  }
  return true;
}

std::string spelled_byte(unsigned char byte) {
  const unsigned code_point = kAlphabet.code_point_of[byte];
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0u | code_point >> 6), static_cast<char>(0x80u | (code_point & 0x3Fu))};
}

}  // namespace infer::tokenizer
