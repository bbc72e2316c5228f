// Filters on numbers and single values, and tojson.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/format.h"
#include "jinja/builtin.h"
#include "jinja/evaluator.h"
#include "jinja/json_text.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"

namespace infer::jinja {
namespace {

Result<Value> fallback(Invocation& call) {
  const bool replaces = call.self.is(Kind::kUndefined) || (flag_of(call, 1, false) && !truth(call.self));
  if (!replaces) return call.self;
  return call.given[0] ? call.values[0] : call.heap.string("", Origin::kTemplate);
}

std::string_view trimmed(const Value& value) {
  const std::string_view text = value.text().bytes();
  const Stripped kept = strip(text, "", true, true);
  std::string_view number = text.substr(kept.begin, kept.end - kept.begin);
  if (number.size() > 1 && number[0] == '+' && number[1] != '-') number.remove_prefix(1);
  return number;
}

std::optional<double> as_real(const Value& value) {
  if (value.is_number()) return value.real();
  if (!value.is(Kind::kString)) return std::nullopt;
  const std::string_view text = trimmed(value);
  double real = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), real);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  return real;
}

std::optional<int64_t> as_whole(const Value& value, int base) {
  if (value.is_integral()) return value.integer();
  if (value.is(Kind::kString)) {
    std::string_view text = trimmed(value);
    const bool has_prefix = text.size() > 2 && text[0] == '0';
    const char letter = has_prefix ? static_cast<char>(text[1] | 32) : '\0';
    if ((base == 16 && letter == 'x') || (base == 8 && letter == 'o') || (base == 2 && letter == 'b')) {
      text.remove_prefix(2);
    }
    int64_t whole = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), whole, base);
    if (end.ec == std::errc() && end.ptr == text.data() + text.size()) return whole;
  }
  const std::optional<double> real = as_real(value);
  if (!real || !(*real > -0x1.0p63 && *real < 0x1.0p63)) return std::nullopt;
  return static_cast<int64_t>(*real);
}

Result<Value> to_int(Invocation& call) {
  INFER_ASSIGN(const int64_t base, integer_of(call, 1, 10));
  if (base < 2 || base > 36) return bad_argument("the base is not from 2 to 36");
  if (call.self.is(Kind::kUndefined)) return undefined_error(call.self);
  if (const auto whole = as_whole(call.self, static_cast<int>(base))) return Value::of(*whole);
  return call.given[0] ? call.values[0] : Value::of(int64_t{0});
}

Result<Value> to_float(Invocation& call) {
  if (call.self.is(Kind::kUndefined)) return undefined_error(call.self);
  if (const auto real = as_real(call.self)) return Value::of(*real);
  return call.given[0] ? call.values[0] : Value::of(0.0);
}

Result<Value> absolute(Invocation& call) {
  if (!call.self.is_number()) return bad_argument(format("{} is no number", type_name(call.self)));
  if (call.self.is(Kind::kFloat)) return Value::of(std::fabs(call.self.real()));
  return call.self.integer() < 0 ? negate(call.self) : Result<Value>(Value::of(call.self.integer()));
}

Result<Value> round(Invocation& call) {
  if (!call.self.is_number()) return bad_argument(format("{} is no number", type_name(call.self)));
  INFER_ASSIGN(const int64_t precision, integer_of(call, 0, 0));
  INFER_ASSIGN(const Text* method, text_of(call, 1));
  if (precision < 0 || precision > 15) return bad_argument("the precision is not from 0 to 15");
  const double value = call.self.real();
  if (method != nullptr && method->bytes() != "common") {
    const bool up = method->bytes() == "ceil";
    if (!up && method->bytes() != "floor") return bad_argument("the method is not common, ceil or floor");
    const double scale = std::pow(10.0, static_cast<double>(precision));
    return Value::of((up ? std::ceil(value * scale) : std::floor(value * scale)) / scale);
  }
  if (!std::isfinite(value)) return Value::of(value);
  // As Python, half to even of the exact decimal value, which is what printing does.
  const std::string digits = format(format("{{:.{}f}}", precision), value);
  double rounded = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), rounded);
  return Value::of(rounded);
}

Result<Value> attr(Invocation& call) {
  INFER_ASSIGN(const Text* name, text_of(call, 0));
  // Unlike a.name this does not look for keys.
  if (name == nullptr || call.self.is(Kind::kDict)) return Value();
  return call.evaluator.attribute(call.self, name->bytes());
}

Result<Value> tojson(Invocation& call) {
  constexpr int64_t kIndentMax = 100;
  JsonStyle style;
  style.ensure_ascii = flag_of(call, 0, false);
  style.sort_keys = flag_of(call, 3, false);
  if (call.values[1].is(Kind::kString)) {
    style.indent = call.values[1].text();
  } else if (call.given[1] && !call.values[1].is(Kind::kNone)) {
    INFER_ASSIGN(const int64_t width, integer_of(call, 1, 0));
    if (width > kIndentMax) return bad_argument(format("the indent is above {}", kIndentMax));
    const std::string spaces(static_cast<size_t>(std::clamp<int64_t>(width, 0, kIndentMax)), ' ');
    style.indent = Text(spaces, Origin::kTemplate);
  }
  if (style.indent) style.item_separator = Text(",", Origin::kTemplate);
  if (call.given[2] && !call.values[2].is(Kind::kNone)) {
    INFER_ASSIGN(const std::vector<Value> separators, elements_of(call.values[2], call.heap));
    if (separators.size() != 2 || !separators[0].is(Kind::kString) || !separators[1].is(Kind::kString)) {
      return bad_argument("the separators are not two strings");
    }
    style.item_separator = separators[0].text();
    style.key_separator = separators[1].text();
  }
  return json_text(call.self, style, call.heap);
}

constexpr BuiltinFunction kRows[] = {
    {"default", fallback, {"default_value", "boolean"}},
    {"d", fallback, {"default_value", "boolean"}},
    {"int", to_int, {"default", "base"}},
    {"float", to_float, {"default"}},
    {"abs", absolute},
    {"round", round, {"precision", "method"}},
    {"attr", attr, {"name"}, 1},
    {"tojson", tojson, {"ensure_ascii", "indent", "separators", "sort_keys"}},
};

}  // namespace

BuiltinTable value_filters() { return kRows; }

}  // namespace infer::jinja
