#include "jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/format.h"
#include "jinja/python_text.h"

namespace infer::jinja {
namespace {

std::string with_line_feeds(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text += source[i];
    }
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0; }
bool continues_name(char c) { return starts_name(c) || is_digit(c); }
bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

size_t skip_space(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Character next = character_at(text, at);
    if (!is_space(next.code)) break;
    at += next.length;
  }
  return at;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(with_line_feeds(source)), text_(source_) {}

  Result<std::vector<Token>> run() {
    while (at_ < text_.size()) {
      const size_t tag = find_tag(at_);
      if (tag == std::string_view::npos) {
        add_text(at_, text_.size());
        at_ = text_.size();
        break;
      }
      add_text(at_, text_end(at_, tag));
      at_ = tag;
      INFER_TRY(read_tag());
    }
    add(TokenKind::kEnd, at_, "");
    return std::move(tokens_);
  }

 private:
  Error fail(size_t at, std::string message) {
    return at_position(position_of(at), {ErrorCode::kCorrupt, std::move(message)});
  }

  // Asked for ascending places only, but for the begin of something that failed.
  Position position_of(size_t at) {
    if (at < counted_) {
      counted_ = line_begin_ = 0;
      line_ = 1;
    }
    for (; counted_ < at; ++counted_) {
      if (text_[counted_] != '\n') continue;
      ++line_;
      line_begin_ = counted_ + 1;
    }
    return {line_, static_cast<uint32_t>(at - line_begin_ + 1)};
  }

  Token& add(TokenKind kind, size_t at, std::string_view text) {
    Token token;
    token.kind = kind;
    token.at = position_of(at);
    token.text = text;
    return tokens_.emplace_back(std::move(token));
  }

  void add_text(size_t begin, size_t end) {
    if (begin < end) add(TokenKind::kText, begin, text_.substr(begin, end - begin));
  }

  size_t find_tag(size_t from) const {
    for (size_t at = text_.find('{', from); at != std::string_view::npos; at = text_.find('{', at + 1)) {
      if (at + 1 < text_.size() && (text_[at + 1] == '{' || text_[at + 1] == '%' || text_[at + 1] == '#')) return at;
    }
    return std::string_view::npos;
  }

  char byte(size_t at) const { return at < text_.size() ? text_[at] : '\0'; }

  // Where the text before the tag at `tag` ends once white space is taken off.
  size_t text_end(size_t begin, size_t tag) const {
    const std::string_view text = text_.substr(begin, tag - begin);
    const char sign = byte(tag + 2);
    if (sign == '-') return begin + strip(text, "", false, true).end;
    if (sign == '+' || byte(tag + 1) == '{') return tag;
    const size_t feed = text.rfind('\n');
    const size_t line = feed == std::string_view::npos ? 0 : feed + 1;
    if (line == 0 && !line_starting_) return tag;
    return strip(text.substr(line), "", true, false).begin == text.size() - line ? begin + line : tag;
  }

  // Behind the end of a tag or a comment, whose `}` is before `at`; `sign` stood before the end.
  void end_tag(char sign, size_t at) {
    if (sign == '-') {
      at_ = skip_space(text_, at);
    } else {
      at_ = sign != '+' && byte(at) == '\n' ? at + 1 : at;
    }
    line_starting_ = at_ > 0 && text_[at_ - 1] == '\n';
  }

  Status read_tag() {
    const size_t begin = at_;
    const char kind = byte(at_ + 1);
    at_ += 2;
    if (byte(at_) == '-' || byte(at_) == '+') ++at_;
    if (kind == '#') return read_comment(begin);
    if (kind == '%') {
      const size_t word = skip_space(text_, at_);
      if (text_.substr(word, 3) == "raw" && !continues_name(byte(word + 3))) return read_raw(begin, word + 3);
    }
    add(kind == '%' ? TokenKind::kTagBegin : TokenKind::kPrintBegin, begin, "");
    return read_expression(begin, kind);
  }

  Status read_comment(size_t begin) {
    const size_t end = text_.find("#}", at_);
    if (end == std::string_view::npos) return fail(begin, "a comment has no end: #} is missing");
    const char sign = end > at_ ? text_[end - 1] : '\0';
    end_tag(sign, end + 2);
    return {};
  }

