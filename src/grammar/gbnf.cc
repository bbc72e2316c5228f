#include "grammar/gbnf.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/format.h"

namespace infer::grammar {
namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// What an error shows of the text.
std::string shown(std::string_view text) {
  if (text.empty()) return "the end of the text";
  const auto byte = static_cast<unsigned char>(text[0]);
  if (byte == '\n' || byte == '\r') return "the end of the line";
  if (byte < 0x20 || byte == 0x7F) return format("the byte 0x{:02x}", byte);
  size_t length = 1;
  while (length < text.size() && length < 4 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) ++length;
  return format("'{}'", text.substr(0, byte < 0x80 ? 1 : length));
}

class GbnfReader {
 public:
  explicit GbnfReader(std::string_view text) : text_(text) {
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\n') line_begins_.push_back(i + 1);
    }
  }

  Result<RootedRules> read();

 private:
  struct Found {
    RuleId id;
    size_t at;  // Where it is first named.
  };

  Status read_rule();
  Result<ExprId> read_choice(int nesting);
  Result<ExprId> read_sequence(int nesting);
  Result<ExprId> read_item(int nesting);
  Result<ExprId> read_literal();
  Result<ExprId> read_class();
  Result<ExprId> read_group(int nesting);
  Result<ExprId> read_quantifiers(ExprId body);
  Result<ExprId> read_counts(ExprId body);
  Result<uint32_t> read_count();
  Result<uint32_t> read_character();  // One of a literal or a class, with escapes.
  Result<uint32_t> read_escape();
  Result<uint32_t> read_hex(int digits);

