#include "jinja/percent_format.h"

#include <algorithm>

#include "base/format.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"

namespace infer::jinja {
namespace {

constexpr size_t kWidthMax = 1000;

Error refused(std::string message) { return {ErrorCode::kInvalidArgument, "%: " + std::move(message)}; }

struct Conversion {
  std::string name;  // Of %(name)s.
  bool left = false, zero = false, plus = false, has_precision = false;
  size_t width = 0, precision = 6;
  char letter = 0;
};

// Reads pattern[at..], which follows a '%'.
class ConversionReader {
 public:
  ConversionReader(std::string_view pattern, size_t at) : pattern_(pattern), at_(at) {}
  size_t at() const { return at_; }

  Result<Conversion> read() {
    Conversion conversion;
    if (peek() == '(') {
      const size_t end = pattern_.find(')', at_);
      if (end == std::string_view::npos) return refused("a name in parentheses has no end");
      conversion.name = pattern_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
    }
    for (;; ++at_) {
      if (peek() == '-')
        conversion.left = true;
      else if (peek() == '0')
        conversion.zero = true;
      else if (peek() == '+')
        conversion.plus = true;
      else
        break;
    }
    INFER_ASSIGN(conversion.width, number());
    if (peek() == '.') {
      ++at_;
      conversion.has_precision = true;
      INFER_ASSIGN(conversion.precision, number());
    }
    conversion.letter = peek();
    ++at_;
    if (conversion.letter == 0 || std::string_view("srdiufxX%").find(conversion.letter) == std::string_view::npos) {
      return refused(format("there is no conversion '{}'", conversion.letter == 0 ? ' ' : conversion.letter));
    }
    return conversion;
  }

 private:
  char peek() const { return at_ < pattern_.size() ? pattern_[at_] : '\0'; }
  Result<size_t> number() {
    size_t value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      value = value * 10 + static_cast<size_t>(peek() - '0');
      if (value > kWidthMax) return refused(format("a width is above {}", kWidthMax));
    }
    return value;
  }

  std::string_view pattern_;
  size_t at_;
};

Result<std::string> number_text(const Conversion& conversion, const Value& value) {
  if (!value.is_number()) {
    return refused(format("{} is wanted for '{}', not {}", "a number", conversion.letter, type_name(value)));
  }
  std::string text;
  if (conversion.letter == 'f') {
    text = format(format("{{:.{}f}}", conversion.precision), value.real());
  } else {
    const double real = value.real();
    if (value.is(Kind::kFloat) && !(real > -9e18 && real < 9e18)) return refused("a number is beyond 64 bits");
    const int64_t whole = value.is(Kind::kFloat) ? static_cast<int64_t>(real) : value.integer();
    const bool is_hex = conversion.letter == 'x' || conversion.letter == 'X';
    text = is_hex ? format(conversion.letter == 'x' ? "{:x}" : "{:X}", whole) : format("{}", whole);
  }
  if (conversion.plus && text[0] != '-') text.insert(0, 1, '+');
  if (conversion.zero && !conversion.left && text.size() < conversion.width) {
    text.insert(text[0] == '-' || text[0] == '+' ? 1 : 0, conversion.width - text.size(), '0');
  }
  return text;
}

void append_padded(const Conversion& conversion, const Text& text, TextBuilder& out) {
  size_t end = text.size();
  if (conversion.has_precision && (conversion.letter == 's' || conversion.letter == 'r')) {
    end = byte_of_character(text.bytes(), conversion.precision);
  }
  const size_t width = count_characters(std::string_view(text.bytes()).substr(0, end));
  const std::string padding(conversion.width > width ? conversion.width - width : 0, ' ');
  if (!conversion.left) out.append(padding, Origin::kTemplate);
  out.append(text, 0, end);
  if (conversion.left) out.append(padding, Origin::kTemplate);
}

Status append_converted(const Conversion& conversion, const Value& value, TextBuilder& out, Heap& heap) {
  if (conversion.letter == 's' || conversion.letter == 'r') {
    TextBuilder text(heap);
    conversion.letter == 's' ? append_text(value, text, heap) : append_repr(value, text, heap);
    append_padded(conversion, text.text(), out);
    return {};
  }
  INFER_ASSIGN(std::string digits, number_text(conversion, value));
  append_padded(conversion, Text(std::move(digits), Origin::kTemplate), out);
  return {};
}

}  // namespace

Result<Value> percent_format(const Text& pattern, const Value& arguments, Heap& heap) {
  const bool is_tuple = arguments.is(Kind::kList) && arguments.list().shape == Shape::kTuple;
  const std::vector<Value> values = is_tuple ? arguments.list().items : std::vector<Value>{arguments};
  size_t used = 0;
  TextBuilder out(heap);
  const std::string& bytes = pattern.bytes();
  for (size_t at = 0; at < bytes.size() && heap.step();) {
    const size_t percent = std::min(bytes.find('%', at), bytes.size());
    out.append(pattern, at, percent);
    if (percent == bytes.size()) break;
    ConversionReader reader(bytes, percent + 1);
    INFER_ASSIGN(const Conversion conversion, reader.read());
    at = reader.at();
    if (conversion.letter == '%') {
      out.append(pattern, percent, percent + 1);
    } else if (!conversion.name.empty()) {
      const Value* value = arguments.is(Kind::kDict) ? find_key(arguments.dict(), conversion.name, heap) : nullptr;
      if (value == nullptr) return refused(format("there is no value for '{}'", conversion.name));
      INFER_TRY(append_converted(conversion, *value, out, heap));
    } else {
      if (used == values.size()) return refused("there are fewer values than conversions");
      INFER_TRY(append_converted(conversion, values[used++], out, heap));
    }
  }
  const bool all_used = used == values.size() || arguments.is(Kind::kDict);
  if (!all_used) return refused("there are more values than conversions");
  return out.finish();
}

}  // namespace infer::jinja
