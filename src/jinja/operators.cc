#include "jinja/operators.h"

#include <cmath>

#include "base/format.h"
#include "base/quoted_text.h"
#include "jinja/percent_format.h"
#include "jinja/python_text.h"

namespace infer::jinja {
namespace {

Error wrong_types(std::string_view op, const Value& a, const Value& b) {
  if (a.is(Kind::kUndefined)) return undefined_error(a);
  if (b.is(Kind::kUndefined)) return undefined_error(b);
  return {ErrorCode::kInvalidArgument, format("'{}' does not take {} and {}", op, type_name(a), type_name(b))};
}

Error overflow() { return {ErrorCode::kInvalidArgument, "a whole number is beyond 64 bits"}; }
Error zero_division() { return {ErrorCode::kInvalidArgument, "division by zero"}; }

std::string_view operator_name(Operator op) {
  switch (op) {
    case Operator::kAdd: return "+";
    case Operator::kSubtract: return "-";
    case Operator::kMultiply: return "*";
    case Operator::kDivide: return "/";
    case Operator::kFloorDivide: return "//";
    case Operator::kModulo: return "%";
    case Operator::kPower: return "**";
  }
  return "?";
}

bool same_elements(const std::vector<Value>& a, const std::vector<Value>& b, Heap& heap) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!equal(a[i], b[i], heap)) return false;
  }
  return true;
}

bool same_entries(const Dict& a, const Dict& b, Heap& heap) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = find_key(b, key, heap);
    if (other == nullptr || !equal(value, *other, heap)) return false;
  }
  return true;
}

Result<Value> power(const Value& a, const Value& b) {
  if (!a.is_integral() || !b.is_integral() || b.integer() < 0) {
    if (a.real() == 0 && b.real() < 0) return zero_division();
    return Value::of(std::pow(a.real(), b.real()));
  }
  int64_t result = 1, base = a.integer();
  for (int64_t exponent = b.integer(); exponent > 0; exponent >>= 1) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(result, base, &result)) return overflow();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return overflow();
  }
  return Value::of(result);
}

Result<Value> divide_whole(Operator op, int64_t a, int64_t b) {
  if (b == 0) return zero_division();
  if (b == -1) {  // The one quotient that does not fit.
    int64_t negated = 0;
    if (__builtin_sub_overflow(int64_t{0}, a, &negated)) return overflow();
    return Value::of(op == Operator::kFloorDivide ? negated : int64_t{0});
  }
  int64_t quotient = a / b, rest = a % b;
  if (rest != 0 && (rest < 0) != (b < 0)) {  // Python rounds down.
    --quotient;
    rest += b;
  }
  return Value::of(op == Operator::kFloorDivide ? quotient : rest);
}

Result<Value> calculate_whole(Operator op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool over = false;
  switch (op) {
    case Operator::kAdd: over = __builtin_add_overflow(a, b, &result); break;
    case Operator::kSubtract: over = __builtin_sub_overflow(a, b, &result); break;
    case Operator::kMultiply: over = __builtin_mul_overflow(a, b, &result); break;
    default: return divide_whole(op, a, b);
  }
  if (over) return overflow();
  return Value::of(result);
}

Result<Value> calculate(Operator op, const Value& a, const Value& b) {
  if (op == Operator::kPower) return power(a, b);
  if (a.is_integral() && b.is_integral() && op != Operator::kDivide) {
    return calculate_whole(op, a.integer(), b.integer());
  }
  const double x = a.real(), y = b.real();
  switch (op) {
    case Operator::kAdd: return Value::of(x + y);
    case Operator::kSubtract: return Value::of(x - y);
    case Operator::kMultiply: return Value::of(x * y);
    default: break;
  }
  if (y == 0) return zero_division();
  if (op == Operator::kDivide) return Value::of(x / y);
  double rest = std::fmod(x, y);
  if (rest != 0 && (rest < 0) != (y < 0)) rest += y;
  if (op == Operator::kModulo) return Value::of(rest == 0 ? std::copysign(0.0, y) : rest);
  return Value::of(std::floor((x - rest) / y + 0.5));
}

