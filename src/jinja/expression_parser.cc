#include "jinja/expression_parser.h"

#include <algorithm>
#include <optional>

#include "base/format.h"
#include "base/quoted_text.h"

namespace infer::jinja {
namespace {

std::optional<Operator> arithmetic_operator(const Token& token, std::string_view allowed) {
  if (token.kind != TokenKind::kOperator || token.text.empty()) return std::nullopt;
  if (allowed.find(token.text[0]) == std::string_view::npos) return std::nullopt;
  if (token.text == "+") return Operator::kAdd;
  if (token.text == "-") return Operator::kSubtract;
  if (token.text == "*") return Operator::kMultiply;
  if (token.text == "/") return Operator::kDivide;
  if (token.text == "//") return Operator::kFloorDivide;
  if (token.text == "%") return Operator::kModulo;
  return std::nullopt;
}

}  // namespace

ExpressionPtr ExpressionParser::make(ExpressionKind kind, Position at) const {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->at = at;
  return node;
}

Status ExpressionParser::add(Expression& parent, ExpressionPtr child) const {
  constexpr int kDepthMax = 2 * kNestingMax;  // A long sum is a deep tree.
  if (child) parent.depth = std::max(parent.depth, child->depth + 1);
  parent.parts.push_back(std::move(child));
  if (parent.depth <= kDepthMax) return {};
  return tokens_.fail(parent.at, ErrorCode::kExhausted, format("an expression is more than {} deep", kDepthMax));
}

Result<ExpressionPtr> ExpressionParser::join(ExpressionKind kind, Position at, ExpressionPtr left,
                                             ExpressionPtr right) const {
  ExpressionPtr node = make(kind, at);
  INFER_TRY(add(*node, std::move(left)));
  INFER_TRY(add(*node, std::move(right)));
  return node;
}

Result<ExpressionPtr> ExpressionParser::expression(bool with_conditional) {
  const NestingGuard nesting(tokens_);
  INFER_TRY(nesting.check());
  return with_conditional ? conditional() : either();
}

Result<ExpressionPtr> ExpressionParser::tuple(bool with_conditional) {
  const Position at = tokens_.current().at;
  INFER_ASSIGN(ExpressionPtr first, expression(with_conditional));
  if (!tokens_.is_operator(",")) return first;
  ExpressionPtr node = make(ExpressionKind::kTuple, at);
  INFER_TRY(add(*node, std::move(first)));
  while (tokens_.take_operator(",")) {
    if (tokens_.is(TokenKind::kTagEnd) || tokens_.is(TokenKind::kPrintEnd) || tokens_.is_operator(")")) break;
    INFER_ASSIGN(ExpressionPtr part, expression(with_conditional));
    INFER_TRY(add(*node, std::move(part)));
  }
  return node;
}

Result<ExpressionPtr> ExpressionParser::target(bool with_attribute) {
  const Position at = tokens_.current().at;
  const bool in_parentheses = tokens_.take_operator("(");
  ExpressionPtr node;
  bool is_tuple = false;
  while (true) {
    const Position begin = tokens_.current().at;
    INFER_ASSIGN(const std::string name, tokens_.expect_name("a name to assign to"));
    for (const std::string_view reserved :
         {"true", "false", "none", "True", "False", "None", "in", "not", "and", "or", "if"}) {
      if (name == reserved) {
        return tokens_.fail(begin, ErrorCode::kCorrupt, format("'{}' cannot be assigned to", name));
      }
    }
    ExpressionPtr part = make(ExpressionKind::kName, begin);
    part->name = tokens_.intern(name);
    if (with_attribute && !is_tuple && !in_parentheses && tokens_.take_operator(".")) {
      ExpressionPtr attribute = make(ExpressionKind::kAttribute, begin);
      INFER_ASSIGN(attribute->text, tokens_.expect_name("a name behind '.'"));
      INFER_TRY(add(*attribute, std::move(part)));
      return attribute;
    }
    if (!node) {
      node = std::move(part);
    } else {
      INFER_TRY(add(*node, std::move(part)));
    }
    if (!tokens_.take_operator(",")) break;
    if (!is_tuple) {
      is_tuple = true;
      ExpressionPtr tuple = make(ExpressionKind::kTuple, at);
      INFER_TRY(add(*tuple, std::move(node)));
      node = std::move(tuple);
    }
    if (!tokens_.is(TokenKind::kName) || tokens_.is_name("in")) break;
  }
  if (in_parentheses) INFER_TRY(tokens_.expect_operator(")"));
  return node;
}

Result<ExpressionPtr> ExpressionParser::conditional() {
  Position at = tokens_.current().at;
  INFER_ASSIGN(ExpressionPtr node, either());
  while (tokens_.take_name("if")) {
    INFER_ASSIGN(ExpressionPtr condition, either());
    ExpressionPtr otherwise;
    if (tokens_.take_name("else")) {
      INFER_ASSIGN(otherwise, expression());
    }
    INFER_ASSIGN(node, join(ExpressionKind::kConditional, at, std::move(node), std::move(condition)));
    INFER_TRY(add(*node, std::move(otherwise)));
    at = tokens_.current().at;
  }
  return node;
}

Result<ExpressionPtr> ExpressionParser::either() {
  const Position at = tokens_.current().at;
  INFER_ASSIGN(ExpressionPtr left, both());
  while (tokens_.take_name("or")) {
    INFER_ASSIGN(ExpressionPtr right, both());
    INFER_ASSIGN(left, join(ExpressionKind::kOr, at, std::move(left), std::move(right)));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::both() {
  const Position at = tokens_.current().at;
  INFER_ASSIGN(ExpressionPtr left, negation());
  while (tokens_.take_name("and")) {
    INFER_ASSIGN(ExpressionPtr right, negation());
    INFER_ASSIGN(left, join(ExpressionKind::kAnd, at, std::move(left), std::move(right)));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::negation() {
  const NestingGuard nesting(tokens_);
  INFER_TRY(nesting.check());
  const Position at = tokens_.current().at;
  if (!tokens_.take_name("not")) return comparison();
  INFER_ASSIGN(ExpressionPtr inner, negation());
  ExpressionPtr node = make(ExpressionKind::kNot, at);
  INFER_TRY(add(*node, std::move(inner)));
  return node;
}

Result<ExpressionPtr> ExpressionParser::comparison() {
  const Position at = tokens_.current().at;
  INFER_ASSIGN(ExpressionPtr left, sum());
  ExpressionPtr node;
  while (true) {
    std::optional<Comparison> found;
    if (tokens_.take_operator("=="))
      found = Comparison::kEqual;
    else if (tokens_.take_operator("!="))
      found = Comparison::kNotEqual;
    else if (tokens_.take_operator("<="))
      found = Comparison::kLessEqual;
    else if (tokens_.take_operator("<"))
      found = Comparison::kLess;
    else if (tokens_.take_operator(">="))
      found = Comparison::kGreaterEqual;
    else if (tokens_.take_operator(">"))
      found = Comparison::kGreater;
    else if (tokens_.take_name("in"))
      found = Comparison::kIn;
    else if (tokens_.is_name("not") && tokens_.next().kind == TokenKind::kName && tokens_.next().text == "in") {
      tokens_.take();
      tokens_.take();
      found = Comparison::kNotIn;
    }
    if (!found) break;
    if (!node) {
      node = make(ExpressionKind::kComparison, at);
      INFER_TRY(add(*node, std::move(left)));
    }
    INFER_ASSIGN(ExpressionPtr right, sum());
    node->comparisons.push_back(*found);
    INFER_TRY(add(*node, std::move(right)));
  }
  return node ? std::move(node) : std::move(left);
}

Result<ExpressionPtr> ExpressionParser::sum() {
  const Position at = tokens_.current().at;
  INFER_ASSIGN(ExpressionPtr left, concatenation());
  while (const auto op = arithmetic_operator(tokens_.current(), "+-")) {
    tokens_.take();
    INFER_ASSIGN(ExpressionPtr right, concatenation());
    INFER_ASSIGN(left, join(ExpressionKind::kArithmetic, at, std::move(left), std::move(right)));
    left->op = *op;
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::concatenation() {
  const Position at = tokens_.current().at;
  INFER_ASSIGN(ExpressionPtr first, product());
  if (!tokens_.is_operator("~")) return first;
  ExpressionPtr node = make(ExpressionKind::kConcat, at);
  INFER_TRY(add(*node, std::move(first)));
  while (tokens_.take_operator("~")) {
    INFER_ASSIGN(ExpressionPtr part, product());
    INFER_TRY(add(*node, std::move(part)));
  }
  return node;
}

Result<ExpressionPtr> ExpressionParser::product() {
  const Position at = tokens_.current().at;
  INFER_ASSIGN(ExpressionPtr left, power());
  while (const auto op = arithmetic_operator(tokens_.current(), "*/%")) {
    tokens_.take();
    INFER_ASSIGN(ExpressionPtr right, power());
    INFER_ASSIGN(left, join(ExpressionKind::kArithmetic, at, std::move(left), std::move(right)));
    left->op = *op;
  }
  return left;
}

// Jinja's ** is left-associative, other than Python's.
Result<ExpressionPtr> ExpressionParser::power() {
  const Position at = tokens_.current().at;
  INFER_ASSIGN(ExpressionPtr left, sign(true));
  while (tokens_.take_operator("**")) {
    INFER_ASSIGN(ExpressionPtr right, sign(true));
    INFER_ASSIGN(left, join(ExpressionKind::kArithmetic, at, std::move(left), std::move(right)));
    left->op = Operator::kPower;
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::sign(bool with_filters) {
  const NestingGuard nesting(tokens_);
  INFER_TRY(nesting.check());
  const Position at = tokens_.current().at;
  ExpressionPtr node;
  if (tokens_.is_operator("-") || tokens_.is_operator("+")) {
    const bool is_negative = tokens_.take().text == "-";
    INFER_ASSIGN(ExpressionPtr inner, sign(false));
    node = make(is_negative ? ExpressionKind::kNegative : ExpressionKind::kPositive, at);
    INFER_TRY(add(*node, std::move(inner)));
  } else {
    INFER_ASSIGN(node, primary());
  }
  INFER_ASSIGN(node, postfix(std::move(node)));
  if (!with_filters) return node;
  return filters_and_tests(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::primary() {
  const Token& token = tokens_.current();
  const Position at = token.at;
  switch (token.kind) {
    case TokenKind::kName: {
      const std::string name = tokens_.take().text;
      const bool is_true = name == "true" || name == "True";
      if (is_true || name == "false" || name == "False") {
        ExpressionPtr node = make(ExpressionKind::kBool, at);
        node->integer = is_true ? 1 : 0;
        return node;
      }
      if (name == "none" || name == "None") return make(ExpressionKind::kNone, at);
      ExpressionPtr node = make(ExpressionKind::kName, at);
      node->name = tokens_.intern(name);
      return node;
    }
    case TokenKind::kString: {
      std::string text = tokens_.take().text;
      while (tokens_.is(TokenKind::kString)) text += tokens_.take().text;  // "a" "b" is "ab".
      ExpressionPtr node = make(ExpressionKind::kString, at);
      node->literal = Text(std::move(text), Origin::kTemplate);
      return node;
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat: {
      const Token number = tokens_.take();
      ExpressionPtr node = make(number.kind == TokenKind::kFloat ? ExpressionKind::kFloat : ExpressionKind::kInt, at);
      node->integer = number.integer;
      node->real = number.real;
      return node;
    }
    case TokenKind::kOperator:
      if (token.text == "(") return parentheses();
      if (token.text == "[") return list();
      if (token.text == "{") return dict();
      break;
    default: break;
  }
  return tokens_.expected("a value");
}

Result<ExpressionPtr> ExpressionParser::parentheses() {
  const Position at = tokens_.take().at;
  if (tokens_.take_operator(")")) return make(ExpressionKind::kTuple, at);
  INFER_ASSIGN(ExpressionPtr node, tuple());
  INFER_TRY(tokens_.expect_operator(")"));
  return node;
}

Result<ExpressionPtr> ExpressionParser::list() {
  ExpressionPtr node = make(ExpressionKind::kList, tokens_.take().at);
  while (!tokens_.take_operator("]")) {
    if (!node->parts.empty()) INFER_TRY(tokens_.expect_operator(","));
    if (tokens_.take_operator("]")) break;
    INFER_ASSIGN(ExpressionPtr part, expression());
    INFER_TRY(add(*node, std::move(part)));
  }
  return node;
}

Result<ExpressionPtr> ExpressionParser::dict() {
  ExpressionPtr node = make(ExpressionKind::kDict, tokens_.take().at);
  while (!tokens_.take_operator("}")) {
    if (!node->parts.empty()) INFER_TRY(tokens_.expect_operator(","));
    if (tokens_.take_operator("}")) break;
    INFER_ASSIGN(ExpressionPtr key, expression());
    INFER_TRY(tokens_.expect_operator(":"));
    INFER_ASSIGN(ExpressionPtr value, expression());
    INFER_TRY(add(*node, std::move(key)));
    INFER_TRY(add(*node, std::move(value)));
  }
  return node;
}

Result<ExpressionPtr> ExpressionParser::postfix(ExpressionPtr node) {
  while (true) {
    if (tokens_.is_operator(".")) {
      INFER_ASSIGN(node, attribute(std::move(node)));
    } else if (tokens_.is_operator("[")) {
      INFER_ASSIGN(node, subscript(std::move(node)));
    } else if (tokens_.is_operator("(")) {
      ExpressionPtr call = make(ExpressionKind::kCall, tokens_.current().at);
      INFER_TRY(add(*call, std::move(node)));
      INFER_TRY(arguments(*call));
      node = std::move(call);
    } else {
      return node;
    }
  }
}

// a.name, or a.0 for a[0].
Result<ExpressionPtr> ExpressionParser::attribute(ExpressionPtr node) {
  const Position at = tokens_.take().at;
  if (tokens_.is(TokenKind::kInteger)) {
    ExpressionPtr index = make(ExpressionKind::kInt, at);
    index->integer = tokens_.take().integer;
    return join(ExpressionKind::kItem, at, std::move(node), std::move(index));
  }
  ExpressionPtr result = make(ExpressionKind::kAttribute, at);
  INFER_ASSIGN(result->text, tokens_.expect_name("a name or a number behind '.'"));
  INFER_TRY(add(*result, std::move(node)));
  return result;
}

Result<ExpressionPtr> ExpressionParser::subscript(ExpressionPtr node) {
  const Position at = tokens_.take().at;
  std::vector<ExpressionPtr> bounds(1);
  bool is_slice = false;
  while (!tokens_.is_operator("]")) {
    if (tokens_.take_operator(":")) {
      is_slice = true;
      bounds.emplace_back();
      if (bounds.size() > 3) return tokens_.expected("']'");
      continue;
    }
    if (bounds.back()) return tokens_.expected("']'");
    INFER_ASSIGN(bounds.back(), expression());
  }
  tokens_.take();
  if (!is_slice) {
    if (!bounds[0]) return tokens_.fail(at, ErrorCode::kCorrupt, "the brackets hold no index");
    return join(ExpressionKind::kItem, at, std::move(node), std::move(bounds[0]));
  }
  bounds.resize(3);
  ExpressionPtr slice = make(ExpressionKind::kSlice, at);
  INFER_TRY(add(*slice, std::move(node)));
  for (ExpressionPtr& bound : bounds) INFER_TRY(add(*slice, std::move(bound)));
  return slice;
}

Result<ExpressionPtr> ExpressionParser::filters_and_tests(ExpressionPtr node) {
  while (true) {
    if (tokens_.is_operator("|")) {
      tokens_.take();
      INFER_ASSIGN(node, one_filter(std::move(node)));
    } else if (tokens_.is_name("is")) {
      INFER_ASSIGN(node, test(std::move(node)));
    } else if (tokens_.is_operator("(")) {  // Of what a filter gave.
      INFER_ASSIGN(node, postfix(std::move(node)));
    } else {
      return node;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::one_filter(ExpressionPtr node) {
  ExpressionPtr filter = make(ExpressionKind::kFilter, tokens_.current().at);
  INFER_ASSIGN(filter->text, dotted_name("the name of a filter"));
  INFER_TRY(add(*filter, std::move(node)));
  if (tokens_.is_operator("(")) INFER_TRY(arguments(*filter));
  return filter;
}

Result<ExpressionPtr> ExpressionParser::filter_chain(ExpressionPtr input) {
  INFER_ASSIGN(ExpressionPtr node, one_filter(std::move(input)));
  while (tokens_.take_operator("|")) {
    INFER_ASSIGN(node, one_filter(std::move(node)));
  }
  return node;
}

Result<std::string> ExpressionParser::dotted_name(std::string_view what) {
  INFER_ASSIGN(std::string name, tokens_.expect_name(what));
  while (tokens_.take_operator(".")) {
    INFER_ASSIGN(const std::string part, tokens_.expect_name(what));
    name += "." + part;
  }
  return name;
}

Result<ExpressionPtr> ExpressionParser::test(ExpressionPtr node) {
  const Position at = tokens_.take().at;
  const bool is_negated = tokens_.take_name("not");
  ExpressionPtr result = make(ExpressionKind::kTest, at);
  INFER_ASSIGN(result->text, dotted_name("the name of a test"));
  INFER_TRY(add(*result, std::move(node)));
  const Token& next = tokens_.current();
  const bool is_word = next.kind == TokenKind::kName && next.text != "else" && next.text != "or" && next.text != "and";
  const bool is_literal =
      next.kind == TokenKind::kString || next.kind == TokenKind::kInteger || next.kind == TokenKind::kFloat;
  if (tokens_.is_operator("(")) {
    INFER_TRY(arguments(*result));
  } else if (tokens_.is_name("is")) {
    return tokens_.fail(next.at, ErrorCode::kCorrupt, "tests do not follow each other: use and");
  } else if (is_literal || is_word || tokens_.is_operator("[") || tokens_.is_operator("{")) {
    INFER_ASSIGN(ExpressionPtr argument, primary());
    INFER_ASSIGN(argument, postfix(std::move(argument)));
    INFER_TRY(add(*result, std::move(argument)));
  }
  if (!is_negated) return result;
  ExpressionPtr negated = make(ExpressionKind::kNot, at);
  INFER_TRY(add(*negated, std::move(result)));
  return negated;
}

Status ExpressionParser::arguments(Expression& call) {
  INFER_TRY(tokens_.expect_operator("("));
  bool is_first = true;
  while (!tokens_.take_operator(")")) {
    if (!is_first) INFER_TRY(tokens_.expect_operator(","));
    if (!is_first && tokens_.take_operator(")")) break;
    is_first = false;
    if (tokens_.is_operator("*") || tokens_.is_operator("**")) {
      return tokens_.fail(tokens_.current().at, ErrorCode::kUnsupported, "arguments with * are not supported");
    }
    const bool is_named =
        tokens_.is(TokenKind::kName) && tokens_.next().kind == TokenKind::kOperator && tokens_.next().text == "=";
    if (!is_named) {
      if (!call.named.empty()) return tokens_.expected("a named argument behind named ones");
      INFER_ASSIGN(ExpressionPtr argument, expression());
      INFER_TRY(add(call, std::move(argument)));
      continue;
    }
    std::string name = tokens_.take().text;
    tokens_.take();
    INFER_ASSIGN(ExpressionPtr argument, expression());
    call.depth = std::max(call.depth, argument->depth + 1);
    call.named.emplace_back(std::move(name), std::move(argument));
  }
  return {};
}

}  // namespace infer::jinja
