// Jinja's filters, tests and functions, and the methods of Python's str, dict and list that templates use.
//
// Each is a row of a table: a name, the names of its parameters in their order, how many of them must be given, and a
// function. bind_and_call() sorts the arguments of a call into the parameters, so that rows only see checked places.
// Thread safety: the tables are constant.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "base/result.h"
#include "jinja/callable.h"
#include "jinja/heap.h"
#include "jinja/value.h"

namespace infer::jinja {

class Evaluator;

inline constexpr size_t kParametersMax = 4;

struct Invocation {
  Evaluator& evaluator;
  Heap& heap;
  Value self;                                // What a filter or a test is applied to, or the object of a method.
  std::array<Value, kParametersMax> values;  // Undefined where not given.
  std::array<bool, kParametersMax> given;
  const Arguments& arguments;  // As they were written, for rows that take any.
};

struct BuiltinFunction {
  std::string_view name;
  Result<Value> (*code)(Invocation& call);
  std::array<std::string_view, kParametersMax> parameters = {};
  size_t required = 0;
  bool takes_any = false;  // Looks at `arguments` itself.
};

using BuiltinTable = std::span<const BuiltinFunction>;

// The tables, each beside its functions.
BuiltinTable text_filters();
BuiltinTable sequence_filters();
BuiltinTable value_filters();
BuiltinTable value_tests();
BuiltinTable global_functions();
BuiltinTable string_methods();
BuiltinTable dict_methods();
BuiltinTable list_methods();
BuiltinTable loop_methods();

// Null: there is none of that name.
const BuiltinFunction* find_filter(std::string_view name);
const BuiltinFunction* find_test(std::string_view name);
const BuiltinFunction* find_function(std::string_view name);
const BuiltinFunction* find_method(const Value& object, std::string_view name);

Result<Value> bind_and_call(const BuiltinFunction& function, const Value& self, const Arguments& arguments,
                            Evaluator& evaluator);

// For rows: a parameter of one kind, or the error that names it.
Result<int64_t> integer_of(const Invocation& call, size_t index, int64_t fallback);
Result<const Text*> text_of(const Invocation& call, size_t index);  // Null when it is not given, or none.
bool flag_of(const Invocation& call, size_t index, bool fallback);
Error bad_argument(std::string_view what);

}  // namespace infer::jinja
