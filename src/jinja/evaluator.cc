#include "jinja/evaluator.h"

#include <algorithm>

#include "base/format.h"
#include "base/quoted_text.h"
#include "jinja/lexer.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"

namespace infer::jinja {
namespace {

// Counts a level of nesting while it lives.
class DepthGuard {
 public:
  explicit DepthGuard(int& depth) : depth_(depth) { ++depth_; }
  ~DepthGuard() { --depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  int& depth_;
};

// slice.indices(length): where Python's [start:stop:step] begins and how many elements it has.
struct SliceRange {
  int64_t begin = 0, step = 1, count = 0;
};

Result<SliceRange> slice_range(const std::vector<Value>& bounds, int64_t length) {
  for (const Value& bound : bounds) {
    if (!bound.is(Kind::kNone) && !bound.is_integral()) {
      return Error{ErrorCode::kInvalidArgument, format("a slice has {} for a bound", type_name(bound))};
    }
  }
  SliceRange range;
  if (!bounds[2].is(Kind::kNone)) range.step = bounds[2].integer();
  if (range.step == 0) return Error{ErrorCode::kInvalidArgument, "a slice has a step of 0"};
  range.step = std::clamp<int64_t>(range.step, -length - 1, length + 1);
  const bool back = range.step < 0;
  const int64_t low = back ? -1 : 0, high = back ? length - 1 : length;
  const auto place = [&](const Value& bound, int64_t fallback) {
    if (bound.is(Kind::kNone)) return fallback;
    int64_t at = std::clamp<int64_t>(bound.integer(), -length - 1, length + 1);
    if (at < 0) at += length;
    return std::clamp(at, low, high);
  };
  range.begin = place(bounds[0], back ? high : low);
  const int64_t end = place(bounds[1], back ? low : high);
  const int64_t span = back ? range.begin - end : end - range.begin;
  const int64_t step = back ? -range.step : range.step;
  range.count = span <= 0 ? 0 : (span + step - 1) / step;
  return range;
}

Value slice_text(const Text& text, const SliceRange& range, Heap& heap) {
  TextBuilder out(heap);
  if (range.step == 1) {
    const std::string_view bytes = text.bytes();
    const size_t begin = byte_of_character(bytes, static_cast<size_t>(range.begin));
    const size_t length = byte_of_character(bytes.substr(begin), static_cast<size_t>(range.count));
    out.append(text, begin, begin + length);
    return out.finish();
  }
  std::vector<size_t> starts;  // Of each character, and the end.
  for (size_t at = 0; at < text.size(); at += character_at(text.bytes(), at).length) starts.push_back(at);
  starts.push_back(text.size());
  heap.charge(starts.size() * sizeof(size_t));
  for (int64_t i = 0; i < range.count; ++i) {
    const auto at = static_cast<size_t>(range.begin + i * range.step);
    out.append(text, starts[at], starts[at + 1]);
  }
  return out.finish();
}

Value slice_list(const List& list, const SliceRange& range, Heap& heap) {
  ListBuilder out(heap, list.shape);
  for (int64_t i = 0; i < range.count; ++i) {
    out.push(list.items[static_cast<size_t>(range.begin + i * range.step)]);
  }
  return out.finish();
}

Value loop_attribute(const Loop& loop, const std::string& name) {
  const auto count = static_cast<int64_t>(loop.items.size());
  const auto index = static_cast<int64_t>(loop.index);
  if (name == "index") return Value::of(index + 1);
  if (name == "index0") return Value::of(index);
  if (name == "revindex") return Value::of(count - index);
  if (name == "revindex0") return Value::of(count - index - 1);
  if (name == "first") return Value::of(index == 0);
  if (name == "last") return Value::of(index + 1 == count);
  if (name == "length") return Value::of(count);
  if (name == "depth") return Value::of(int64_t{loop.nesting});
  if (name == "depth0") return Value::of(int64_t{loop.nesting} - 1);
  if (name == "previtem" && index > 0) return loop.items[loop.index - 1];
  if (name == "nextitem" && index + 1 < count) return loop.items[loop.index + 1];
  return Value::undefined(&name);
}

// An element of a list or a character of a string, from the end where negative.
Value element_at(const Value& object, int64_t index, Heap& heap, const std::string* name) {
  const bool is_text = object.is(Kind::kString);
  const std::string_view bytes = is_text ? std::string_view(object.text().bytes()) : std::string_view();
  if (is_text) heap.scan(bytes.size());
  const auto count = static_cast<int64_t>(is_text ? count_characters(bytes) : object.list().items.size());
  if (index < 0) index += count;
  if (index < 0 || index >= count) return Value::undefined(name);
  if (!is_text) return object.list().items[static_cast<size_t>(index)];
  const size_t begin = byte_of_character(bytes, static_cast<size_t>(index));
  TextBuilder out(heap);
  out.append(object.text(), begin, begin + character_at(bytes, begin).length);
  return out.finish();
}

}  // namespace

Error Evaluator::locate(Position at, Error error) {
  if (!failed_at_) failed_at_ = at;
  return error;
}

Status Evaluator::check_depth() const {
  if (depth_ <= heap_.limits().depth) return {};
  return Error{ErrorCode::kExhausted,
               format("blocks, expressions and macros lie in each other more than {} deep", heap_.limits().depth)};
}

Result<Text> Evaluator::render(const Value& variables) {
  Scope& globals = make_scope(nullptr);
  for (size_t id = 0; id < syntax_.names.size(); ++id) {
    if (const Value* value = find_key(variables.dict(), syntax_.names[id], heap_)) {
      globals.set(static_cast<NameId>(id), *value);
    }
  }
  TextBuilder out(heap_);
  out_ = &out;
  auto flow = execute(syntax_.body, make_scope(&globals));
  if (flow && heap_.exhausted()) flow = heap_.exhaustion();
  if (!flow) return failed_at_ ? at_position(*failed_at_, std::move(flow).error()) : std::move(flow).error();
  return Text(out.text());
}

Result<Value> Evaluator::evaluate(const Expression& node, Scope& scope) {
  const DepthGuard guard(depth_);
  const Status depth = check_depth();
  if (!depth) return locate(node.at, depth.error());
  Result<Value> value = evaluate_node(node, scope);
  heap_.step();
  if (value && heap_.exhausted()) value = heap_.exhaustion();
  if (!value) return locate(node.at, std::move(value).error());
  return value;
}

Result<bool> Evaluator::evaluate_condition(const Expression& node, Scope& scope) {
  INFER_ASSIGN(const Value value, evaluate(node, scope));
  return truth(value);
}

Result<Value> Evaluator::evaluate_node(const Expression& node, Scope& scope) {
  const auto part = [&](size_t i) { return evaluate(*node.parts[i], scope); };
  switch (node.kind) {
    case ExpressionKind::kNone: return Value::none();
    case ExpressionKind::kBool: return Value::of(node.integer != 0);
    case ExpressionKind::kInt: return Value::of(node.integer);
    case ExpressionKind::kFloat: return Value::of(node.real);
    case ExpressionKind::kString: return Value::of(&node.literal);
    case ExpressionKind::kName: return evaluate_name(node, scope);
    case ExpressionKind::kList:
    case ExpressionKind::kTuple: {
      ListBuilder list(heap_, node.kind == ExpressionKind::kTuple ? Shape::kTuple : Shape::kList);
      for (const ExpressionPtr& element : node.parts) {
        INFER_ASSIGN(const Value value, evaluate(*element, scope));
        list.push(value);
      }
      return list.finish();
    }
    case ExpressionKind::kDict: return evaluate_dict(node, scope);
    case ExpressionKind::kAttribute: {
      INFER_ASSIGN(const Value object, part(0));
      return attribute(object, node.text);
    }
    case ExpressionKind::kItem: {
      INFER_ASSIGN(const Value object, part(0));
      INFER_ASSIGN(const Value key, part(1));
      return item(object, key);
    }
    case ExpressionKind::kSlice: return evaluate_slice(node, scope);
    case ExpressionKind::kCall: return evaluate_call(node, scope);
    case ExpressionKind::kFilter: {
      INFER_ASSIGN(const Value input, part(0));
      return evaluate_filter(node, input, scope);
    }
    case ExpressionKind::kTest: return evaluate_test(node, scope);
    case ExpressionKind::kNot: {
      INFER_ASSIGN(const Value value, part(0));
      return Value::of(!truth(value));
    }
    case ExpressionKind::kNegative:
    case ExpressionKind::kPositive: {
      INFER_ASSIGN(const Value value, part(0));
      INFER_ASSIGN(const Value negative, negate(value));
      return node.kind == ExpressionKind::kNegative ? Result<Value>(negative) : negate(negative);
    }
    case ExpressionKind::kArithmetic: {
      INFER_ASSIGN(const Value left, part(0));
      INFER_ASSIGN(const Value right, part(1));
      return apply(node.op, left, right, heap_);
    }
    case ExpressionKind::kConcat: return evaluate_concat(node, scope);
    case ExpressionKind::kComparison: return evaluate_comparison(node, scope);
    case ExpressionKind::kAnd:
    case ExpressionKind::kOr: {
      INFER_ASSIGN(const Value left, part(0));
      if (truth(left) == (node.kind == ExpressionKind::kOr)) return left;
      return part(1);
    }
    case ExpressionKind::kConditional: {
      INFER_ASSIGN(const bool holds, evaluate_condition(*node.parts[1], scope));
      if (holds) return part(0);
      return node.parts[2] ? part(2) : Result<Value>(Value());
    }
  }
  return Value();
}

Result<Value> Evaluator::evaluate_name(const Expression& node, Scope& scope) {
  for (Scope* at = &scope; at != nullptr; at = at->parent) {
    heap_.step(at->values.size() / 8);
    if (const Value* value = at->find_here(node.name)) return *value;
  }
  const std::string& name = syntax_.names[node.name];
  if (const BuiltinFunction* function = find_function(name)) {
    return Value::of(heap_.make_callable({.name = function->name, .builtin = function, .self = {}}));
  }
  return Value::undefined(&name);
}

Result<Value> Evaluator::evaluate_dict(const Expression& node, Scope& scope) {
  DictBuilder dict(heap_);
  for (size_t i = 0; i < node.parts.size(); i += 2) {
    INFER_ASSIGN(const Value key, evaluate(*node.parts[i], scope));
    const bool is_hashable = !key.is(Kind::kDict) && (!key.is(Kind::kList) || key.list().shape == Shape::kTuple);
    if (!is_hashable) {
      return Error{ErrorCode::kInvalidArgument, format("{} cannot be a key", type_name(key))};
    }
    INFER_ASSIGN(const Value value, evaluate(*node.parts[i + 1], scope));
    dict.set(key, value);
  }
  return dict.finish();
}

Result<Arguments> Evaluator::evaluate_arguments(const Expression& node, Scope& scope) {
  Arguments arguments;
  for (size_t i = 1; i < node.parts.size(); ++i) {
    INFER_ASSIGN(const Value value, evaluate(*node.parts[i], scope));
    arguments.positional.push_back(value);
  }
  for (const auto& [name, expression] : node.named) {
    INFER_ASSIGN(const Value value, evaluate(*expression, scope));
    arguments.named.emplace_back(name, value);
  }
  return arguments;
}

Result<Value> Evaluator::evaluate_call(const Expression& node, Scope& scope) {
  INFER_ASSIGN(const Value callee, evaluate(*node.parts[0], scope));
  INFER_ASSIGN(const Arguments arguments, evaluate_arguments(node, scope));
  return call(callee, arguments);
}

Result<Value> Evaluator::call(const Value& callee, const Arguments& arguments) {
  if (callee.is(Kind::kUndefined)) return undefined_error(callee);
  if (!callee.is(Kind::kCallable)) {
    return Error{ErrorCode::kInvalidArgument, format("{} cannot be called", type_name(callee))};
  }
  const Callable& callable = callee.callable();
  if (callable.builtin != nullptr) return bind_and_call(*callable.builtin, callable.self, arguments, *this);
  return call_macro(callable, arguments);
}

Result<Value> Evaluator::apply_filter(std::string_view name, const Value& input, const Arguments& arguments) {
  const BuiltinFunction* filter = find_filter(name);
  if (filter == nullptr) return Error{ErrorCode::kUnsupported, format("there is no filter {}", quoted(name))};
  return bind_and_call(*filter, input, arguments, *this);
}

Result<bool> Evaluator::apply_test(std::string_view name, const Value& input, const Arguments& arguments) {
  const BuiltinFunction* test = find_test(name);
  if (test == nullptr) return Error{ErrorCode::kUnsupported, format("there is no test {}", quoted(name))};
  INFER_ASSIGN(const Value result, bind_and_call(*test, input, arguments, *this));
  return truth(result);
}

Result<Value> Evaluator::evaluate_filter(const Expression& node, const Value& input, Scope& scope) {
  INFER_ASSIGN(const Arguments arguments, evaluate_arguments(node, scope));
  return apply_filter(node.text, input, arguments);
}

// The filters of a filter or set block: the innermost one has the body as its input.
Result<Value> Evaluator::evaluate_filters_over(const Expression& node, const Value& body, Scope& scope) {
  Value input = body;
  if (node.parts[0]) {
    INFER_ASSIGN(input, evaluate_filters_over(*node.parts[0], body, scope));
  }
  auto result = evaluate_filter(node, input, scope);
  if (!result) return locate(node.at, std::move(result).error());
  return result;
}

Result<Value> Evaluator::evaluate_test(const Expression& node, Scope& scope) {
  INFER_ASSIGN(const Value input, evaluate(*node.parts[0], scope));
  INFER_ASSIGN(const Arguments arguments, evaluate_arguments(node, scope));
  INFER_ASSIGN(const bool holds, apply_test(node.text, input, arguments));
  return Value::of(holds);
}

// a < b < c compares each pair until one does not hold.
Result<Value> Evaluator::evaluate_comparison(const Expression& node, Scope& scope) {
  INFER_ASSIGN(Value left, evaluate(*node.parts[0], scope));
  for (size_t i = 0; i < node.comparisons.size(); ++i) {
    INFER_ASSIGN(const Value right, evaluate(*node.parts[i + 1], scope));
    INFER_ASSIGN(const bool holds, compare(node.comparisons[i], left, right, heap_));
    if (!holds) return Value::of(false);
    left = right;
  }
  return Value::of(true);
}

Result<Value> Evaluator::evaluate_concat(const Expression& node, Scope& scope) {
  TextBuilder out(heap_);
  for (const ExpressionPtr& part : node.parts) {
    INFER_ASSIGN(const Value value, evaluate(*part, scope));
    append_text(value, out, heap_);
  }
  return out.finish();
}

Result<Value> Evaluator::evaluate_slice(const Expression& node, Scope& scope) {
  INFER_ASSIGN(const Value object, evaluate(*node.parts[0], scope));
  std::vector<Value> bounds;
  for (size_t i = 1; i < 4; ++i) {
    Value bound = Value::none();
    if (node.parts[i]) {
      INFER_ASSIGN(bound, evaluate(*node.parts[i], scope));
    }
    bounds.push_back(bound);
  }
  if (object.is(Kind::kUndefined)) return undefined_error(object);
  const bool is_sequence = object.is(Kind::kList) && object.list().shape <= Shape::kTuple;
  if (!object.is(Kind::kString) && !is_sequence) {
    return Error{ErrorCode::kInvalidArgument, format("{} cannot be sliced", type_name(object))};
  }
  if (object.is(Kind::kString)) heap_.scan(object.text().size());
  const size_t length = is_sequence ? object.list().items.size() : count_characters(object.text().bytes());
  INFER_ASSIGN(const SliceRange range, slice_range(bounds, static_cast<int64_t>(length)));
  return is_sequence ? slice_list(object.list(), range, heap_) : slice_text(object.text(), range, heap_);
}

// As Jinja's: a method of that name, or else what lies under that key.
Result<Value> Evaluator::attribute(const Value& object, const std::string& name) {
  if (object.is(Kind::kUndefined)) return undefined_error(object);
  if (const BuiltinFunction* method = find_method(object, name)) {
    return Value::of(heap_.make_callable({.name = method->name, .builtin = method, .self = object}));
  }
  if (object.is(Kind::kDict)) {
    const Value* found = find_key(object.dict(), name, heap_);
    return found != nullptr ? *found : Value::undefined(&name);
  }
  if (object.is(Kind::kLoop)) return loop_attribute(object.loop(), name);
  if (object.is(Kind::kNamespace)) {
    for (const auto& [key, value] : object.names().entries) {
      heap_.step();
      if (key == name) return value;
    }
  }
  return Value::undefined(&name);
}

// What lies under a key or an index, or else an attribute of that name.
Result<Value> Evaluator::item(const Value& object, const Value& key) {
  if (object.is(Kind::kUndefined)) return undefined_error(object);
  const std::string* name = key.is(Kind::kString) ? &key.text().bytes() : nullptr;
  if (object.is(Kind::kDict)) {
    const Value* found = find_key(object.dict(), key, heap_);
    if (found != nullptr) return *found;
  } else if (key.is_integral() &&
             (object.is(Kind::kString) || (object.is(Kind::kList) && object.list().shape <= Shape::kTuple))) {
    return element_at(object, key.integer(), heap_, name);
  }
  return name != nullptr ? attribute(object, *name) : Result<Value>(Value());
}

}  // namespace infer::jinja
