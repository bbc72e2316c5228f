// Parses Jinja's expressions, with its precedence: `a if b else c`, or, and, not, comparisons, + -, ~, * / // %, **,
// signs, then what follows a value: .name [index] (call) | filter, is test. Thread safety: none. Ownership: borrows the
// tokens.
#pragma once

#include "base/result.h"
#include "jinja/syntax_tree.h"
#include "jinja/token_stream.h"

namespace infer::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  // With or without `a if b else c` at the top, which a for's iterable must not have.
  Result<ExpressionPtr> expression(bool with_conditional = true);
  // The same, or a tuple without parentheses.
  Result<ExpressionPtr> tuple(bool with_conditional = true);
  // What may stand left of `=` or `in`: a name, a tuple of them, or where `with_attribute` ns.name.
  Result<ExpressionPtr> target(bool with_attribute);
  // `name(arguments) | name ...` over a body.
  Result<ExpressionPtr> filter_chain(ExpressionPtr input);

 private:
  Result<ExpressionPtr> conditional();
  Result<ExpressionPtr> either();
  Result<ExpressionPtr> both();
  Result<ExpressionPtr> negation();
  Result<ExpressionPtr> comparison();
  Result<ExpressionPtr> sum();
  Result<ExpressionPtr> concatenation();
  Result<ExpressionPtr> product();
  Result<ExpressionPtr> power();
  Result<ExpressionPtr> sign(bool with_filters);
  Result<ExpressionPtr> primary();
  Result<ExpressionPtr> parentheses();
  Result<ExpressionPtr> list();
  Result<ExpressionPtr> dict();
  Result<ExpressionPtr> postfix(ExpressionPtr node);
  Result<ExpressionPtr> attribute(ExpressionPtr node);
  Result<ExpressionPtr> subscript(ExpressionPtr node);
  Result<ExpressionPtr> filters_and_tests(ExpressionPtr node);
  Result<ExpressionPtr> one_filter(ExpressionPtr node);
  Result<ExpressionPtr> test(ExpressionPtr node);
  Status arguments(Expression& call);
  Result<std::string> dotted_name(std::string_view what);

  ExpressionPtr make(ExpressionKind kind, Position at) const;
  // Adds a child and keeps the depth right; kExhausted when it grows too large.
  Status add(Expression& parent, ExpressionPtr child) const;
  Result<ExpressionPtr> join(ExpressionKind kind, Position at, ExpressionPtr left, ExpressionPtr right) const;

  TokenStream& tokens_;
};

}  // namespace infer::jinja