Value repeat(const Value& value, int64_t times, Heap& heap) {
  if (value.is(Kind::kString)) {
    TextBuilder out(heap);
    if (value.text().empty()) times = 0;
    for (int64_t i = 0; i < times && heap.step(); ++i) out.append(value.text());
    return out.finish();
  }
  ListBuilder out(heap, value.list().shape);
  if (value.list().items.empty()) times = 0;
  for (int64_t i = 0; i < times && heap.step(); ++i) {
    for (const Value& item : value.list().items) out.push(item);
  }
  return out.finish();
}

bool is_sequence(const Value& value) {
  return value.is(Kind::kList) && (value.list().shape == Shape::kList || value.list().shape == Shape::kTuple);
}

Value concatenate(const Value& a, const Value& b, Heap& heap) {
  if (a.is(Kind::kString)) {
    TextBuilder out(heap);
    out.append(a.text());
    out.append(b.text());
    return out.finish();
  }
  ListBuilder out(heap, a.list().shape);
  for (const Value* list : {&a, &b}) {
    for (const Value& item : list->list().items) out.push(item);
  }
  return out.finish();
}

void append_quoted(const Text& text, TextBuilder& out) {
  constexpr char kHex[] = "0123456789abcdef";
  const std::string_view bytes = text.bytes();
  const bool has_single = bytes.find('\'') != std::string_view::npos;
  const char quote = has_single && bytes.find('"') == std::string_view::npos ? '"' : '\'';
  out.append({&quote, 1}, Origin::kTemplate);
  for (size_t at = 0; at < bytes.size();) {
    const Character next = character_at(bytes, at);
    std::string escaped;
    if (next.code == static_cast<char32_t>(quote) || next.code == '\\') {
      escaped.append(1, '\\').append(1, static_cast<char>(next.code));
    } else if (next.code == '\n' || next.code == '\r' || next.code == '\t') {
      escaped.append(1, '\\').append(1, next.code == '\n' ? 'n' : next.code == '\r' ? 'r' : 't');
    } else if (next.code != kNoCode && !is_printable(next.code)) {
      const int digits = next.code < 0x100 ? 2 : next.code < 0x10000 ? 4 : 8;
      escaped.append(1, '\\').append(1, digits == 2 ? 'x' : digits == 4 ? 'u' : 'U');
      for (int i = digits - 1; i >= 0; --i) escaped += kHex[next.code >> (4 * i) & 15];
    }
    if (escaped.empty()) {
      out.append(text, at, at + next.length);
    } else {
      out.append(escaped, text.origin_at(at));
    }
    at += next.length;
  }
  out.append({&quote, 1}, Origin::kTemplate);
}

void append_list_repr(const List& list, TextBuilder& out, Heap& heap) {
  const bool is_tuple = list.shape == Shape::kTuple;
  if (list.shape == Shape::kGenerator) return out.append("<generator>", Origin::kTemplate);
  out.append(is_tuple ? "(" : list.shape == Shape::kView ? "dict_view([" : "[", Origin::kTemplate);
  for (size_t i = 0; i < list.items.size() && !heap.exhausted(); ++i) {
    if (i > 0) out.append(", ", Origin::kTemplate);
    append_repr(list.items[i], out, heap);
  }
  if (is_tuple && list.items.size() == 1) out.append(",", Origin::kTemplate);
  out.append(is_tuple ? ")" : list.shape == Shape::kView ? "])" : "]", Origin::kTemplate);
}

}  // namespace

Error undefined_error(const Value& value) {
  if (value.missing_name() == nullptr) return {ErrorCode::kInvalidArgument, "the value is undefined"};
  return {ErrorCode::kInvalidArgument, format("{} is undefined", quoted(*value.missing_name()))};
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined: return "undefined";
    case Kind::kNone: return "none";
    case Kind::kBool: return "bool";
    case Kind::kInt: return "int";
    case Kind::kFloat: return "float";
    case Kind::kString: return "str";
    case Kind::kList:
      switch (value.list().shape) {
        case Shape::kList: return "list";
        case Shape::kTuple: return "tuple";
        case Shape::kView: return "dict view";
        case Shape::kGenerator: return "generator";
      }
      return "list";
    case Kind::kDict: return "dict";
    case Kind::kNamespace: return "namespace";
    case Kind::kCallable: return "function";
    case Kind::kLoop: return "loop";
  }
  return "?";
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone: return false;
    case Kind::kBool:
    case Kind::kInt: return value.integer() != 0;
    case Kind::kFloat: return value.real() != 0;
    case Kind::kString: return !value.text().empty();
    case Kind::kList: return value.list().shape == Shape::kGenerator || !value.list().items.empty();
    case Kind::kDict: return !value.dict().entries.empty();
    default: return true;
  }
}

