#include "jinja/builtin.h"

#include <algorithm>

#include "base/format.h"
#include "base/quoted_text.h"
#include "jinja/evaluator.h"
#include "jinja/operators.h"

namespace infer::jinja {
namespace {

const BuiltinFunction* find_in(BuiltinTable table, std::string_view name) {
  const auto row = std::find_if(table.begin(), table.end(), [name](const auto& r) { return r.name == name; });
  return row == table.end() ? nullptr : &*row;
}

size_t parameter_count(const BuiltinFunction& function) {
  size_t count = 0;
  while (count < kParametersMax && !function.parameters[count].empty()) ++count;
  return count;
}

Error wrong_call(const BuiltinFunction& function, std::string message) {
  return {ErrorCode::kInvalidArgument, format("{}: {}", function.name, message)};
}

}  // namespace

const BuiltinFunction* find_filter(std::string_view name) {
  for (const BuiltinTable table : {text_filters(), sequence_filters(), value_filters()}) {
    if (const BuiltinFunction* found = find_in(table, name)) return found;
  }
  return nullptr;
}

const BuiltinFunction* find_test(std::string_view name) { return find_in(value_tests(), name); }
const BuiltinFunction* find_function(std::string_view name) { return find_in(global_functions(), name); }

const BuiltinFunction* find_method(const Value& object, std::string_view name) {
  if (object.is(Kind::kString)) return find_in(string_methods(), name);
  if (object.is(Kind::kDict)) return find_in(dict_methods(), name);
  if (object.is(Kind::kList)) return find_in(list_methods(), name);
  return object.is(Kind::kLoop) ? find_in(loop_methods(), name) : nullptr;
}

Result<Value> bind_and_call(const BuiltinFunction& function, const Value& self, const Arguments& arguments,
                            Evaluator& evaluator) {
  Invocation call{evaluator, evaluator.heap(), self, {}, {}, arguments};
  const size_t count = parameter_count(function);
  const auto run = [&]() -> Result<Value> {
    auto result = function.code(call);
    if (!result) return std::move(result).error().with_context(function.name);
    return result;
  };
  if (function.takes_any) return run();
  if (arguments.positional.size() > count) {
    return wrong_call(function, format("{} arguments, but it takes at most {}", arguments.positional.size(), count));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    call.values[i] = arguments.positional[i];
    call.given[i] = true;
  }
  for (const auto& [name, value] : arguments.named) {
    const auto begin = function.parameters.begin();
    const auto place = static_cast<size_t>(std::find(begin, begin + count, name) - begin);
    if (place == count) return wrong_call(function, format("there is no argument {}", quoted(name)));
    if (call.given[place]) return wrong_call(function, format("the argument {} is given twice", name));
    call.values[place] = value;
    call.given[place] = true;
  }
  for (size_t i = 0; i < function.required; ++i) {
    if (!call.given[i]) return wrong_call(function, format("the argument {} is missing", function.parameters[i]));
  }
  return run();
}

Result<int64_t> integer_of(const Invocation& call, size_t index, int64_t fallback) {
  if (!call.given[index]) return fallback;
  if (call.values[index].is_integral()) return call.values[index].integer();
  return bad_argument(format("argument {} is {}, not a whole number", index + 1, type_name(call.values[index])));
}

Result<const Text*> text_of(const Invocation& call, size_t index) {
  if (!call.given[index] || call.values[index].is(Kind::kNone)) return nullptr;
  if (call.values[index].is(Kind::kString)) return &call.values[index].text();
  return bad_argument(format("argument {} is {}, not a string", index + 1, type_name(call.values[index])));
}

bool flag_of(const Invocation& call, size_t index, bool fallback) {
  return call.given[index] ? truth(call.values[index]) : fallback;
}

Error bad_argument(std::string_view what) { return {ErrorCode::kInvalidArgument, std::string(what)}; }

}  // namespace infer::jinja
