// Renders a parsed template.
//
// Every node counts as a step and every level of nesting is counted, so a rendering ends within the heap's limits.
// Errors carry the line and column of the innermost node where they arose.
// Ownership: borrows the syntax and the heap; owns the scopes. Thread safety: none, one rendering.
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "jinja/builtin.h"
#include "jinja/heap.h"
#include "jinja/scope.h"
#include "jinja/syntax_tree.h"
#include "jinja/value.h"

namespace infer::jinja {

class Evaluator {
 public:
  // `now`: what strftime_now() tells, in UTC.
  Evaluator(const Syntax& syntax, Heap& heap, WallTime now) : syntax_(syntax), heap_(heap), now_(now) {}

  // `variables` is a dict; its keys are the names that the template sees.
  Result<Text> render(const Value& variables);

  // For built-ins.
  Heap& heap() { return heap_; }
  WallTime now() const { return now_; }
  Result<Value> apply_filter(std::string_view name, const Value& input, const Arguments& arguments);
  Result<bool> apply_test(std::string_view name, const Value& input, const Arguments& arguments);
  Result<Value> attribute(const Value& object, const std::string& name);
  Result<Value> item(const Value& object, const Value& key);

 private:
  enum class Flow { kNormal, kBreak, kContinue };

  // Expressions: evaluator.cc
  Result<Value> evaluate(const Expression& node, Scope& scope);
  Result<Value> evaluate_node(const Expression& node, Scope& scope);
  Result<Value> evaluate_name(const Expression& node, Scope& scope);
  Result<Value> evaluate_dict(const Expression& node, Scope& scope);
  Result<Value> evaluate_call(const Expression& node, Scope& scope);
  Result<Value> evaluate_filter(const Expression& node, const Value& input, Scope& scope);
  Result<Value> evaluate_filters_over(const Expression& node, const Value& body, Scope& scope);
  Result<Value> evaluate_test(const Expression& node, Scope& scope);
  Result<Value> evaluate_comparison(const Expression& node, Scope& scope);
  Result<Value> evaluate_slice(const Expression& node, Scope& scope);
  Result<Value> evaluate_concat(const Expression& node, Scope& scope);
  Result<Arguments> evaluate_arguments(const Expression& node, Scope& scope);
  Result<bool> evaluate_condition(const Expression& node, Scope& scope);
  Result<Value> call(const Value& callee, const Arguments& arguments);

  // Statements: statement_execution.cc
  Result<Flow> execute(const Body& body, Scope& scope);
  Result<Flow> execute_statement(const Statement& statement, Scope& scope);
  Result<Flow> execute_if(const Statement& statement, Scope& scope);
  Result<Flow> execute_for(const Statement& statement, Scope& scope);
  Result<std::vector<Value>> loop_items(const Statement& statement, Scope& scope);
  Result<Flow> execute_with(const Statement& statement, Scope& scope);
  Status execute_call(const Statement& statement, Scope& scope);
  Status print(const Expression& node, Scope& scope);
  Status assign(const Expression& target, const Value& value, Scope& scope);
  Status set_attribute(const Expression& target, const Value& value, Scope& scope);
  Result<Value> call_macro(const Callable& macro, const Arguments& arguments);
  Result<Value> capture(const Body& body, Scope& scope);
  Scope& make_scope(Scope* parent);

  // Remembers where the first error arose.
  Error locate(Position at, Error error);
  Status check_depth() const;

  const Syntax& syntax_;
  Heap& heap_;
  WallTime now_;
  std::deque<Scope> scopes_;
  TextBuilder* out_ = nullptr;
  int depth_ = 0;
  int loop_nesting_ = 0;
  std::optional<Position> failed_at_;
};

}  // namespace infer::jinja
