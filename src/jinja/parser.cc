#include "jinja/parser.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/format.h"
#include "base/quoted_text.h"
#include "jinja/expression_parser.h"
#include "jinja/lexer.h"
#include "jinja/token_stream.h"

namespace infer::jinja {
namespace {

using Words = std::vector<std::string_view>;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)), expressions_(tokens_) {}

  Result<Syntax> run() {
    Syntax syntax;
    INFER_CHECK(tokens_.intern("loop") == kLoopName && tokens_.intern("caller") == kCallerName);
    INFER_ASSIGN(syntax.body, body({}, ""));
    syntax.names = tokens_.take_names();
    return syntax;
  }

 private:
  // Statements up to a tag whose word is one of `ends`; the word is the current token then. Without ends: to the end.
  Result<Body> body(const Words& ends, std::string_view of) {
    const NestingGuard nesting(tokens_);
    INFER_TRY(nesting.check());
    const Position begin = tokens_.current().at;
    Body statements;
    while (!tokens_.is(TokenKind::kEnd)) {
      if (tokens_.is(TokenKind::kText)) {
        StatementPtr text = make(StatementKind::kText);
        text->literal = Text(tokens_.take().text, Origin::kTemplate);
        statements.push_back(std::move(text));
      } else if (tokens_.is(TokenKind::kPrintBegin)) {
        StatementPtr print = make(StatementKind::kPrint);
        tokens_.take();
        INFER_ASSIGN(print->value, expressions_.tuple());
        INFER_TRY(tokens_.expect_kind(TokenKind::kPrintEnd, "}}"));
        statements.push_back(std::move(print));
      } else {
        tokens_.take();  // {%
        const auto is_end = [this](std::string_view word) { return tokens_.is_name(word); };
        if (std::any_of(ends.begin(), ends.end(), is_end)) return statements;
        INFER_ASSIGN(StatementPtr statement, tag());
        statements.push_back(std::move(statement));
      }
    }
    if (ends.empty()) return statements;
    return tokens_.fail(begin, ErrorCode::kCorrupt,
                        format("the tag {} that begins here has no {{% {} %}}", of, ends.back()));
  }

  StatementPtr make(StatementKind kind) const {
    auto statement = std::make_unique<Statement>();
    statement->kind = kind;
    statement->at = tokens_.current().at;
    return statement;
  }

  Status end_tag() { return tokens_.expect_kind(TokenKind::kTagEnd, "%}"); }

  // A body up to {% end %}, that tag included. Before it the opening tag's %}.
  Result<Body> body_of(std::string_view name, std::string_view end) {
    INFER_TRY(end_tag());
    INFER_ASSIGN(Body statements, body({end}, name));
    tokens_.take();
    INFER_TRY(end_tag());
    return statements;
  }

  Result<StatementPtr> tag() {
    const Token word = tokens_.current();
    if (word.kind != TokenKind::kName) return tokens_.expected("the name of a tag");
    if (word.text == "if") return if_statement();
    if (word.text == "for") return for_statement();
    if (word.text == "set") return set_statement();
    if (word.text == "macro") return macro_statement();
    if (word.text == "call") return call_statement();
    if (word.text == "filter") return filter_statement();
    if (word.text == "with") return with_statement();
    if (word.text == "generation") {
      StatementPtr statement = take_word(StatementKind::kScope);
      INFER_ASSIGN(statement->body, body_of("generation", "endgeneration"));
      return statement;
    }
    if (word.text == "break" || word.text == "continue") {
      if (loops_ == 0)
        return tokens_.fail(word.at, ErrorCode::kCorrupt, format("{} stands outside of a for", word.text));
      StatementPtr statement = take_word(word.text == "break" ? StatementKind::kBreak : StatementKind::kContinue);
      INFER_TRY(end_tag());
      return statement;
    }
    constexpr std::array<std::string_view, 5> kLoading = {"include", "import", "from", "extends", "block"};
    if (std::find(kLoading.begin(), kLoading.end(), word.text) != kLoading.end()) {
      return tokens_.fail(word.at, ErrorCode::kUnsupported,
                          format("the tag {} is refused: a chat template is one file of its own", word.text));
    }
    return tokens_.fail(word.at, ErrorCode::kUnsupported, format("the tag {} is unknown here", quoted(word.text)));
  }

  StatementPtr take_word(StatementKind kind) {
    StatementPtr statement = make(kind);
    tokens_.take();
    return statement;
  }

  Result<StatementPtr> if_statement() {
    StatementPtr statement = take_word(StatementKind::kIf);
    bool has_else = false;
    while (true) {
      Branch branch;
      if (!has_else) {
        INFER_ASSIGN(branch.condition, expressions_.tuple(false));
      }
      INFER_TRY(end_tag());
      INFER_ASSIGN(branch.body, body(has_else ? Words{"endif"} : Words{"elif", "else", "endif"}, "if"));
      statement->branches.push_back(std::move(branch));
      const Token word = tokens_.take();
      if (word.text == "endif") break;
      has_else = word.text == "else";
    }
    INFER_TRY(end_tag());
    return statement;
  }

  Result<StatementPtr> for_statement() {
    StatementPtr statement = take_word(StatementKind::kFor);
    INFER_ASSIGN(statement->target, expressions_.target(false));
    if (!tokens_.take_name("in")) return tokens_.expected("'in'");
    INFER_ASSIGN(statement->value, expressions_.tuple(false));
    if (tokens_.take_name("if")) {
      INFER_ASSIGN(statement->condition, expressions_.expression());
    }
    if (tokens_.is_name("recursive")) {
      return tokens_.fail(tokens_.current().at, ErrorCode::kUnsupported, "recursive loops are not supported");
    }
    INFER_TRY(end_tag());
    ++loops_;
    INFER_ASSIGN(statement->body, body({"else", "endfor"}, "for"));
    --loops_;
    if (tokens_.take().text == "else") {
      INFER_TRY(end_tag());
      INFER_ASSIGN(statement->otherwise, body({"endfor"}, "for"));
      tokens_.take();
    }
    INFER_TRY(end_tag());
    return statement;
  }

  Result<StatementPtr> set_statement() {
    StatementPtr statement = take_word(StatementKind::kSet);
    INFER_ASSIGN(statement->target, expressions_.target(true));
    if (tokens_.take_operator("=")) {
      INFER_ASSIGN(statement->value, expressions_.tuple());
      INFER_TRY(end_tag());
      return statement;
    }
    statement->kind = StatementKind::kSetBlock;
    if (tokens_.take_operator("|")) {
      INFER_ASSIGN(statement->value, expressions_.filter_chain(nullptr));
    }
    INFER_ASSIGN(statement->body, body_of("set", "endset"));
    return statement;
  }

  // (a, b=1)
  Status parameters(Statement& statement) {
    INFER_TRY(tokens_.expect_operator("("));
    while (!tokens_.take_operator(")")) {
      if (!statement.parameters.empty()) INFER_TRY(tokens_.expect_operator(","));
      if (!statement.parameters.empty() && tokens_.take_operator(")")) break;
      INFER_ASSIGN(const std::string name, tokens_.expect_name("the name of a parameter"));
      Parameter parameter{tokens_.intern(name), nullptr};
      if (tokens_.take_operator("=")) {
        INFER_ASSIGN(parameter.fallback, expressions_.expression());
      } else if (!statement.parameters.empty() && statement.parameters.back().fallback) {
        return tokens_.expected("'=': a parameter before it has a value");
      }
      statement.parameters.push_back(std::move(parameter));
    }
    return {};
  }

  // A macro's body is no part of the loop around it.
  Result<Body> macro_body(std::string_view name, std::string_view end) {
    const int outer = std::exchange(loops_, 0);
    INFER_ASSIGN(Body statements, body_of(name, end));
    loops_ = outer;
    return statements;
  }

  Result<StatementPtr> macro_statement() {
    StatementPtr statement = take_word(StatementKind::kMacro);
    INFER_ASSIGN(const std::string name, tokens_.expect_name("the name of a macro"));
    statement->name = tokens_.intern(name);
    INFER_TRY(parameters(*statement));
    INFER_ASSIGN(statement->body, macro_body("macro", "endmacro"));
    return statement;
  }

  Result<StatementPtr> call_statement() {
    StatementPtr statement = take_word(StatementKind::kCall);
    statement->name = kCallerName;
    if (tokens_.is_operator("(")) INFER_TRY(parameters(*statement));
    INFER_ASSIGN(statement->value, expressions_.expression());
    if (statement->value->kind != ExpressionKind::kCall) {
      return tokens_.fail(statement->value->at, ErrorCode::kCorrupt, "the tag call needs a call, like {% call f() %}");
    }
    INFER_ASSIGN(statement->body, macro_body("call", "endcall"));
    return statement;
  }

  Result<StatementPtr> filter_statement() {
    StatementPtr statement = take_word(StatementKind::kFilter);
    INFER_ASSIGN(statement->value, expressions_.filter_chain(nullptr));
    INFER_ASSIGN(statement->body, body_of("filter", "endfilter"));
    return statement;
  }

  Result<StatementPtr> with_statement() {
    StatementPtr statement = take_word(StatementKind::kWith);
    while (!tokens_.is(TokenKind::kTagEnd)) {
      if (!statement->assignments.empty()) INFER_TRY(tokens_.expect_operator(","));
      INFER_ASSIGN(ExpressionPtr target, expressions_.target(false));
      INFER_TRY(tokens_.expect_operator("="));
      INFER_ASSIGN(ExpressionPtr value, expressions_.expression());
      statement->assignments.emplace_back(std::move(target), std::move(value));
    }
    INFER_ASSIGN(statement->body, body_of("with", "endwith"));
    return statement;
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int loops_ = 0;  // For-loops around the current place.
};

}  // namespace

Result<Syntax> parse(std::string_view source, size_t source_bytes_max) {
  if (source.size() > source_bytes_max) {
    return Error{ErrorCode::kExhausted,
                 format("the template has {} bytes; the limit is {}", source.size(), source_bytes_max)};
  }
  INFER_ASSIGN(std::vector<Token> tokens, cut_into_tokens(source));
  return Parser(std::move(tokens)).run();
}

}  // namespace infer::jinja
