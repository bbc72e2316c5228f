// What a template can call: built-in functions, methods bound to their object, and the template's own macros.
// Thread safety: plain values.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace infer::jinja {

struct BuiltinFunction;  // builtin.h
struct Statement;        // syntax_tree.h
struct Scope;            // scope.h

// The arguments of a call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;
  Value caller;  // Of a call block; else undefined.
};

struct Callable {
  std::string_view name;
  const BuiltinFunction* builtin = nullptr;  // Of functions and methods.
  Value self;                                // Of methods.
  const Statement* macro = nullptr;          // Of macros and of a call block's body.
  Scope* scope = nullptr;                    // Where the macro was defined.
};

}  // namespace infer::jinja
