// Makes and owns the values of one rendering, and counts what it costs.
//
// Everything that a template makes is charged here before it exists. When a limit is reached the heap is exhausted for
// good: builders drop what is added, and the evaluator, which looks after every node, ends with exhaustion(). So no
// code that builds values has an error path of its own, and none can go beyond the limits by more than one small value.
// Ownership: owns all values that it made. Thread safety: none, one rendering.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "jinja/callable.h"
#include "jinja/limits.h"
#include "jinja/text.h"
#include "jinja/value.h"

namespace infer::jinja {

class Heap {
 public:
  explicit Heap(const Limits& limits) : limits_(limits) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  const Limits& limits() const { return limits_; }
  bool exhausted() const { return reason_ != nullptr; }
  Error exhaustion() const;

  // False when the limit is reached.
  bool step(uint64_t count = 1) {
    steps_ += count;
    if (steps_ > limits_.steps && reason_ == nullptr) reason_ = kSteps;
    return reason_ == nullptr;
  }
  bool charge(uint64_t bytes) {
    bytes_ += bytes;
    if (bytes_ > limits_.value_bytes && reason_ == nullptr) reason_ = kBytes;
    return reason_ == nullptr;
  }
  // The work of going through so many bytes.
  bool scan(size_t bytes) { return step(1 + bytes / 16); }

  // Charged by the builders that filled them.
  Value string(Text text);
  Value string(std::string_view bytes, Origin origin);
  Value list(std::vector<Value> items, Shape shape = Shape::kList);
  Value dict(std::vector<std::pair<Value, Value>> entries);
  Namespace* make_namespace();
  const Callable* make_callable(Callable callable);
  Loop* make_loop(Loop loop);

 private:
  static constexpr const char* kSteps = "steps";
  static constexpr const char* kBytes = "bytes";
  static constexpr const char* kDepth = "depth";

  int depth_of(const Value& value) const;
  int checked_depth(int inner);

  Limits limits_;
  uint64_t steps_ = 0;
  uint64_t bytes_ = 0;
  const char* reason_ = nullptr;
  // Elements of a deque never move.
  std::deque<Text> texts_;
  std::deque<List> lists_;
  std::deque<Dict> dicts_;
  std::deque<Namespace> namespaces_;
  std::deque<Callable> callables_;
  std::deque<Loop> loops_;
};

// Text that grows within the limits.
class TextBuilder {
 public:
  explicit TextBuilder(Heap& heap) : heap_(heap) {}

  void append(std::string_view bytes, Origin origin) {
    if (heap_.charge(bytes.size())) text_.append(bytes, origin);
  }
  void append(const Text& other) { append(other, 0, other.size()); }
  void append(const Text& other, size_t begin, size_t end) {
    if (begin < end && heap_.charge(end - begin)) text_.append(other, begin, end);
  }
  const Text& text() const { return text_; }
  Value finish() { return heap_.string(std::move(text_)); }

 private:
  Heap& heap_;
  Text text_;
};

// A list that grows within the limits.
class ListBuilder {
 public:
  explicit ListBuilder(Heap& heap, Shape shape = Shape::kList) : heap_(heap), shape_(shape) {}

  void push(Value value) {
    if (heap_.charge(sizeof(Value))) items_.push_back(value);
  }
  std::vector<Value>& items() { return items_; }
  Value finish() { return heap_.list(std::move(items_), shape_); }

 private:
  Heap& heap_;
  Shape shape_;
  std::vector<Value> items_;
};

// A dict that grows within the limits. A key set again keeps its place and gets the new value.
class DictBuilder {
 public:
  explicit DictBuilder(Heap& heap) : heap_(heap) {}

  void set(Value key, Value value);
  // A key that is known to be new.
  void add(Value key, Value value) {
    if (heap_.charge(2 * sizeof(Value))) entries_.emplace_back(key, value);
  }
  void add(std::string_view key, Value value, Origin origin = Origin::kTemplate) {
    add(heap_.string(key, origin), value);
  }
  Value finish() { return heap_.dict(std::move(entries_)); }

 private:
  Heap& heap_;
  std::vector<std::pair<Value, Value>> entries_;
};

}  // namespace infer::jinja