bool equal(const Value& a, const Value& b, Heap& heap) {
  if (!heap.step()) return false;
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
    return a.real() == b.real();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone: return true;
    case Kind::kString:
      return a.text().size() == b.text().size() && heap.scan(a.text().size()) && a.text().bytes() == b.text().bytes();
    case Kind::kList:
      if (a.list().shape == Shape::kGenerator) return a.identical(b);
      return a.list().shape == b.list().shape && same_elements(a.list().items, b.list().items, heap);
    case Kind::kDict: return same_entries(a.dict(), b.dict(), heap);
    default: return a.identical(b);
  }
}

Result<bool> less(const Value& a, const Value& b, Heap& heap) {
  heap.step();
  if (a.is_integral() && b.is_integral()) return a.integer() < b.integer();
  if (a.is_number() && b.is_number()) return a.real() < b.real();
  if (a.is(Kind::kString) && b.is(Kind::kString)) {
    heap.scan(std::min(a.text().size(), b.text().size()));
    return a.text().bytes() < b.text().bytes();  // UTF-8 sorts as its code points do.
  }
  if (!is_sequence(a) || !is_sequence(b) || a.list().shape != b.list().shape) return wrong_types("<", a, b);
  const std::vector<Value>& x = a.list().items;
  const std::vector<Value>& y = b.list().items;
  for (size_t i = 0; i < x.size() && i < y.size(); ++i) {
    if (!equal(x[i], y[i], heap)) return less(x[i], y[i], heap);
  }
  return x.size() < y.size();
}

Result<bool> contains(const Value& container, const Value& element, Heap& heap) {
  switch (container.kind()) {
    case Kind::kUndefined: return false;
    case Kind::kString: {
      if (!element.is(Kind::kString)) return wrong_types("in", element, container);
      heap.scan(container.text().size() + element.text().size());
      if (element.text().empty()) return true;
      return Searcher(element.text().bytes()).find(container.text().bytes(), 0) != std::string::npos;
    }
    case Kind::kDict: return find_key(container.dict(), element, heap) != nullptr;
    case Kind::kList: {
      INFER_ASSIGN(const std::vector<Value> items, elements_of(container, heap));
      for (const Value& item : items) {
        if (equal(item, element, heap)) return true;
      }
      return false;
    }
    default: return wrong_types("in", element, container);
  }
}

Result<bool> compare(Comparison comparison, const Value& a, const Value& b, Heap& heap) {
  switch (comparison) {
    case Comparison::kEqual: return equal(a, b, heap);
    case Comparison::kNotEqual: return !equal(a, b, heap);
    case Comparison::kLess: return less(a, b, heap);
    case Comparison::kGreater: return less(b, a, heap);
    case Comparison::kLessEqual:
    case Comparison::kGreaterEqual: {
      const bool swapped = comparison == Comparison::kGreaterEqual;
      INFER_ASSIGN(const bool is_less, swapped ? less(b, a, heap) : less(a, b, heap));
      return is_less || equal(a, b, heap);
    }
    case Comparison::kIn: return contains(b, a, heap);
    case Comparison::kNotIn: {
      INFER_ASSIGN(const bool is_in, contains(b, a, heap));
      return !is_in;
    }
  }
  return false;
}

Result<Value> apply(Operator op, const Value& a, const Value& b, Heap& heap) {
  if (a.is_number() && b.is_number()) return calculate(op, a, b);
  const bool are_texts = a.is(Kind::kString) && b.is(Kind::kString);
  const bool are_lists = is_sequence(a) && is_sequence(b) && a.list().shape == b.list().shape;
  if (op == Operator::kAdd && (are_texts || are_lists)) return concatenate(a, b, heap);
  if (op == Operator::kMultiply) {
    if ((a.is(Kind::kString) || is_sequence(a)) && b.is_integral()) return repeat(a, b.integer(), heap);
    if ((b.is(Kind::kString) || is_sequence(b)) && a.is_integral()) return repeat(b, a.integer(), heap);
  }
  if (op == Operator::kModulo && a.is(Kind::kString)) return percent_format(a.text(), b, heap);
  return wrong_types(operator_name(op), a, b);
}

