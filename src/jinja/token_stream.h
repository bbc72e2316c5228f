// The tokens of one template while they are parsed, and the names met so far.
// Thread safety: none.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "jinja/limits.h"
#include "jinja/syntax_tree.h"
#include "jinja/token.h"

namespace infer::jinja {

class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  Token take() {
    Token token = tokens_[at_];
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }

  bool is(TokenKind kind) const { return current().kind == kind; }
  bool is(TokenKind kind, std::string_view text) const { return is(kind) && current().text == text; }
  bool is_operator(std::string_view text) const { return is(TokenKind::kOperator, text); }
  bool is_name(std::string_view text) const { return is(TokenKind::kName, text); }
  bool take_operator(std::string_view text) { return take_if(is_operator(text)); }
  bool take_name(std::string_view text) { return take_if(is_name(text)); }

  // kCorrupt with the place and what stands there: "expected X, found Y".
  Error expected(std::string_view what) const;
  Error fail(Position at, ErrorCode code, std::string message) const;
  Status expect_operator(std::string_view text);
  Status expect_kind(TokenKind kind, std::string_view what);
  Result<std::string> expect_name(std::string_view what);

  NameId intern(const std::string& name);
  std::vector<std::string> take_names() { return std::move(names_); }

  // How deep the parser is in blocks, brackets and operators.
  int nesting = 0;

 private:
  bool take_if(bool matches) {
    if (matches) ++at_;
    return matches;
  }

  std::vector<Token> tokens_;  // The last one is kEnd and never taken.
  size_t at_ = 0;
  std::vector<std::string> names_;
  std::unordered_map<std::string, NameId> ids_;
};

// One level of nesting, while it lives.
class NestingGuard {
 public:
  explicit NestingGuard(TokenStream& tokens) : tokens_(tokens) { ++tokens_.nesting; }
  ~NestingGuard() { --tokens_.nesting; }
  NestingGuard(const NestingGuard&) = delete;
  NestingGuard& operator=(const NestingGuard&) = delete;

  // kExhausted when it is one too many.
  Status check() const;

 private:
  TokenStream& tokens_;
};

}  // namespace infer::jinja
