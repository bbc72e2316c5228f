// What string methods and text filters share. All keep the origin of every byte.
// Thread safety: that of the heap.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "jinja/heap.h"
#include "jinja/value.h"

namespace infer::jinja {

enum class LetterCase {
  kUpper,
  kLower,
  kCapital,      // The first letter large, the others small.
  kTitle,        // str.title: the first letter behind anything that is none.
  kTitleFilter,  // Jinja's title: the first character of a text or behind white space, - ( { [ <.
};
Value change_case(const Text& text, LetterCase letter_case, Heap& heap);

// `characters` null: white space.
Value stripped(const Text& text, const Text* characters, bool left, bool right, Heap& heap);
// At most `count` times, from the left; -1: all.
Value replaced(const Text& text, const Text& old, const Text& fresh, int64_t count, Heap& heap);

// A line: [begin, end), and where the next one begins.
struct LineSpan {
  size_t begin;
  size_t end;
  size_t next;
};
std::vector<LineSpan> line_spans(std::string_view text);  // str.splitlines

// str.split and rsplit, at most `limit` cuts, -1: all.
std::vector<Value> split_words(const Text& text, int64_t limit, Heap& heap);
std::vector<Value> split_at(const Text& text, const Text& separator, int64_t limit, bool from_right, Heap& heap);

}  // namespace infer::jinja