Result<Value> negate(const Value& value) {
  if (value.is(Kind::kFloat)) return Value::of(-value.real());
  if (value.is(Kind::kUndefined)) return undefined_error(value);
  if (!value.is_integral()) {
    return Error{ErrorCode::kInvalidArgument, format("a sign does not go with {}", type_name(value))};
  }
  return calculate_whole(Operator::kSubtract, 0, value.integer());
}

Result<std::vector<Value>> elements_of(const Value& value, Heap& heap) {
  std::vector<Value> items;
  if (value.is(Kind::kUndefined)) return items;
  if (value.is(Kind::kList)) {
    List& list = value.list();
    if (!heap.charge(list.items.size() * sizeof(Value)) || !heap.step(1 + list.items.size() / 16)) return items;
    if (list.shape != Shape::kGenerator) return list.items;
    items.assign(list.items.begin() + static_cast<std::ptrdiff_t>(list.read), list.items.end());
    list.read = list.items.size();
    return items;
  }
  ListBuilder built(heap);
  if (value.is(Kind::kDict)) {
    for (const auto& entry : value.dict().entries) built.push(entry.first);
    return std::move(built.items());
  }
  if (!value.is(Kind::kString)) {
    return Error{ErrorCode::kInvalidArgument, format("{} has no elements to go through", type_name(value))};
  }
  const Text& text = value.text();
  for (size_t at = 0; at < text.size() && !heap.exhausted();) {
    const size_t length = character_at(text.bytes(), at).length;
    TextBuilder character(heap);
    character.append(text, at, at + length);
    built.push(character.finish());
    at += length;
  }
  return std::move(built.items());
}

void append_text(const Value& value, TextBuilder& out, Heap& heap) {
  if (value.is(Kind::kString)) return out.append(value.text());
  if (!value.is(Kind::kUndefined)) append_repr(value, out, heap);
}

void append_repr(const Value& value, TextBuilder& out, Heap& heap) {
  const auto put = [&out](std::string_view text) { out.append(text, Origin::kTemplate); };
  if (!heap.step()) return;
  switch (value.kind()) {
    case Kind::kUndefined: return put("Undefined");
    case Kind::kNone: return put("None");
    case Kind::kBool: return put(value.boolean() ? "True" : "False");
    case Kind::kInt: return put(format("{}", value.integer()));
    case Kind::kFloat: return put(float_repr(value.real()));
    case Kind::kString: return append_quoted(value.text(), out);
    case Kind::kList: return append_list_repr(value.list(), out, heap);
    case Kind::kDict: break;
    case Kind::kCallable: return put(format("<function {}>", value.callable().name));
    case Kind::kNamespace: return put("<Namespace>");
    case Kind::kLoop: return put("<LoopContext>");
  }
  put("{");
  bool first = true;
  for (const auto& [key, entry] : value.dict().entries) {
    if (!first) put(", ");
    first = false;
    append_repr(key, out, heap);
    put(": ");
    append_repr(entry, out, heap);
  }
  put("}");
}

Value as_text(const Value& value, Heap& heap) {
  if (value.is(Kind::kString)) return value;
  TextBuilder out(heap);
  append_text(value, out, heap);
  return out.finish();
}

const Value* find_key(const Dict& dict, const Value& key, Heap& heap) {
  if (key.is(Kind::kString)) return find_key(dict, key.text().bytes(), heap);
  for (const auto& entry : dict.entries) {
    if (equal(entry.first, key, heap)) return &entry.second;
  }
  return nullptr;
}

const Value* find_key(const Dict& dict, std::string_view key, Heap& heap) {
  heap.step(1 + dict.entries.size() / 4);
  for (const auto& [name, value] : dict.entries) {
    if (name.is(Kind::kString) && name.text().bytes() == key) return &value;
  }
  return nullptr;
}

}  // namespace infer::jinja
