// The names that a place in a template sees: those set in its own scope, then those of the scopes around it.
// Loops, macros, with and call blocks have a scope of their own; if and set blocks do not.
// Thread safety: none. Ownership: the Evaluator owns all scopes until the rendering ends, so macros may point to them.
#pragma once

#include <utility>
#include <vector>

#include "jinja/syntax_tree.h"
#include "jinja/value.h"

namespace infer::jinja {

struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<NameId, Value>> values;

  // Null: not set here.
  Value* find_here(NameId name) {
    for (auto& entry : values) {
      if (entry.first == name) return &entry.second;
    }
    return nullptr;
  }
  void set(NameId name, Value value) {
    if (Value* known = find_here(name)) {
      *known = value;
    } else {
      values.emplace_back(name, value);
    }
  }
};

}  // namespace infer::jinja
