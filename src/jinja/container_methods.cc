// Methods of Python's dict and list, and of `loop`. Those that would change their object are refused, as Jinja's
// immutable sandbox refuses them.
#include "base/format.h"
#include "jinja/builtin.h"
#include "jinja/evaluator.h"
#include "jinja/operators.h"

namespace infer::jinja {
namespace {

Result<Value> refuse_change(Invocation&) {
  return Error{ErrorCode::kUnsupported, "it would change its object, which templates may not; use a namespace"};
}

Result<Value> get(Invocation& call) {
  const Value* found = find_key(call.self.dict(), call.values[0], call.heap);
  if (found != nullptr) return *found;
  return call.given[1] ? call.values[1] : Value::none();
}

enum class Part { kKeys, kValues, kItems };
Result<Value> view(Invocation& call, Part part) {
  ListBuilder out(call.heap, Shape::kView);
  for (const auto& [key, value] : call.self.dict().entries) {
    out.push(part == Part::kKeys ? key : part == Part::kValues ? value : call.heap.list({key, value}, Shape::kTuple));
  }
  return out.finish();
}
Result<Value> keys(Invocation& call) { return view(call, Part::kKeys); }
Result<Value> values(Invocation& call) { return view(call, Part::kValues); }
Result<Value> items(Invocation& call) { return view(call, Part::kItems); }

Result<Value> copy(Invocation& call) { return call.self; }

Result<Value> index(Invocation& call) {
  const std::vector<Value>& elements = call.self.list().items;
  for (size_t i = 0; i < elements.size(); ++i) {
    if (equal(elements[i], call.values[0], call.heap)) return Value::of(static_cast<int64_t>(i));
  }
  return bad_argument("the element is not there");
}

Result<Value> count(Invocation& call) {
  int64_t found = 0;
  for (const Value& element : call.self.list().items) found += equal(element, call.values[0], call.heap) ? 1 : 0;
  return Value::of(found);
}

Result<Value> cycle(Invocation& call) {
  const std::vector<Value>& choices = call.arguments.positional;
  if (choices.empty()) return bad_argument("there is nothing to choose from");
  return choices[call.self.loop().index % choices.size()];
}

Result<Value> changed(Invocation& call) {
  Loop& loop = call.self.loop();
  const std::vector<Value>& now = call.arguments.positional;
  bool same = loop.seen && loop.seen->size() == now.size();
  for (size_t i = 0; same && i < now.size(); ++i) same = equal((*loop.seen)[i], now[i], call.heap);
  loop.seen = now;
  return Value::of(!same);
}

constexpr BuiltinFunction kDictRows[] = {
    {"get", get, {"key", "default"}, 1},
    {"keys", keys},
    {"values", values},
    {"items", items},
    {"copy", copy},
    {"update", refuse_change, {}, 0, true},
    {"pop", refuse_change, {}, 0, true},
    {"popitem", refuse_change, {}, 0, true},
    {"setdefault", refuse_change, {}, 0, true},
    {"clear", refuse_change, {}, 0, true},
};

constexpr BuiltinFunction kListRows[] = {
    {"index", index, {"value"}, 1},
    {"count", count, {"value"}, 1},
    {"copy", copy},
    {"append", refuse_change, {}, 0, true},
    {"extend", refuse_change, {}, 0, true},
    {"insert", refuse_change, {}, 0, true},
    {"pop", refuse_change, {}, 0, true},
    {"remove", refuse_change, {}, 0, true},
    {"reverse", refuse_change, {}, 0, true},
    {"sort", refuse_change, {}, 0, true},
    {"clear", refuse_change, {}, 0, true},
};

constexpr BuiltinFunction kLoopRows[] = {
    {"cycle", cycle, {}, 0, true},
    {"changed", changed, {}, 0, true},
};

}  // namespace

BuiltinTable dict_methods() { return kDictRows; }
BuiltinTable list_methods() { return kListRows; }
BuiltinTable loop_methods() { return kLoopRows; }

}  // namespace infer::jinja
