// A parsed template.
//
// Invariants: nothing lies deeper in another than kNestingMax; names are indices into Syntax::names.
// Ownership: a Syntax owns its tree and its names. Thread safety: const after parsing, shared freely.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "jinja/operators.h"
#include "jinja/text.h"
#include "jinja/token.h"

namespace infer::jinja {

using NameId = uint32_t;
// Every template has these two, whether it uses them or not.
inline constexpr NameId kLoopName = 0;    // "loop"
inline constexpr NameId kCallerName = 1;  // "caller"

struct Expression;
struct Statement;
using ExpressionPtr = std::unique_ptr<Expression>;
using StatementPtr = std::unique_ptr<Statement>;
using Body = std::vector<StatementPtr>;

enum class ExpressionKind : uint8_t {
  kNone,
  kBool,         // integer
  kInt,          // integer
  kFloat,        // real
  kString,       // literal
  kName,         // name
  kList,         // parts
  kTuple,        // parts
  kDict,         // parts: key, value, key, value ...
  kAttribute,    // parts[0].text
  kItem,         // parts[0][parts[1]]
  kSlice,        // parts[0][parts[1]:parts[2]:parts[3]], each of the last three may be null
  kCall,         // parts[0](parts[1..], named)
  kFilter,       // parts[0] | text(parts[1..], named); parts[0] is null for the body of a filter block
  kTest,         // parts[0] is text(parts[1..], named)
  kNot,          // parts[0]
  kNegative,     // parts[0]
  kPositive,     // parts[0]
  kArithmetic,   // parts[0] op parts[1]
  kConcat,       // parts
  kComparison,   // parts[0] comparisons[0] parts[1] comparisons[1] ...
  kAnd,          // parts[0], parts[1]
  kOr,           // parts[0], parts[1]
  kConditional,  // parts[0] if parts[1] else parts[2], which may be null
};

struct Expression {
  ExpressionKind kind = ExpressionKind::kNone;
  Operator op = Operator::kAdd;
  int depth = 1;
  Position at;
  NameId name = 0;
  int64_t integer = 0;
  double real = 0;
  std::string text;
  Text literal;
  std::vector<Comparison> comparisons;
  std::vector<ExpressionPtr> parts;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

enum class StatementKind : uint8_t {
  kText,      // literal
  kPrint,     // value
  kIf,        // branches; a null condition is else
  kFor,       // target, value, condition (may be null), body, otherwise
  kSet,       // target, value
  kSetBlock,  // target, value (a filter over the body; may be null), body
  kMacro,     // name, parameters, body
  kCall,      // value (a call), parameters, body
  kFilter,    // value (a filter over the body), body
  kWith,      // assignments, body
  kScope,     // body: of a generation block
  kBreak,
  kContinue,
};

struct Branch {
  ExpressionPtr condition;
  Body body;
};

struct Parameter {
  NameId name;
  ExpressionPtr fallback;  // Null: the parameter is undefined when it is not given.
};

struct Statement {
  StatementKind kind = StatementKind::kText;
  Position at;
  Text literal;
  NameId name = 0;
  ExpressionPtr target;  // A name, a tuple of names, or an attribute of a name.
  ExpressionPtr value;
  ExpressionPtr condition;
  Body body;
  Body otherwise;
  std::vector<Branch> branches;
  std::vector<Parameter> parameters;
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> assignments;
};

struct Syntax {
  Body body;
  std::vector<std::string> names;
};

}  // namespace infer::jinja
