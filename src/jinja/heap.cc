#include "jinja/heap.h"

#include <algorithm>

#include "base/format.h"
#include "jinja/operators.h"

namespace infer::jinja {

Error Heap::exhaustion() const {
  if (reason_ == kSteps) {
    return {ErrorCode::kExhausted, format("rendering takes more than {} steps", limits_.steps)};
  }
  if (reason_ == kDepth) {
    return {ErrorCode::kExhausted, format("lists and dicts lie in each other more than {} deep", limits_.value_depth)};
  }
  return {ErrorCode::kExhausted,
          format("rendering makes more than {} MiB of values: shorten the conversation", limits_.value_bytes >> 20)};
}

Value Heap::string(Text text) {
  charge(sizeof(Text) + text.runs().size() * sizeof(Text::Run));
  return Value::of(&texts_.emplace_back(std::move(text)));
}

Value Heap::string(std::string_view bytes, Origin origin) {
  return string(charge(bytes.size()) ? Text(std::string(bytes), origin) : Text());
}

int Heap::depth_of(const Value& value) const {
  if (value.is(Kind::kList)) return value.list().depth;
  return value.is(Kind::kDict) ? value.dict().depth : 0;
}

int Heap::checked_depth(int inner) {
  if (inner >= limits_.value_depth && reason_ == nullptr) reason_ = kDepth;
  return std::min(inner, limits_.value_depth) + 1;
}

Value Heap::list(std::vector<Value> items, Shape shape) {
  charge(sizeof(List));
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, depth_of(item));
  return Value::of(&lists_.emplace_back(List{std::move(items), shape, checked_depth(depth), 0}));
}

Value Heap::dict(std::vector<std::pair<Value, Value>> entries) {
  charge(sizeof(Dict));
  int depth = 0;
  for (const auto& [key, value] : entries) depth = std::max({depth, depth_of(key), depth_of(value)});
  return Value::of(&dicts_.emplace_back(Dict{std::move(entries), checked_depth(depth)}));
}

Namespace* Heap::make_namespace() {
  charge(sizeof(Namespace));
  return &namespaces_.emplace_back();
}

const Callable* Heap::make_callable(Callable callable) {
  charge(sizeof(Callable));
  return &callables_.emplace_back(callable);
}

Loop* Heap::make_loop(Loop loop) {
  charge(sizeof(Loop));
  return &loops_.emplace_back(std::move(loop));
}

void DictBuilder::set(Value key, Value value) {
  for (auto& entry : entries_) {
    if (!equal(entry.first, key, heap_)) continue;
    entry.second = value;
    return;
  }
  add(key, value);
}

}  // namespace infer::jinja
