// The values of a template: Python's, as far as templates see them.
//
// A Value is two words and borrows everything larger from the Heap that made it (heap.h), which frees all at once; so
// values are copied freely, and neither cycles nor deep nesting need care. Strings, lists and dicts never change once
// they are made (Hugging Face renders in Jinja's immutable sandbox); a Namespace and the position of a generator do.
// Thread safety: none beyond that of the Heap.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "jinja/text.h"

namespace infer::jinja {

enum class Kind : uint8_t {
  kUndefined,  // What a missing name, attribute or element gives.
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kDict,
  kNamespace,
  kCallable,
  kLoop,  // `loop` inside a for.
};

struct List;
struct Dict;
struct Namespace;
struct Callable;
struct Loop;

class Value {
 public:
  Value() = default;  // Undefined.
  // `name`: what is missing, for messages; it must outlive the value.
  static Value undefined(const std::string* name) {
    Value value;
    value.as_.name = name;
    return value;
  }
  static Value none() { return Value(Kind::kNone); }
  static Value of(bool boolean) {
    Value value(Kind::kBool);
    value.as_.integer = boolean ? 1 : 0;
    return value;
  }
  static Value of(int64_t integer) {
    Value value(Kind::kInt);
    value.as_.integer = integer;
    return value;
  }
  static Value of(double real) {
    Value value(Kind::kFloat);
    value.as_.real = real;
    return value;
  }
  static Value of(const Text* text) {
    Value value(Kind::kString);
    value.as_.text = text;
    return value;
  }
  static Value of(List* list) {
    Value value(Kind::kList);
    value.as_.list = list;
    return value;
  }
  static Value of(const Dict* dict) {
    Value value(Kind::kDict);
    value.as_.dict = dict;
    return value;
  }
  static Value of(Namespace* names) {
    Value value(Kind::kNamespace);
    value.as_.names = names;
    return value;
  }
  static Value of(const Callable* callable) {
    Value value(Kind::kCallable);
    value.as_.callable = callable;
    return value;
  }
  static Value of(Loop* loop) {
    Value value(Kind::kLoop);
    value.as_.loop = loop;
    return value;
  }

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_integral() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }  // True is 1, as in Python.
  bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }

  // Each only of its kind.
  const std::string* missing_name() const { return as_.name; }
  bool boolean() const { return as_.integer != 0; }
  int64_t integer() const { return as_.integer; }  // Of bools too.
  double real() const { return kind_ == Kind::kFloat ? as_.real : static_cast<double>(as_.integer); }
  const Text& text() const { return *as_.text; }
  List& list() const { return *as_.list; }
  const Dict& dict() const { return *as_.dict; }
  Namespace& names() const { return *as_.names; }
  const Callable& callable() const { return *as_.callable; }
  Loop& loop() const { return *as_.loop; }
  // The same object, or the same plain value.
  bool identical(const Value& other) const { return kind_ == other.kind_ && as_.integer == other.as_.integer; }

 private:
  explicit Value(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::kUndefined;
  union {
    const std::string* name;
    int64_t integer;
    double real;
    const Text* text;
    List* list;
    const Dict* dict;
    Namespace* names;
    const Callable* callable;
    Loop* loop;
  } as_{nullptr};
};

enum class Shape : uint8_t {
  kList,
  kTuple,
  kView,       // dict.items() and its like: no element has an index.
  kGenerator,  // What map, select and their like give: true whatever is in it, and read once.
};

struct List {
  std::vector<Value> items;
  Shape shape = Shape::kList;
  int depth = 1;
  size_t read = 0;  // Of a generator: elements already taken.
};

struct Dict {
  std::vector<std::pair<Value, Value>> entries;  // In the order of their keys' first insertion.
  int depth = 1;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> entries;
};

struct Loop {
  std::vector<Value> items;
  size_t index = 0;
  int nesting = 1;                         // 1: no loop around it.
  std::optional<std::vector<Value>> seen;  // By changed(), the last time.
};

}  // namespace infer::jinja
