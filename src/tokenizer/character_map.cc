#include "tokenizer/character_map.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "base/utf8.h"

namespace infer::tokenizer {
namespace {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// A unit of a Darts double array: where its children are, which byte leads to it, whether a value hangs below.
size_t children_offset(uint32_t unit) { return static_cast<size_t>(unit >> 10) << ((unit & 0x200u) >> 6); }
uint32_t label(uint32_t unit) { return unit & 0x800000FFu; }
bool has_value(uint32_t unit) { return (unit & 0x100u) != 0; }
size_t value_of(uint32_t unit) { return unit & 0x7FFFFFFFu; }

Error corrupt(std::string message) {
  return {ErrorCode::kCorrupt, "tokenizer: tokenizer.ggml.precompiled_charsmap " + std::move(message)};
}

uint32_t little_endian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < sizeof value; ++i) value |= uint32_t{static_cast<uint8_t>(bytes[at + i])} << 8 * i;
  return value;
}

// Of NUL-terminated texts.
size_t longest_text(std::string_view texts) {
  size_t longest = 0;
  while (!texts.empty()) {
    const size_t length = texts.find('\0');
    longest = std::max(longest, length);
    texts.remove_prefix(length + 1);
  }
  return longest;
}

}  // namespace

Result<CharacterMap> CharacterMap::parse(std::string_view bytes) {
  constexpr size_t kUnitBytes = sizeof(uint32_t);
  CharacterMap map;
  if (bytes.empty()) return map;
  if (bytes.size() < kUnitBytes) return corrupt(format("has {} bytes; expected at least {}", bytes.size(), kUnitBytes));
  const size_t table_bytes = little_endian(bytes, 0);
  if (table_bytes % kUnitBytes != 0 || table_bytes > bytes.size() - kUnitBytes) {
    return corrupt(format("says that its table has {} bytes; expected a multiple of {} up to the {} that follow",
                          table_bytes, kUnitBytes, bytes.size() - kUnitBytes));
  }
  map.replacements_ = bytes.substr(kUnitBytes + table_bytes);
  if (!map.replacements_.empty() && map.replacements_.back() != '\0') {
    return corrupt("ends inside of a replacement; expected a zero byte at its end");
  }
  if (const size_t longest = longest_text(map.replacements_); longest > kTextBytesMax) {
    return corrupt(format("has a replacement of {} bytes; expected at most {}", longest, kTextBytesMax));
  }
  map.units_.reserve(table_bytes / kUnitBytes);
  for (size_t at = 0; at < table_bytes; at += kUnitBytes) {
    map.units_.push_back(little_endian(bytes, kUnitBytes + at));
  }
  return map;
}

CharacterMap::Normalized CharacterMap::normalize_next(std::string_view text) const {
  size_t matched = 0;
  size_t replacement = 0;
  size_t unit = units_.empty() ? 0 : children_offset(units_[0]);
  const size_t end_of_sequence = std::min(text.size(), kTextBytesMax);
  for (size_t at = 0; at < end_of_sequence && text[at] != '\0'; ++at) {
    const auto byte = static_cast<uint8_t>(text[at]);
    unit ^= byte;
    if (unit >= units_.size() || label(units_[unit]) != byte) break;
    const bool ends_here = has_value(units_[unit]);
    unit ^= children_offset(units_[unit]);
    if (!ends_here || unit >= units_.size() || value_of(units_[unit]) >= replacements_.size()) continue;
    matched = at + 1;
    replacement = value_of(units_[unit]);
  }
  if (matched > 0) {
    const size_t end = replacements_.find('\0', replacement);
    return {std::string_view(replacements_).substr(replacement, end - replacement), matched};
  }
  const Utf8Char next = first_utf8_char(text);
  if (next.state != Utf8State::kWhole) return {kReplacementCharacter, 1};
  return {text.substr(0, next.length), next.length};
}

}  // namespace infer::tokenizer
