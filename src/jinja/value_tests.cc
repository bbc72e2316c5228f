// Tests: what may follow `is`.
#include "base/format.h"
#include "jinja/builtin.h"
#include "jinja/evaluator.h"
#include "jinja/operators.h"
#include "jinja/text_operations.h"

namespace infer::jinja {
namespace {

Result<Value> is_defined(Invocation& call) { return Value::of(!call.self.is(Kind::kUndefined)); }
Result<Value> is_undefined(Invocation& call) { return Value::of(call.self.is(Kind::kUndefined)); }
Result<Value> is_none(Invocation& call) { return Value::of(call.self.is(Kind::kNone)); }
Result<Value> is_boolean(Invocation& call) { return Value::of(call.self.is(Kind::kBool)); }
Result<Value> is_true(Invocation& call) { return Value::of(call.self.is(Kind::kBool) && call.self.boolean()); }
Result<Value> is_false(Invocation& call) { return Value::of(call.self.is(Kind::kBool) && !call.self.boolean()); }
Result<Value> is_integer(Invocation& call) { return Value::of(call.self.is(Kind::kInt)); }
Result<Value> is_float(Invocation& call) { return Value::of(call.self.is(Kind::kFloat)); }
Result<Value> is_number(Invocation& call) { return Value::of(call.self.is_number()); }
Result<Value> is_string(Invocation& call) { return Value::of(call.self.is(Kind::kString)); }
Result<Value> is_mapping(Invocation& call) { return Value::of(call.self.is(Kind::kDict)); }
Result<Value> is_callable(Invocation& call) {
  return Value::of(call.self.is(Kind::kCallable) || call.self.is(Kind::kUndefined));
}

Result<Value> is_iterable(Invocation& call) {
  const Kind kind = call.self.kind();
  return Value::of(kind == Kind::kUndefined || kind == Kind::kString || kind == Kind::kList || kind == Kind::kDict ||
                   kind == Kind::kLoop);
}

// What has a length and takes indices or keys.
Result<Value> is_sequence(Invocation& call) {
  const Value& value = call.self;
  const bool is_list = value.is(Kind::kList) && value.list().shape <= Shape::kTuple;
  return Value::of(is_list || value.is(Kind::kString) || value.is(Kind::kDict) || value.is(Kind::kUndefined));
}

template <Comparison comparison>
Result<Value> compares(Invocation& call) {
  INFER_ASSIGN(const bool holds, compare(comparison, call.self, call.values[0], call.heap));
  return Value::of(holds);
}

Result<Value> is_same(Invocation& call) { return Value::of(call.self.identical(call.values[0])); }

Result<Value> leaves(const Invocation& call, const Value& divisor, int64_t wanted) {
  if (!call.self.is_number()) return bad_argument(format("{} is no number", type_name(call.self)));
  INFER_ASSIGN(const Value rest, apply(Operator::kModulo, call.self, divisor, call.heap));
  return Value::of(equal(rest, Value::of(wanted), call.heap));
}
Result<Value> is_even(Invocation& call) { return leaves(call, Value::of(int64_t{2}), 0); }
Result<Value> is_odd(Invocation& call) { return leaves(call, Value::of(int64_t{2}), 1); }
Result<Value> is_divisible(Invocation& call) { return leaves(call, call.values[0], 0); }

// str.islower and isupper: letters of that case and none of the other.
Result<Value> has_case(Invocation& call, LetterCase own, LetterCase other) {
  const Text& text = as_text(call.self, call.heap).text();
  const Value same = change_case(text, own, call.heap), changed = change_case(text, other, call.heap);
  return Value::of(same.text().bytes() == text.bytes() && changed.text().bytes() != text.bytes());
}
Result<Value> is_lower(Invocation& call) { return has_case(call, LetterCase::kLower, LetterCase::kUpper); }
Result<Value> is_upper(Invocation& call) { return has_case(call, LetterCase::kUpper, LetterCase::kLower); }

Result<Value> names_something(const Invocation& call, const BuiltinFunction* (*find)(std::string_view)) {
  if (call.self.is(Kind::kList) || call.self.is(Kind::kDict)) {
    return bad_argument(format("{} is no name", type_name(call.self)));
  }
  return Value::of(call.self.is(Kind::kString) && find(call.self.text().bytes()) != nullptr);
}
Result<Value> is_filter(Invocation& call) { return names_something(call, find_filter); }
Result<Value> is_test(Invocation& call) { return names_something(call, find_test); }

constexpr BuiltinFunction kRows[] = {
    {"defined", is_defined},
    {"undefined", is_undefined},
    {"none", is_none},
    {"boolean", is_boolean},
    {"true", is_true},
    {"false", is_false},
    {"integer", is_integer},
    {"float", is_float},
    {"number", is_number},
    {"string", is_string},
    {"mapping", is_mapping},
    {"callable", is_callable},
    {"iterable", is_iterable},
    {"sequence", is_sequence},
    {"eq", compares<Comparison::kEqual>, {"other"}, 1},
    {"equalto", compares<Comparison::kEqual>, {"other"}, 1},
    {"==", compares<Comparison::kEqual>, {"other"}, 1},
    {"ne", compares<Comparison::kNotEqual>, {"other"}, 1},
    {"!=", compares<Comparison::kNotEqual>, {"other"}, 1},
    {"lt", compares<Comparison::kLess>, {"other"}, 1},
    {"lessthan", compares<Comparison::kLess>, {"other"}, 1},
    {"<", compares<Comparison::kLess>, {"other"}, 1},
    {"le", compares<Comparison::kLessEqual>, {"other"}, 1},
    {"<=", compares<Comparison::kLessEqual>, {"other"}, 1},
    {"gt", compares<Comparison::kGreater>, {"other"}, 1},
    {"greaterthan", compares<Comparison::kGreater>, {"other"}, 1},
    {">", compares<Comparison::kGreater>, {"other"}, 1},
    {"ge", compares<Comparison::kGreaterEqual>, {"other"}, 1},
    {">=", compares<Comparison::kGreaterEqual>, {"other"}, 1},
    {"in", compares<Comparison::kIn>, {"seq"}, 1},
    {"sameas", is_same, {"other"}, 1},
    {"even", is_even},
    {"odd", is_odd},
    {"divisibleby", is_divisible, {"num"}, 1},
    {"lower", is_lower},
    {"upper", is_upper},
    {"filter", is_filter},
    {"test", is_test},
};

}  // namespace

BuiltinTable value_tests() { return kRows; }

}  // namespace infer::jinja
