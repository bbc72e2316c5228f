#include "grammar/utf8_sequences.h"

#include <algorithm>

namespace infer::grammar {
namespace {

// Both characters have UTF-8 of `length` bytes, of which those from `at` on may still be any between theirs.
void append_between(const std::string& first, const std::string& last, size_t at, ByteSequence prefix,
                    std::vector<ByteSequence>& out) {
  const auto low = static_cast<uint8_t>(first[at]), high = static_cast<uint8_t>(last[at]);
  const size_t length = first.size();
  const auto all_are = [&](const std::string& text, char byte) {
    return std::all_of(text.begin() + static_cast<ptrdiff_t>(at) + 1, text.end(), [&](char c) { return c == byte; });
  };
  // With whole blocks of continuation bytes behind it, a range of this byte is one sequence.
  if (low == high && at + 1 < length) {
    prefix.bytes[at] = {low, high};
    append_between(first, last, at + 1, prefix, out);
    return;
  }
  uint8_t whole_low = low, whole_high = high;
  if (!all_are(first, '\x80')) {
    ByteSequence head = prefix;
    head.bytes[at] = {low, low};
    append_between(first, first.substr(0, at + 1) + std::string(length - at - 1, '\xBF'), at + 1, head, out);
    ++whole_low;
  }
  const bool has_tail = !all_are(last, '\xBF');
  if (has_tail) --whole_high;
  if (whole_low <= whole_high) {
    ByteSequence whole = prefix;
    whole.bytes[at] = {whole_low, whole_high};
    for (size_t i = at + 1; i < length; ++i) whole.bytes[i] = {0x80, 0xBF};
    whole.length = length;
    out.push_back(whole);
  }
  if (has_tail) {
    ByteSequence tail = prefix;
    tail.bytes[at] = {high, high};
    append_between(last.substr(0, at + 1) + std::string(length - at - 1, '\x80'), last, at + 1, tail, out);
  }
}

}  // namespace

void append_utf8_sequences(CharacterRange range, std::vector<ByteSequence>& out) {
  constexpr uint32_t kLastOfLength[] = {0x7F, 0x7FF, 0xFFFF, kCharacterMax};
  uint32_t begin = 0;
  for (const uint32_t end : kLastOfLength) {
    const uint32_t first = std::max(range.first, begin), last = std::min(range.last, end);
    begin = end + 1;
    if (first > last) continue;
    std::string from, to;
    append_utf8(from, first);
    append_utf8(to, last);
    append_between(from, to, 0, {}, out);
  }
}

}  // namespace infer::grammar