  // Text without tags, up to an endraw tag.
  Status read_raw(size_t begin, size_t at) {
    at = skip_space(text_, at);
    const bool trims = byte(at) == '-';
    if (trims) ++at;
    if (text_.substr(at, 2) != "%}") return fail(begin, "the tag raw takes nothing");
    at += 2;
    if (trims) at = skip_space(text_, at);
    line_starting_ = text_[at - 1] == '\n';
    for (size_t tag = text_.find("{%", at); tag != std::string_view::npos; tag = text_.find("{%", tag + 2)) {
      size_t word = tag + 2;
      if (byte(word) == '-' || byte(word) == '+') ++word;
      word = skip_space(text_, word);
      if (text_.substr(word, 6) != "endraw") continue;
      word = skip_space(text_, word + 6);
      const char sign = byte(word) == '-' || byte(word) == '+' ? byte(word) : '\0';
      if (sign != '\0') ++word;
      if (text_.substr(word, 2) != "%}") continue;
      add_text(at, text_end(at, tag));
      end_tag(sign, word + 2);
      return {};
    }
    return fail(begin, "the tag raw has no end: {% endraw %} is missing");
  }

  // Tokens up to the end of the tag that began at `begin`.
  Status read_expression(size_t begin, char kind) {
    brackets_.clear();
    while (true) {
      at_ = skip_space(text_, at_);
      if (at_ >= text_.size()) {
        return fail(begin, kind == '%' ? "a tag has no end: %} is missing" : "an expression has no end: }} is missing");
      }
      if (brackets_.empty() && ends_tag(kind)) return {};
      INFER_TRY(read_token());
    }
  }

  bool ends_tag(char kind) {
    const char close = kind == '%' ? '%' : '}';
    const char sign = byte(at_);
    const bool has_sign = sign == '-' || (sign == '+' && kind == '%');
    const size_t end = at_ + (has_sign ? 1 : 0);
    if (byte(end) != close || byte(end + 1) != '}') return false;
    add(kind == '%' ? TokenKind::kTagEnd : TokenKind::kPrintEnd, at_, "");
    if (kind == '%') {
      end_tag(has_sign ? sign : '\0', end + 2);
    } else {
      at_ = has_sign ? skip_space(text_, end + 2) : end + 2;
      line_starting_ = text_[at_ - 1] == '\n';
    }
    return true;
  }

  Status read_token() {
    const char c = text_[at_];
    if (starts_name(c)) {
      const size_t begin = at_;
      while (continues_name(byte(at_))) ++at_;
      add(TokenKind::kName, begin, text_.substr(begin, at_ - begin));
      return {};
    }
    if (is_digit(c)) return read_number();
    if (c == '"' || c == '\'') return read_string();
    return read_operator();
  }

  Status read_operator() {
    constexpr std::array<std::string_view, 6> kPairs = {"//", "**", "==", "!=", "<=", ">="};
    constexpr std::string_view kSingles = "+-/*%~[](){}<>=.:|,;";
    const std::string_view pair = text_.substr(at_, 2);
    size_t length = std::find(kPairs.begin(), kPairs.end(), pair) != kPairs.end() ? 2 : 1;
    if (length == 1 && kSingles.find(pair[0]) == std::string_view::npos) {
      return fail(at_, format("unexpected character '{}'", is_blank(pair[0]) || pair[0] < ' ' ? '?' : pair[0]));
    }
    const std::string_view text = text_.substr(at_, length);
    if (text == "(" || text == "[" || text == "{") brackets_ += text == "(" ? ')' : text == "[" ? ']' : '}';
    if (text == ")" || text == "]" || text == "}") {
      if (brackets_.empty() || brackets_.back() != text[0]) {
        return fail(at_, format("'{}' closes nothing{}", text,
                                brackets_.empty() ? "" : format(", '{}' is expected", brackets_.back())));
      }
      brackets_.pop_back();
    }
    add(TokenKind::kOperator, at_, text);
    at_ += length;
    return {};
  }

  // Digits with single underscores between them.
  std::string digits(size_t& at, const char* allowed) const {
    std::string text;
    const std::string_view set = allowed;
    while (set.find(byte(at)) != std::string_view::npos && byte(at) != '\0') {
      text += byte(at++);
      if (byte(at) == '_' && byte(at + 1) != '\0' && set.find(byte(at + 1)) != std::string_view::npos) ++at;
    }
    return text;
  }

