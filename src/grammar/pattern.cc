#include "grammar/pattern.h"

#include <optional>
#include <string>
#include <vector>

#include "base/format.h"

namespace infer::grammar {
namespace {

using Ranges = std::vector<CharacterRange>;

constexpr int kNestingMax = 50;
constexpr uint32_t kCountMax = 1'000'000'000;

Ranges word_ranges() { return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}; }
Ranges space_ranges() {
  return {{0x09, 0x0D},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
}
Ranges line_end_ranges() { return {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}; }

// The class that an escape's letter stands for.
std::optional<Ranges> class_of(char32_t letter) {
  switch (letter) {
    case 'd': return Ranges{{'0', '9'}};
    case 'D': return complement({{'0', '9'}});
    case 'w': return word_ranges();
    case 'W': return complement(word_ranges());
    case 's': return space_ranges();
    case 'S': return complement(space_ranges());
    default: return std::nullopt;
  }
}

class PatternReader {
 public:
  PatternReader(std::u32string pattern, JsonRules& json) : pattern_(std::move(pattern)), json_(json) {}

  Result<ExprId> read() {
    std::vector<ExprId> alternatives;
    do {
      const bool from_start = take('^');
      INFER_ASSIGN(const ExprId body, read_sequence(0));
      const bool to_end = take('$');
      if (!at_end() && peek() != '|') return unexpected();
      const ExprId anything = rules().repeat(json_.exact_character(), 0, kUnbounded);
      std::vector<ExprId> parts;
      if (!from_start) parts.push_back(anything);
      parts.push_back(body);
      if (!to_end) parts.push_back(anything);
      alternatives.push_back(rules().sequence(parts));
    } while (take('|'));
    return rules().choice(alternatives);
  }

 private:
  Rules& rules() { return json_.rules(); }
  bool at_end() const { return at_ >= pattern_.size(); }
  char32_t peek(size_t ahead = 0) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : 0; }
  bool take(char32_t c) {
    if (at_end() || pattern_[at_] != c) return false;
    ++at_;
    return true;
  }
  Error error_at(size_t at, std::string_view what) const {
    return Error{ErrorCode::kInvalidArgument, format("pattern, character {}: {}", at + 1, what)};
  }
  Error unexpected() const;

  Result<ExprId> read_choice(int nesting);
  Result<ExprId> read_sequence(int nesting);
  Result<ExprId> read_atom(int nesting);
  Result<ExprId> read_group(int nesting);
  Result<ExprId> read_repetition(ExprId body);
  Result<std::optional<CharacterRange>> read_counts();  // first: least, last: most.
  Result<Ranges> read_class();
  // One character or one class.
  Result<Ranges> read_class_item();
  Result<Ranges> read_escape(bool in_class);
  Result<uint32_t> read_hex(size_t escape_at, size_t digits);

  std::u32string pattern_;
  size_t at_ = 0;
  JsonRules& json_;
};

Error PatternReader::unexpected() const {
  if (at_end()) return error_at(at_, "more expected: the pattern ends inside of something");
  const char32_t c = peek();
  if (c == '^' || c == '$') {
    return error_at(at_, "'^' and '$' are supported at the two ends of the pattern or of its outer alternatives only");
  }
  if (c == ')') return error_at(at_, "this ')' closes nothing: write \\) for the character");
  if (c == '*' || c == '+' || c == '?' || c == '{') {
    return error_at(at_, format("'{}' repeats nothing here: write \\{} for the character", static_cast<char>(c),
                                static_cast<char>(c)));
  }
  return error_at(at_, "not expected here");
}

Result<ExprId> PatternReader::read_choice(int nesting) {
  std::vector<ExprId> alternatives;
  do {
    INFER_ASSIGN(const ExprId alternative, read_sequence(nesting));
    alternatives.push_back(alternative);
  } while (take('|'));
  return rules().choice(alternatives);
}

Result<ExprId> PatternReader::read_sequence(int nesting) {
  std::vector<ExprId> parts;
  while (!at_end() && peek() != '|' && peek() != ')' && peek() != '$') {
    INFER_ASSIGN(const ExprId atom, read_atom(nesting));
    INFER_ASSIGN(const ExprId repeated, read_repetition(atom));
    parts.push_back(repeated);
  }
  return parts.empty() ? rules().text("") : rules().sequence(parts);
}

Result<ExprId> PatternReader::read_atom(int nesting) {
  const char32_t c = peek();
  if (c == '(') return read_group(nesting);
  if (c == '[') {
    INFER_ASSIGN(const Ranges ranges, read_class());
    return json_.exact(ranges);
  }
  if (c == '\\') {
    INFER_ASSIGN(const Ranges ranges, read_escape(false));
    return json_.exact(ranges);
  }
  if (c == '^' || c == '*' || c == '+' || c == '?' || c == '{') return unexpected();
  ++at_;
  if (c == '.') return json_.exact(complement(line_end_ranges()));
  return json_.exact({{static_cast<uint32_t>(c), static_cast<uint32_t>(c)}});
}

Result<ExprId> PatternReader::read_group(int nesting) {
  const size_t begin = at_++;
  if (nesting >= kNestingMax)
    return error_at(begin, format("groups are nested more than {} deep: flatten them", kNestingMax));
  if (take('?')) {
    const bool is_named = peek() == '<' && peek(1) != '=' && peek(1) != '!';
    if (is_named) {
      while (!at_end() && peek() != '>') ++at_;
      if (!take('>')) return error_at(begin, "the group's name is not closed: add '>'");
    } else if (!take(':')) {
      return error_at(begin, "assertions and flags in '(?...)' are not supported: say it without, or leave it out");
    }
  }
  INFER_ASSIGN(const ExprId body, read_choice(nesting + 1));
  if (at_end()) return error_at(begin, "this '(' is never closed: add ')'");
  if (!take(')')) return unexpected();
  return body;
}

Result<ExprId> PatternReader::read_repetition(ExprId body) {
  std::optional<CharacterRange> counts;
  if (take('*')) {
    counts = {0, kUnbounded};
  } else if (take('+')) {
    counts = {1, kUnbounded};
  } else if (take('?')) {
    counts = {0, 1};
  } else if (peek() == '{') {
    INFER_ASSIGN(counts, read_counts());
  }
  if (!counts) return body;
  take('?');  // Lazy: the same texts.
  if (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{') return unexpected();
  return rules().repeat(body, counts->first, counts->last);
}

Result<std::optional<CharacterRange>> PatternReader::read_counts() {
  const size_t begin = at_++;
  const auto read_count = [&]() -> std::optional<uint32_t> {
    uint64_t value = 0;
    const size_t first = at_;
    while (peek() >= '0' && peek() <= '9' && value <= kCountMax) value = value * 10 + (pattern_[at_++] - '0');
    if (at_ == first || value > kCountMax) return std::nullopt;
    return static_cast<uint32_t>(value);
  };
  const std::optional<uint32_t> least = read_count();
  std::optional<uint32_t> most = least;
  if (take(',')) most = peek() == '}' ? std::optional(kUnbounded) : read_count();
  if (!least || !most || !take('}') || *most < *least) {
    return error_at(begin,
                    format("a repetition is written {{m}}, {{m,}} or {{m,n}}, with counts to {}, the smaller one "
                           "first; write \\{{ for the character",
                           kCountMax));
  }
  return std::optional(CharacterRange{*least, *most});
}

Result<Ranges> PatternReader::read_class() {
  const size_t begin = at_++;
  const bool negated = take('^');
  Ranges ranges;
  while (!take(']')) {
    if (at_end()) return error_at(begin, "this class is never closed: add ']'");
    const size_t at = at_;
    INFER_ASSIGN(const Ranges first, read_class_item());
    if (peek() != '-' || peek(1) == ']' || at_ + 1 >= pattern_.size()) {
      ranges.insert(ranges.end(), first.begin(), first.end());
      continue;
    }
    ++at_;
    INFER_ASSIGN(const Ranges last, read_class_item());
    const bool are_single =
        first.size() == 1 && first[0].first == first[0].last && last.size() == 1 && last[0].first == last[0].last;
    if (!are_single || last[0].first < first[0].first) {
      return error_at(at,
                      "a range needs a character at each end, the smaller one first; write \\- for the character '-'");
    }
    ranges.push_back({first[0].first, last[0].first});
  }
  if (negated) ranges = complement(std::move(ranges));
  if (normalized(ranges).empty()) return error_at(begin, "this class holds no character: put one in");
  return ranges;
}

Result<Ranges> PatternReader::read_class_item() {
  if (peek() == '\\') return read_escape(true);
  const auto c = static_cast<uint32_t>(pattern_[at_++]);
  return Ranges{{c, c}};
}

Result<Ranges> PatternReader::read_escape(bool in_class) {
  const size_t begin = at_++;
  if (at_end()) return error_at(begin, "the pattern ends behind a '\\': write \\\\ for the character");
  const char32_t c = pattern_[at_++];
  const auto one = [](uint32_t character) { return Ranges{{character, character}}; };
  if (const auto ranges = class_of(c)) return *ranges;
  switch (c) {
    case 't': return one('\t');
    case 'n': return one('\n');
    case 'r': return one('\r');
    case 'f': return one('\f');
    case 'v': return one('\v');
    case 'b':
      if (in_class) return one('\b');
      break;
    case '0':
      if (peek() < '0' || peek() > '9') return one(0);
      break;
    case 'x': {
      INFER_ASSIGN(const uint32_t value, read_hex(begin, 2));
      return one(value);
    }
    case 'u': {
      INFER_ASSIGN(const uint32_t value, read_hex(begin, take('{') ? 0 : 4));
      return one(value);
    }
    default: break;
  }
  const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  if (!is_letter) return one(static_cast<uint32_t>(c));
  return error_at(begin, format("'\\{}' is not supported: it is no character or class of characters (those are \\d \\w "
                                "\\s \\D \\W \\S \\t \\n \\r \\f \\v \\0 \\xHH \\uHHHH)",
                                static_cast<char>(c)));
}

// So many digits; 0: until '}'.
Result<uint32_t> PatternReader::read_hex(size_t escape_at, size_t digits) {
  uint32_t value = 0;
  size_t count = 0;
  for (; digits == 0 || count < digits; ++count) {
    const char32_t c = peek();
    const bool is_digit = c >= '0' && c <= '9', is_lower = c >= 'a' && c <= 'f', is_upper = c >= 'A' && c <= 'F';
    if (!is_digit && !is_lower && !is_upper) break;
    value = value * 16 + static_cast<uint32_t>(is_digit ? c - '0' : is_lower ? c - 'a' + 10 : c - 'A' + 10);
    ++at_;
    if (value > kCharacterMax) break;
  }
  const bool complete = digits == 0 ? count > 0 && take('}') : count == digits;
  if (complete && is_character(value)) return value;
  return error_at(escape_at,
                  "the escape names no character: \\xHH, \\uHHHH or \\u{H...}, up to 10FFFF, without surrogates");
}

}  // namespace

Result<ExprId> pattern_rules(std::string_view pattern, JsonRules& json) {
  if (pattern.size() > kPatternBytesMax) {
    return Error{ErrorCode::kInvalidArgument,
                 format("a pattern of {} bytes is longer than the {} that are read: shorten it", pattern.size(),
                        kPatternBytesMax)};
  }
  std::optional<std::u32string> characters = find_characters(pattern);
  if (!characters) return Error{ErrorCode::kInvalidArgument, "a pattern must be UTF-8"};
  return PatternReader(std::move(*characters), json).read();
}

}  // namespace infer::grammar
