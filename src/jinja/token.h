// What a template's text is cut into. Thread safety: plain values.
#pragma once

#include <cstdint>
#include <string>

namespace infer::jinja {

struct Position {
  uint32_t line = 1;    // From 1.
  uint32_t column = 1;  // In bytes, from 1.
};

enum class TokenKind : uint8_t {
  kText,  // Between tags, white space control done.
  kTagBegin,
  kTagEnd,
  kPrintBegin,
  kPrintEnd,
  kName,
  kString,  // Without quotes, escapes done.
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  Position at;
  std::string text;  // Of an operator: its characters.
  int64_t integer = 0;
  double real = 0;
};

}  // namespace infer::jinja
