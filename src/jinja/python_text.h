// Characters, case, white space and numbers as Python's str and repr have them, over UTF-8. Bytes that are not UTF-8
// count as characters of their own and stay as they are.
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace infer::jinja {

struct Character {
  char32_t code;  // kNoCode for a byte that is no UTF-8.
  size_t length;  // In bytes.
};
inline constexpr char32_t kNoCode = 0xFFFFFFFF;

// `at` is inside of the text.
Character character_at(std::string_view text, size_t at);
size_t count_characters(std::string_view text);
// The byte where the character of that index begins; the size when there are fewer.
size_t byte_of_character(std::string_view text, size_t index);
void append_utf8(std::string& out, char32_t code);

bool is_space(char32_t code);      // str.isspace
bool is_printable(char32_t code);  // str.isprintable, without unassigned characters.
bool is_letter(char32_t code);     // str.isalpha, with every character from U+00C0 that has no other class here.
// Latin, Greek, Cyrillic and Armenian letters with one counterpart; others stay.
char32_t to_upper(char32_t code);
char32_t to_lower(char32_t code);

// [begin, end) without white space, or without the characters of `set` where it is not empty, at the wanted ends.
struct Stripped {
  size_t begin;
  size_t end;
};
Stripped strip(std::string_view text, std::string_view set, bool left, bool right);

// repr(float): the shortest digits that read back the same.
std::string float_repr(double value);

// Finds a text in others, in time linear in their length whatever they are (Knuth, Morris, Pratt).
class Searcher {
 public:
  explicit Searcher(std::string_view needle);             // Not empty.
  size_t find(std::string_view text, size_t from) const;  // npos: not there.

 private:
  std::string_view needle_;
  std::vector<uint32_t> borders_;  // Of each prefix its longest border; empty for short needles, searched plainly.
};

}  // namespace infer::jinja
