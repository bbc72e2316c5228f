#include "jinja/token_stream.h"

#include "base/format.h"
#include "base/quoted_text.h"
#include "jinja/lexer.h"

namespace infer::jinja {
namespace {

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kText: return "text";
    case TokenKind::kTagBegin: return "{%";
    case TokenKind::kTagEnd: return "%}";
    case TokenKind::kPrintBegin: return "{{";
    case TokenKind::kPrintEnd: return "}}";
    case TokenKind::kEnd: return "the end of the template";
    default: return quoted(token.text);
  }
}

}  // namespace

Error TokenStream::expected(std::string_view what) const {
  return fail(current().at, ErrorCode::kCorrupt, format("expected {}, found {}", what, describe(current())));
}

Error TokenStream::fail(Position at, ErrorCode code, std::string message) const {
  return at_position(at, {code, std::move(message)});
}

Status TokenStream::expect_operator(std::string_view text) {
  if (take_operator(text)) return {};
  return expected(format("'{}'", text));
}

Status TokenStream::expect_kind(TokenKind kind, std::string_view what) {
  if (!is(kind)) return expected(what);
  take();
  return {};
}

Result<std::string> TokenStream::expect_name(std::string_view what) {
  if (!is(TokenKind::kName)) return expected(what);
  return take().text;
}

NameId TokenStream::intern(const std::string& name) {
  const auto [entry, is_new] = ids_.emplace(name, static_cast<NameId>(names_.size()));
  if (is_new) names_.push_back(name);
  return entry->second;
}

Status NestingGuard::check() const {
  if (tokens_.nesting <= kNestingMax) return {};
  return tokens_.fail(tokens_.current().at, ErrorCode::kExhausted,
                      format("blocks and expressions lie in each other more than {} deep", kNestingMax));
}

}  // namespace infer::jinja