  Status read_number() {
    const size_t begin = at_;
    constexpr const char* kDecimal = "0123456789";
    const char letter = static_cast<char>(byte(at_ + 1) | 32);
    const int base = byte(at_) != '0' ? 10 : letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    if (base != 10) {
      size_t at = at_ + 2;
      const std::string text = digits(at, base == 16 ? "0123456789abcdefABCDEF" : base == 8 ? "01234567" : "01");
      if (text.empty()) return fail(begin, "a number has no digits");
      at_ = at;
      return add_integer(begin, text, base);
    }
    std::string text = digits(at_, kDecimal);
    bool is_float = false;
    if (byte(at_) == '.' && is_digit(byte(at_ + 1))) {
      ++at_;
      text += '.' + digits(at_, kDecimal);
      is_float = true;
    }
    if ((byte(at_) | 32) == 'e') {
      size_t at = at_ + 1;
      std::string exponent = "e";
      if (byte(at) == '+' || byte(at) == '-') exponent += byte(at++);
      if (is_digit(byte(at))) {
        text += exponent + digits(at, kDecimal);
        at_ = at;
        is_float = true;
      }
    }
    if (!is_float) return add_integer(begin, text, 10);
    double value = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
    if (end.ec != std::errc() || !std::isfinite(value)) return fail(begin, "a number is out of range");
    add(TokenKind::kFloat, begin, text).real = value;
    return {};
  }

  Status add_integer(size_t begin, const std::string& text, int base) {
    int64_t value = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (end.ec != std::errc()) return fail(begin, "a whole number is beyond 64 bits");
    add(TokenKind::kInteger, begin, text).integer = value;
    return {};
  }

  Status read_string() {
    const size_t begin = at_;
    const char quote = text_[at_++];
    std::string value;
    while (byte(at_) != quote || at_ >= text_.size()) {
      if (at_ >= text_.size()) return fail(begin, "a string has no end");
      if (text_[at_] == '\\') {
        INFER_TRY(read_escape(value));
      } else {
        value += text_[at_++];
      }
    }
    ++at_;
    add(TokenKind::kString, begin, value);
    return {};
  }

  // Python's escapes; unknown ones stay as they are.
  Status read_escape(std::string& value) {
    constexpr std::string_view kLetters = "nrtabfv\\'\"";
    constexpr std::string_view kMeanings = "\n\r\t\a\b\f\v\\'\"";
    const size_t begin = at_++;
    const char c = byte(at_);
    if (const size_t letter = kLetters.find(c); c != '\0' && letter != std::string_view::npos) {
      value += kMeanings[letter];
      ++at_;
      return {};
    }
    if (c == '\n') {  // Continues the string on the next line.
      ++at_;
      return {};
    }
    if (c == 'x' || c == 'u' || c == 'U') return read_code(begin, c == 'x' ? 2 : c == 'u' ? 4 : 8, value);
    if (c >= '0' && c <= '7') {
      char32_t code = 0;
      for (int i = 0; i < 3 && byte(at_) >= '0' && byte(at_) <= '7'; ++i) {
        code = code * 8 + static_cast<char32_t>(text_[at_++] - '0');
      }
      append_utf8(value, code);
      return {};
    }
    if (c == 'N') return fail(begin, "characters by name (\\N) are not supported");
    value += '\\';
    return {};
  }

  Status read_code(size_t begin, size_t length, std::string& value) {
    const std::string_view hex = text_.substr(std::min(at_ + 1, text_.size()), length);
    uint32_t code = 0;
    const auto end = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
    if (hex.size() != length || end.ptr != hex.data() + length || end.ec != std::errc()) {
      return fail(begin, format("an escape needs {} hexadecimal digits", length));
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return fail(begin, "an escape is no Unicode character");
    append_utf8(value, code);
    at_ += 1 + length;
    return {};
  }

  std::string source_;
  std::string_view text_;
  size_t at_ = 0;
  std::vector<Token> tokens_;
  std::string brackets_;       // What closes those that are open.
  bool line_starting_ = true;  // The text so far ends with a line feed.
  size_t counted_ = 0, line_begin_ = 0;
  uint32_t line_ = 1;
};

}  // namespace

Error at_position(Position at, Error error) {
  error.message.insert(0, format("line {}, column {}: ", at.line, at.column));
  return error;
}

Result<std::vector<Token>> cut_into_tokens(std::string_view source) { return Lexer(source).run(); }

}  // namespace infer::jinja
