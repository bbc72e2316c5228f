// The statements of a template; expressions are in evaluator.cc.
#include "base/format.h"
#include "base/quoted_text.h"
#include "jinja/evaluator.h"
#include "jinja/operators.h"

namespace infer::jinja {

Scope& Evaluator::make_scope(Scope* parent) {
  heap_.charge(sizeof(Scope) + 64);
  return scopes_.emplace_back(Scope{parent, {}});
}

Result<Evaluator::Flow> Evaluator::execute(const Body& body, Scope& scope) {
  ++depth_;
  Result<Flow> flow = Flow::kNormal;
  const Status depth = check_depth();
  if (!depth) flow = Error(depth.error());
  for (size_t i = 0; i < body.size() && flow && *flow == Flow::kNormal; ++i) {
    heap_.step();
    flow = execute_statement(*body[i], scope);
    if (flow && heap_.exhausted()) flow = heap_.exhaustion();
    if (!flow) flow = locate(body[i]->at, std::move(flow).error());
  }
  --depth_;
  return flow;
}

Result<Evaluator::Flow> Evaluator::execute_statement(const Statement& statement, Scope& scope) {
  switch (statement.kind) {
    case StatementKind::kText: out_->append(statement.literal); break;
    case StatementKind::kPrint: INFER_TRY(print(*statement.value, scope)); break;
    case StatementKind::kIf: return execute_if(statement, scope);
    case StatementKind::kFor: return execute_for(statement, scope);
    case StatementKind::kSet: {
      INFER_ASSIGN(const Value value, evaluate(*statement.value, scope));
      INFER_TRY(assign(*statement.target, value, scope));
      break;
    }
    case StatementKind::kSetBlock: {
      INFER_ASSIGN(Value value, capture(statement.body, make_scope(&scope)));
      if (statement.value) {
        INFER_ASSIGN(value, evaluate_filters_over(*statement.value, value, scope));
      }
      INFER_TRY(assign(*statement.target, value, scope));
      break;
    }
    case StatementKind::kMacro: {
      const Callable* macro = heap_.make_callable(
          {.name = syntax_.names[statement.name], .self = {}, .macro = &statement, .scope = &scope});
      scope.set(statement.name, Value::of(macro));
      break;
    }
    case StatementKind::kCall: INFER_TRY(execute_call(statement, scope)); break;
    case StatementKind::kFilter: {
      INFER_ASSIGN(const Value body, capture(statement.body, make_scope(&scope)));
      INFER_ASSIGN(const Value value, evaluate_filters_over(*statement.value, body, scope));
      append_text(value, *out_, heap_);
      break;
    }
    case StatementKind::kWith: return execute_with(statement, scope);
    case StatementKind::kScope: return execute(statement.body, make_scope(&scope));
    case StatementKind::kBreak: return Flow::kBreak;
    case StatementKind::kContinue: return Flow::kContinue;
  }
  return Flow::kNormal;
}

Status Evaluator::print(const Expression& node, Scope& scope) {
  INFER_ASSIGN(const Value value, evaluate(node, scope));
  append_text(value, *out_, heap_);
  return {};
}

Result<Evaluator::Flow> Evaluator::execute_if(const Statement& statement, Scope& scope) {
  for (const Branch& branch : statement.branches) {
    bool holds = true;
    if (branch.condition) {
      INFER_ASSIGN(holds, evaluate_condition(*branch.condition, scope));
    }
    if (holds) return execute(branch.body, scope);
  }
  return Flow::kNormal;
}

// The elements that pass the loop's condition, which sees the target but not `loop`.
Result<std::vector<Value>> Evaluator::loop_items(const Statement& statement, Scope& scope) {
  INFER_ASSIGN(const Value iterable, evaluate(*statement.value, scope));
  INFER_ASSIGN(std::vector<Value> items, elements_of(iterable, heap_));
  if (!statement.condition) return items;
  std::vector<Value> passed;
  Scope& inner = make_scope(&scope);
  for (const Value& element : items) {
    INFER_TRY(assign(*statement.target, element, inner));
    INFER_ASSIGN(const bool passes, evaluate_condition(*statement.condition, inner));
    if (passes) passed.push_back(element);
  }
  return passed;
}

Result<Evaluator::Flow> Evaluator::execute_for(const Statement& statement, Scope& scope) {
  INFER_ASSIGN(std::vector<Value> items, loop_items(statement, scope));
  if (items.empty()) return execute(statement.otherwise, make_scope(&scope));
  Loop* loop = heap_.make_loop({.items = std::move(items), .nesting = loop_nesting_ + 1, .seen = {}});
  Scope& inner = make_scope(&scope);
  ++loop_nesting_;
  bool reached_end = false;
  Result<Flow> flow = Flow::kNormal;
  for (size_t i = 0; i < loop->items.size() && flow && *flow != Flow::kBreak; ++i) {
    loop->index = i;
    inner.values.clear();  // What one pass sets, the next does not see.
    const Status assigned = assign(*statement.target, loop->items[i], inner);
    inner.set(kLoopName, Value::of(loop));
    flow = assigned ? execute(statement.body, inner) : Result<Flow>(assigned.error());
    reached_end = reached_end || (flow && *flow == Flow::kNormal);
  }
  --loop_nesting_;
  if (!flow) return flow;
  // As in Jinja, else follows too when every pass left the body early.
  return reached_end ? Result<Flow>(Flow::kNormal) : execute(statement.otherwise, make_scope(&scope));
}

Result<Evaluator::Flow> Evaluator::execute_with(const Statement& statement, Scope& scope) {
  Scope& inner = make_scope(&scope);
  for (const auto& [target, expression] : statement.assignments) {
    INFER_ASSIGN(const Value value, evaluate(*expression, scope));
    INFER_TRY(assign(*target, value, inner));
  }
  return execute(statement.body, inner);
}

// {% call(a) f(b) %}body{% endcall %}: f may call `caller`, which renders the body.
Status Evaluator::execute_call(const Statement& statement, Scope& scope) {
  const Expression& node = *statement.value;
  INFER_ASSIGN(const Value callee, evaluate(*node.parts[0], scope));
  INFER_ASSIGN(Arguments arguments, evaluate_arguments(node, scope));
  arguments.caller =
      Value::of(heap_.make_callable({.name = "caller", .self = {}, .macro = &statement, .scope = &scope}));
  INFER_ASSIGN(const Value value, call(callee, arguments));
  append_text(value, *out_, heap_);
  return {};
}

Status Evaluator::assign(const Expression& target, const Value& value, Scope& scope) {
  if (target.kind == ExpressionKind::kName) {
    heap_.charge(sizeof(Value));
    heap_.step(scope.values.size() / 8);
    scope.set(target.name, value);
    return {};
  }
  if (target.kind == ExpressionKind::kAttribute) return set_attribute(target, value, scope);
  INFER_ASSIGN(const std::vector<Value> items, elements_of(value, heap_));
  if (items.size() != target.parts.size()) {
    return Error{ErrorCode::kInvalidArgument, format("{} values for {} names", items.size(), target.parts.size())};
  }
  for (size_t i = 0; i < items.size(); ++i) INFER_TRY(assign(*target.parts[i], items[i], scope));
  return {};
}

Status Evaluator::set_attribute(const Expression& target, const Value& value, Scope& scope) {
  INFER_ASSIGN(const Value object, evaluate(*target.parts[0], scope));
  if (object.is(Kind::kUndefined)) return undefined_error(object);
  if (!object.is(Kind::kNamespace)) {
    return Error{ErrorCode::kInvalidArgument,
                 format("only attributes of a namespace can be set, not those of {}", type_name(object))};
  }
  for (auto& [name, known] : object.names().entries) {
    heap_.step();
    if (name != target.text) continue;
    known = value;
    return {};
  }
  if (heap_.charge(target.text.size() + sizeof(Value))) object.names().entries.emplace_back(target.text, value);
  return {};
}

Result<Value> Evaluator::capture(const Body& body, Scope& scope) {
  TextBuilder out(heap_);
  TextBuilder* outer = std::exchange(out_, &out);
  const Result<Flow> flow = execute(body, scope);
  out_ = outer;
  if (!flow) return Error(flow.error());
  return out.finish();
}

Result<Value> Evaluator::call_macro(const Callable& macro, const Arguments& arguments) {
  const Statement& definition = *macro.macro;
  const auto wrong = [&](std::string message) {
    return Error{ErrorCode::kInvalidArgument, format("macro {}: {}", macro.name, message)};
  };
  const size_t count = definition.parameters.size();
  if (arguments.positional.size() > count) {
    return wrong(format("{} arguments, but it takes at most {}", arguments.positional.size(), count));
  }
  Scope& scope = make_scope(macro.scope);
  for (size_t i = 0; i < count; ++i) {
    const Parameter& parameter = definition.parameters[i];
    if (i < arguments.positional.size()) {
      scope.set(parameter.name, arguments.positional[i]);
    } else {
      scope.set(parameter.name, Value::undefined(&syntax_.names[parameter.name]));
    }
  }
  std::vector<bool> named(count, false);
  for (const auto& [name, value] : arguments.named) {
    size_t place = 0;
    while (place < count && syntax_.names[definition.parameters[place].name] != name) ++place;
    heap_.step(place / 4);
    if (place == count) return wrong(format("there is no argument {}", quoted(name)));
    if (named[place] || place < arguments.positional.size())
      return wrong(format("the argument {} is given twice", name));
    named[place] = true;
    scope.set(definition.parameters[place].name, value);
  }
  for (size_t i = arguments.positional.size(); i < count; ++i) {
    const Parameter& parameter = definition.parameters[i];
    if (named[i] || !parameter.fallback) continue;
    INFER_ASSIGN(const Value value, evaluate(*parameter.fallback, scope));
    scope.set(parameter.name, value);
  }
  if (definition.kind == StatementKind::kMacro) scope.set(kCallerName, arguments.caller);
  const int outer_nesting = std::exchange(loop_nesting_, 0);
  auto result = capture(definition.body, scope);
  loop_nesting_ = outer_nesting;
  return result;
}

}  // namespace infer::jinja
