// Python's operators on values: truth, equality, order, membership, arithmetic, and values as text.
//
// Errors say which types an operator does not take, without a place; the evaluator adds line and column. Everything
// that goes through elements is counted by the heap. Thread safety: that of the heap.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "jinja/heap.h"
#include "jinja/value.h"

namespace infer::jinja {

enum class Operator { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
enum class Comparison { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };

// "str", "list", ...: Python's names.
std::string_view type_name(const Value& value);

bool truth(const Value& value);
bool equal(const Value& a, const Value& b, Heap& heap);
Result<bool> less(const Value& a, const Value& b, Heap& heap);
Result<bool> contains(const Value& container, const Value& element, Heap& heap);
Result<bool> compare(Comparison comparison, const Value& a, const Value& b, Heap& heap);
Result<Value> apply(Operator op, const Value& a, const Value& b, Heap& heap);
Result<Value> negate(const Value& value);

// The elements that a for or a filter goes through: of lists, the keys of dicts, the characters of strings, nothing of
// an undefined value. A generator has none left afterwards.
Result<std::vector<Value>> elements_of(const Value& value, Heap& heap);

// str(value) and repr(value). An undefined value is an empty text.
void append_text(const Value& value, TextBuilder& out, Heap& heap);
void append_repr(const Value& value, TextBuilder& out, Heap& heap);
Value as_text(const Value& value, Heap& heap);

// The value under a key; null: there is none.
const Value* find_key(const Dict& dict, const Value& key, Heap& heap);
const Value* find_key(const Dict& dict, std::string_view key, Heap& heap);

// What an operation on an undefined value means: "'tool' is undefined".
Error undefined_error(const Value& value);

}  // namespace infer::jinja
