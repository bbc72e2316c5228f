#include "jinja/text_operations.h"

#include <algorithm>

#include "jinja/python_text.h"

namespace infer::jinja {
namespace {

Value piece(const Text& text, size_t begin, size_t end, Heap& heap) {
  TextBuilder out(heap);
  out.append(text, begin, end);
  return out.finish();
}

bool opens_title_word(char32_t code) {
  return is_space(code) || code == '-' || code == '(' || code == '{' || code == '[' || code == '<';
}

}  // namespace

Value change_case(const Text& text, LetterCase letter_case, Heap& heap) {
  TextBuilder out(heap);
  heap.scan(text.size());
  bool at_word_start = true;
  for (size_t at = 0; at < text.size();) {
    const Character next = character_at(text.bytes(), at);
    const bool large = letter_case == LetterCase::kUpper || (at_word_start && letter_case != LetterCase::kLower);
    const char32_t changed = next.code == kNoCode ? kNoCode : large ? to_upper(next.code) : to_lower(next.code);
    if (changed == next.code) {
      out.append(text, at, at + next.length);
    } else if (large && next.code == 0xDF) {
      out.append(letter_case == LetterCase::kUpper ? "SS" : "Ss", text.origin_at(at));
    } else {
      std::string bytes;
      append_utf8(bytes, changed);
      out.append(bytes, text.origin_at(at));
    }
    if (letter_case == LetterCase::kTitle) at_word_start = !is_letter(next.code);
    if (letter_case == LetterCase::kTitleFilter) at_word_start = opens_title_word(next.code);
    if (letter_case == LetterCase::kCapital) at_word_start = false;
    at += next.length;
  }
  return out.finish();
}

Value stripped(const Text& text, const Text* characters, bool left, bool right, Heap& heap) {
  const std::string_view set = characters != nullptr ? std::string_view(characters->bytes()) : std::string_view();
  if (characters != nullptr && set.empty()) return piece(text, 0, text.size(), heap);
  const Stripped kept = strip(text.bytes(), set, left, right);
  heap.step((text.size() - (kept.end - kept.begin)) * (1 + set.size()) / 16);
  return piece(text, kept.begin, kept.end, heap);
}

Value replaced(const Text& text, const Text& old, const Text& fresh, int64_t count, Heap& heap) {
  TextBuilder out(heap);
  heap.scan(text.size() + old.size());
  size_t done = 0;
  if (old.empty()) {  // Between all characters and at both ends.
    for (size_t at = 0; count != 0 && at <= text.size() && !heap.exhausted(); --count) {
      out.append(fresh);
      if (at == text.size()) break;
      at += character_at(text.bytes(), at).length;
      out.append(text, done, at);
      done = at;
    }
  } else {
    const Searcher searcher(old.bytes());
    for (; count != 0 && !heap.exhausted(); --count) {
      const size_t found = searcher.find(text.bytes(), done);
      if (found == std::string::npos) break;
      out.append(text, done, found);
      out.append(fresh);
      done = found + old.size();
    }
  }
  out.append(text, done, text.size());
  return out.finish();
}

std::vector<LineSpan> line_spans(std::string_view text) {
  std::vector<LineSpan> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const Character next = character_at(text, at);
    const bool is_break = (next.code >= 10 && next.code <= 13) || (next.code >= 0x1C && next.code <= 0x1E) ||
                          next.code == 0x85 || next.code == 0x2028 || next.code == 0x2029;
    size_t after = at + next.length;
    if (!is_break) {
      at = after;
      continue;
    }
    if (next.code == '\r' && after < text.size() && text[after] == '\n') ++after;
    lines.push_back({begin, at, after});
    begin = at = after;
  }
  if (begin < text.size()) lines.push_back({begin, text.size(), text.size()});
  return lines;
}

std::vector<Value> split_words(const Text& text, int64_t limit, Heap& heap) {
  const std::string_view bytes = text.bytes();
  ListBuilder words(heap);
  heap.scan(bytes.size());
  size_t at = strip(bytes, "", true, false).begin;
  while (at < bytes.size() && !heap.exhausted()) {
    if (limit >= 0 && static_cast<int64_t>(words.items().size()) == limit) {
      words.push(piece(text, at, bytes.size(), heap));
      break;
    }
    size_t end = at;
    while (end < bytes.size() && !is_space(character_at(bytes, end).code)) end += character_at(bytes, end).length;
    words.push(piece(text, at, end, heap));
    at = end + strip(bytes.substr(end), "", true, false).begin;
  }
  return std::move(words.items());
}

std::vector<Value> split_at(const Text& text, const Text& separator, int64_t limit, bool from_right, Heap& heap) {
  heap.scan(text.size() + separator.size());
  std::vector<size_t> cuts;
  const Searcher searcher(separator.bytes());
  // From the right the last ones count; separators do not overlap in any case that templates have.
  for (size_t at = searcher.find(text.bytes(), 0); at != std::string::npos;
       at = searcher.find(text.bytes(), at + separator.size())) {
    if (!from_right && limit >= 0 && static_cast<int64_t>(cuts.size()) == limit) break;
    if (!heap.charge(sizeof(size_t))) break;
    cuts.push_back(at);
  }
  if (from_right && limit >= 0 && static_cast<int64_t>(cuts.size()) > limit) {
    cuts.erase(cuts.begin(), cuts.end() - static_cast<std::ptrdiff_t>(limit));
  }
  ListBuilder parts(heap);
  size_t begin = 0;
  for (const size_t cut : cuts) {
    parts.push(piece(text, begin, cut, heap));
    begin = cut + separator.size();
  }
  parts.push(piece(text, begin, text.size(), heap));
  return std::move(parts.items());
}

}  // namespace infer::jinja