  bool at_end() const { return at_ >= text_.size(); }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool take(char c) {
    if (at_end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void skip_space(bool lines);
  std::string_view read_name();
  RuleId rule_named(std::string_view name, size_t at);
  uint32_t line_of(size_t at) const;
  Error error_at(size_t at, std::string_view what) const;
  Error error_here(std::string_view expected) const {
    return error_at(at_, format("{} expected, but {} found", expected, shown(text_.substr(at_))));
  }

  std::string_view text_;
  std::vector<size_t> line_begins_{0};
  size_t at_ = 0;
  Rules rules_;
  std::map<std::string, Found, std::less<>> names_;
  std::map<RuleId, size_t> defined_at_;
};

uint32_t GbnfReader::line_of(size_t at) const {
  return static_cast<uint32_t>(std::upper_bound(line_begins_.begin(), line_begins_.end(), at) - line_begins_.begin());
}

Error GbnfReader::error_at(size_t at, std::string_view what) const {
  const uint32_t line = line_of(at);
  const size_t begin = line_begins_[line - 1];
  size_t column = 1;  // In characters, as editors count.
  for (const char c : text_.substr(begin, at - begin)) column += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return Error{ErrorCode::kInvalidArgument, format("grammar, line {}, column {}: {}", line, column, what)};
}

void GbnfReader::skip_space(bool lines) {
  while (!at_end()) {
    const char c = text_[at_];
    if (c == '#') {
      while (!at_end() && text_[at_] != '\n' && text_[at_] != '\r') ++at_;
    } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
      ++at_;
    } else {
      return;
    }
  }
}

std::string_view GbnfReader::read_name() {
  const size_t begin = at_;
  while (!at_end() && is_name_character(text_[at_])) ++at_;
  return text_.substr(begin, at_ - begin);
}

RuleId GbnfReader::rule_named(std::string_view name, size_t at) {
  const auto found = names_.find(name);
  if (found != names_.end()) return found->second.id;
  const RuleId id = rules_.declare(std::string(name), line_of(at));
  names_.emplace(std::string(name), Found{id, at});
  return id;
}

Result<RootedRules> GbnfReader::read() {
  if (text_.size() > kGbnfBytesMax) {
    return Error{
        ErrorCode::kInvalidArgument,
        format("the grammar has {} bytes, more than the {} that are read: shorten it", text_.size(), kGbnfBytesMax)};
  }
  skip_space(true);
  while (!at_end()) {
    INFER_TRY(read_rule());
    skip_space(true);
  }
  for (const auto& [name, found] : names_) {
    if (rules_.rules()[found.id].defined) continue;
    return error_at(found.at, format("the rule '{}' is not defined: add a line '{} ::= ...'", name, name));
  }
  const auto root = names_.find(std::string_view("root"));
  if (root == names_.end()) {
    return error_at(text_.size(), "there is no rule 'root', with which every text begins: add a line 'root ::= ...'");
  }
  return RootedRules{std::move(rules_), root->second.id};
}

Status GbnfReader::read_rule() {
  const size_t name_at = at_;
  const std::string_view name = read_name();
  if (name.empty()) return error_here("a rule like 'name ::= ...', whose name holds letters, digits and '-',");
  const RuleId rule = rule_named(name, name_at);
  if (const auto before = defined_at_.find(rule); before != defined_at_.end()) {
    return error_at(name_at, format("the rule '{}' is already defined in line {}: join them with '|', or rename one",
                                    name, line_of(before->second)));
  }
  defined_at_.emplace(rule, name_at);
  skip_space(false);
  if (text_.substr(at_, 3) != "::=") return error_here(format("'::=' after the name '{}'", name));
  at_ += 3;
  skip_space(true);
  INFER_ASSIGN(const ExprId body, read_choice(0));
  if (!at_end() && peek() != '\n' && peek() != '\r') return error_here("an element, '|' or the end of the rule");
  rules_.define(rule, body);
  return {};
}

// Alternatives. Inside of parentheses lines do not matter; outside a rule goes on after a '|', at the end of a line or
// at the start of the next.
Result<ExprId> GbnfReader::read_choice(int nesting) {
  std::vector<ExprId> alternatives;
  while (true) {
    INFER_ASSIGN(const ExprId alternative, read_sequence(nesting));
    alternatives.push_back(alternative);
    const size_t end = at_;
    skip_space(true);
    if (!take('|')) {
      at_ = end;
      return rules_.choice(alternatives);
    }
    skip_space(true);
  }
}

Result<ExprId> GbnfReader::read_sequence(int nesting) {
  std::vector<ExprId> parts;
  skip_space(nesting > 0);
  while (!at_end() && peek() != '|' && peek() != ')' && peek() != '\n' && peek() != '\r') {
    INFER_ASSIGN(const ExprId item, read_item(nesting));
    INFER_ASSIGN(const ExprId repeated, read_quantifiers(item));
    parts.push_back(repeated);
    skip_space(nesting > 0);
  }
  return parts.empty() ? rules_.text("") : rules_.sequence(parts);
}

Result<ExprId> GbnfReader::read_item(int nesting) {
  const char c = peek();
  if (c == '"') return read_literal();
  if (c == '[') return read_class();
  if (c == '(') return read_group(nesting);
  if (take('.')) return rules_.any_character();
  if (is_name_character(c)) {
    const size_t at = at_;
    const std::string_view name = read_name();
    const size_t end = at_;
    skip_space(false);
    if (text_.substr(at_, 3) == "::=") {
      return error_at(at, format("the rule '{}' begins inside of another one: start it on its own line, outside of "
                                 "parentheses",
                                 name));
    }
    at_ = end;
    return rules_.call(rule_named(name, at));
  }
  if (c == '*' || c == '+' || c == '?' || c == '{') {
    return error_at(at_, format("'{}' repeats what stands before it, but nothing does: put an element there, or write "
                                "\"{}\" for the character",
                                c, c));
  }
  if (c == '<' || c == '!') return error_here("text, a class, a rule or '(' (tokens in '<>' are not supported)");
  if (c == '_') return error_here("a name of letters, digits and '-'");
  return error_here("\"text\", a [class], '.', a rule's name or '('");
}

Result<ExprId> GbnfReader::read_group(int nesting) {
  const size_t begin = at_++;
  if (nesting >= kGbnfNestingMax) {
    return error_at(begin, format("parentheses are nested more than {} deep: give inner groups a rule of their own",
                                  kGbnfNestingMax));
  }
  INFER_ASSIGN(const ExprId body, read_choice(nesting + 1));
  skip_space(true);
  if (at_end()) return error_at(begin, "this '(' is never closed: add ')'");
  if (!take(')')) return error_here("an element, '|' or ')'");
  return body;
}

Result<ExprId> GbnfReader::read_literal() {
  const size_t begin = at_++;
  std::string bytes;
  while (!take('"')) {
    if (at_end() || peek() == '\n' || peek() == '\r') {
      return error_at(begin, "this text is not closed on its line: add '\"' (a line feed is written \\n)");
    }
    INFER_ASSIGN(const uint32_t character, read_character());
    append_utf8(bytes, character);
  }
  return rules_.text(bytes);
}

Result<ExprId> GbnfReader::read_class() {
  const size_t begin = at_++;
  const bool negated = take('^');
  std::vector<CharacterRange> ranges;
  while (!take(']')) {
    if (at_end() || peek() == '\n' || peek() == '\r') {
      return error_at(begin, "this class is not closed on its line: add ']' (a ']' inside is written \\])");
    }
    const size_t at = at_;
    INFER_ASSIGN(const uint32_t first, read_character());
    uint32_t last = first;
    if (peek() == '-' && peek(1) != ']' && at_ + 1 < text_.size()) {
      ++at_;
      INFER_ASSIGN(last, read_character());
    }
    if (last < first) {
      return error_at(at, format("the range U+{:04X}-U+{:04X} runs backwards: exchange its ends", first, last));
    }
    ranges.push_back({first, last});
  }
  if (negated) ranges = complement(std::move(ranges));
  if (normalized(ranges).empty()) return error_at(begin, "this class holds no character: put one in, or leave it out");
  return rules_.characters(std::move(ranges));
}

Result<uint32_t> GbnfReader::read_character() {
  if (peek() == '\\') return read_escape();
  const size_t begin = at_;
  const auto lead = static_cast<unsigned char>(text_[at_++]);
  if (lead < 0x80) return uint32_t{lead};
  const int rest = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
  constexpr uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  uint32_t value = lead & (0x3Fu >> rest);
  bool good = lead >= 0xC2 && lead <= 0xF4;
  for (int i = 0; i < rest && good; ++i) {
    const auto byte = static_cast<unsigned char>(peek());
    good = (byte & 0xC0) == 0x80;
    value = value << 6 | (byte & 0x3Fu);
    ++at_;
  }
  if (!good || value < kLeast[rest] || !is_character(value)) {
    return error_at(begin, format("the byte 0x{:02x} begins no UTF-8 character: save the grammar as UTF-8", lead));
  }
  return value;
}

Result<uint32_t> GbnfReader::read_escape() {
  const size_t begin = at_++;
  const char c = peek();
  if (!at_end()) ++at_;
  switch (c) {
    case 'n': return uint32_t{'\n'};
    case 'r': return uint32_t{'\r'};
    case 't': return uint32_t{'\t'};
    case '\\':
    case '"':
    case '[':
    case ']': return static_cast<uint32_t>(c);
    case 'x': return read_hex(2);
    case 'u': return read_hex(4);
    case 'U': return read_hex(8);
    default: break;
  }
  return error_at(begin, "unknown escape: one of \\n \\r \\t \\\\ \\\" \\[ \\] \\xHH \\uHHHH \\UHHHHHHHH");
}

Result<uint32_t> GbnfReader::read_hex(int digits) {
  const size_t begin = at_ - 2;
  uint64_t value = 0;
  for (int i = 0; i < digits; ++i) {
    const int digit = hex_value(peek());
    if (digit < 0) return error_here(format("the escape's hexadecimal digit {} of {}", i + 1, digits));
    value = value * 16 + static_cast<uint64_t>(digit);
    ++at_;
  }
  if (value > kCharacterMax || !is_character(static_cast<uint32_t>(value))) {
    return error_at(
        begin,
        format("U+{:04X} is no character: they end at U+10FFFF, and U+D800 to U+DFFF are not characters", value));
  }
  return static_cast<uint32_t>(value);
}

Result<ExprId> GbnfReader::read_quantifiers(ExprId body) {
  constexpr int kStackedMax = 8;  // a*?+ nests expressions.
  for (int count = 0;; ++count) {
    const size_t at = at_;
    if (take('*')) {
      body = rules_.repeat(body, 0, kUnbounded);
    } else if (take('+')) {
      body = rules_.repeat(body, 1, kUnbounded);
    } else if (take('?')) {
      body = rules_.repeat(body, 0, 1);
    } else if (take('{')) {
      INFER_ASSIGN(body, read_counts(body));
    } else {
      return body;
    }
    if (count == kStackedMax) return error_at(at, "too many repetitions of one element: one says it all");
  }
}

// Behind '{': m} or m,} or m,n}.
Result<ExprId> GbnfReader::read_counts(ExprId body) {
  const size_t begin = at_ - 1;
  skip_space(false);
  INFER_ASSIGN(const uint32_t least, read_count());
  uint32_t most = least;
  skip_space(false);
  if (take(',')) {
    skip_space(false);
    most = kUnbounded;
    if (peek() != '}') {
      INFER_ASSIGN(most, read_count());
    }
    skip_space(false);
  }
  if (!take('}')) return error_here("'}' of a repetition like {2}, {2,} or {2,5}");
  if (most < least) return error_at(begin, format("{{{},{}}} runs backwards: exchange the counts", least, most));
  return rules_.repeat(body, least, most);
}

Result<uint32_t> GbnfReader::read_count() {
  const size_t begin = at_;
  uint64_t value = 0;
  while (peek() >= '0' && peek() <= '9') {
    value = value * 10 + static_cast<uint64_t>(peek() - '0');
    if (value > kRepeatCountMax) {
      return error_at(begin, format("a repetition count is above {}: choose a smaller one, or {{m,}} for no limit",
                                    kRepeatCountMax));
    }
    ++at_;
  }
  if (at_ == begin) return error_here("a count");
  return static_cast<uint32_t>(value);
}

}  // namespace

Result<RootedRules> parse_gbnf(std::string_view text) { return GbnfReader(text).read(); }

}  // namespace infer::grammar
