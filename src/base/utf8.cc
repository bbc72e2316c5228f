#include "base/utf8.h"

#include <cstdint>
#include <cstring>

namespace infer {
namespace {

// The bytes that may follow a lead byte: how many, and the range of the first of them (the others are 80..BF).
struct LeadByte {
  uint8_t continuation_count;
  uint8_t low;
  uint8_t high;
};

LeadByte classify_lead(uint8_t lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return {1, 0x80, 0xBF};
  if (lead == 0xE0) return {2, 0xA0, 0xBF};
  if (lead == 0xED) return {2, 0x80, 0x9F};
  if (lead >= 0xE1 && lead <= 0xEF) return {2, 0x80, 0xBF};
  if (lead == 0xF0) return {3, 0x90, 0xBF};
  if (lead >= 0xF1 && lead <= 0xF3) return {3, 0x80, 0xBF};
  if (lead == 0xF4) return {3, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Char first_utf8_char(std::string_view bytes) {
  const auto byte_at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  if (byte_at(0) < 0x80) return {Utf8State::kWhole, 1};
  const LeadByte lead = classify_lead(byte_at(0));
  if (lead.continuation_count == 0) return {Utf8State::kInvalid, 1};
  uint8_t low = lead.low;
  uint8_t high = lead.high;
  for (size_t i = 1; i <= lead.continuation_count; ++i) {
    if (i == bytes.size()) return {Utf8State::kIncomplete, i};
    if (byte_at(i) < low || byte_at(i) > high) return {Utf8State::kInvalid, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Utf8State::kWhole, size_t{1} + lead.continuation_count};
}

size_t valid_utf8_prefix(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    uint64_t eight = 0;
    while (at + sizeof eight <= bytes.size()) {  // Most text is ASCII: eight bytes at a time.
      std::memcpy(&eight, bytes.data() + at, sizeof eight);
      if ((eight & 0x8080808080808080ull) != 0) break;
      at += sizeof eight;
    }
    if (at == bytes.size()) break;
    const Utf8Char next = first_utf8_char(bytes.substr(at));
    if (next.state != Utf8State::kWhole) break;
    at += next.length;
  }
  return at;
}

}  // namespace infer
