#include "jinja/json_reader.h"

#include <charconv>
#include <cmath>
#include <unordered_set>

#include "base/format.h"
#include "base/utf8.h"
#include "jinja/python_text.h"

namespace infer::jinja {
namespace {

class JsonReader {
 public:
  JsonReader(std::string_view text, Origin origin, Heap& heap) : text_(text), origin_(origin), heap_(heap) {}

  Result<Value> run() {
    if (valid_utf8_prefix(text_) != text_.size()) {
      at_ = valid_utf8_prefix(text_);
      return fail("bytes that are not UTF-8");
    }
    INFER_ASSIGN(const Value value, read(0));
    skip_space();
    if (at_ != text_.size()) return fail("text behind the document's end");
    if (heap_.exhausted()) return heap_.exhaustion();
    return value;
  }

 private:
  Error fail(std::string_view what) const {
    return {ErrorCode::kCorrupt, format("JSON: {} at byte {} of {}", what, at_, text_.size())};
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Result<Value> read(int depth) {
    if (depth >= heap_.limits().value_depth) return fail("too many levels of nesting");
    if (!heap_.step()) return heap_.exhaustion();
    skip_space();
    switch (peek()) {
      case '{': return read_object(depth);
      case '[': return read_array(depth);
      case '"': return read_string();
      default: break;
    }
    if (take("null")) return Value::none();
    if (take("true")) return Value::of(true);
    if (take("false")) return Value::of(false);
    return read_number();
  }

  Result<Value> read_object(int depth) {
    ++at_;
    DictBuilder dict(heap_);
    std::unordered_set<std::string_view> seen;
    bool is_first = true;
    while (true) {
      skip_space();
      if (take("}")) return dict.finish();
      if (!is_first && !take(",")) return fail("neither ',' nor '}'");
      skip_space();
      if (peek() != '"') return fail("no key");
      is_first = false;
      INFER_ASSIGN(const Value key, read_string());
      skip_space();
      if (!take(":")) return fail("no ':'");
      INFER_ASSIGN(const Value value, read(depth + 1));
      if (seen.insert(key.text().bytes()).second) {
        dict.add(key, value);
      } else {
        dict.set(key, value);
      }
      heap_.charge(64);
    }
  }

  Result<Value> read_array(int depth) {
    ++at_;
    ListBuilder list(heap_);
    skip_space();
    if (take("]")) return list.finish();
    while (true) {
      INFER_ASSIGN(const Value element, read(depth + 1));
      list.push(element);
      skip_space();
      if (take("]")) return list.finish();
      if (!take(",")) return fail("neither ',' nor ']'");
    }
  }

  Result<Value> read_string() {
    ++at_;
    TextBuilder out(heap_);
    while (true) {
      const size_t stop = text_.find_first_of("\"\\", at_);
      if (stop == std::string_view::npos) return fail("a string without an end");
      for (size_t i = at_; i < stop; ++i) {
        if (static_cast<uint8_t>(text_[i]) < 0x20) return fail("a control character in a string");
      }
      out.append(text_.substr(at_, stop - at_), origin_);
      at_ = stop + 1;
      if (text_[stop] == '"') return out.finish();
      INFER_ASSIGN(const std::string character, read_escape());
      out.append(character, origin_);
    }
  }

  Result<std::string> read_escape() {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const char letter = peek();
    ++at_;
    if (const size_t place = kLetters.find(letter); letter != '\0' && place != std::string_view::npos) {
      return std::string(1, kMeanings[place]);
    }
    if (letter != 'u') return fail("an unknown escape");
    INFER_ASSIGN(char32_t code, read_unit());
    if (code >= 0xD800 && code < 0xDC00 && take("\\u")) {
      INFER_ASSIGN(const char32_t low, read_unit());
      if (low < 0xDC00 || low > 0xDFFF) return fail("half of a character");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code >= 0xD800 && code < 0xE000) return fail("half of a character");
    std::string bytes;
    append_utf8(bytes, code);
    return bytes;
  }

  Result<char32_t> read_unit() {
    const std::string_view hex = text_.substr(std::min(at_, text_.size()), 4);
    uint32_t unit = 0;
    const auto end = std::from_chars(hex.data(), hex.data() + hex.size(), unit, 16);
    if (hex.size() != 4 || end.ptr != hex.data() + 4) return fail("an escape without four digits");
    at_ += 4;
    return char32_t{unit};
  }

  Result<Value> read_number() {
    const size_t begin = at_;
    const auto digits = [this] {
      const size_t first = at_;
      while (peek() >= '0' && peek() <= '9') ++at_;
      return at_ > first;
    };
    take("-");
    const bool leading_zero = peek() == '0';
    if (!digits()) return fail("no value");
    if (leading_zero && at_ - begin > (text_[begin] == '-' ? 2u : 1u)) return fail("a number with a leading zero");
    bool is_whole = true;
    if (take(".")) {
      is_whole = false;
      if (!digits()) return fail("a point without digits");
    }
    if (peek() == 'e' || peek() == 'E') {
      is_whole = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (!digits()) return fail("an exponent without digits");
    }
    const char* first = text_.data() + begin;
    const char* last = text_.data() + at_;
    int64_t whole = 0;
    if (is_whole && std::from_chars(first, last, whole).ec == std::errc()) return Value::of(whole);
    double real = 0;
    const auto end = std::from_chars(first, last, real);
    if (end.ec != std::errc() || !std::isfinite(real)) return fail("a number out of range");
    return Value::of(real);
  }

  std::string_view text_;
  size_t at_ = 0;
  Origin origin_;
  Heap& heap_;
};

}  // namespace

Result<Value> read_json(std::string_view text, Origin origin, Heap& heap) {
  return JsonReader(text, origin, heap).run();
}

}  // namespace infer::jinja
