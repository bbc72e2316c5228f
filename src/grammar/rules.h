// The rules of a grammar as expressions: what the GBNF reader and the JSON schema compiler write and Grammar::compile
// reads.
//
// An expression is an index; expressions are made bottom-up, so they hold no cycles, and may be used several times.
// Recursion goes through rules only. Characters are Unicode scalar values: ranges never match a surrogate.
// Ownership: owns all texts and lists. Thread safety: a plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace infer::grammar {

using ExprId = uint32_t;
using RuleId = uint32_t;

inline constexpr uint32_t kUnbounded = UINT32_MAX;  // As the greatest count of a repetition.
inline constexpr uint32_t kCharacterMax = 0x10FFFF;

// Both ends belong to it.
struct CharacterRange {
  uint32_t first = 0;
  uint32_t last = 0;
};

// Sorted, without overlaps and without surrogates.
std::vector<CharacterRange> normalized(std::vector<CharacterRange> ranges);
// All characters that are in none of the ranges, normalized.
std::vector<CharacterRange> complement(std::vector<CharacterRange> ranges);

// Appends the UTF-8 bytes of a character. Surrogates and what lies above kCharacterMax are a programmer error.
void append_utf8(std::string& out, uint32_t character);
// The characters of UTF-8 text; nullopt when it is not well formed.
std::optional<std::u32string> find_characters(std::string_view utf8);
constexpr bool is_character(uint32_t value) { return value <= kCharacterMax && (value < 0xD800 || value > 0xDFFF); }

class Rules {
 public:
  enum class Kind : uint8_t { kText, kCharacters, kSequence, kChoice, kRepeat, kCall };

  struct Expr {
    Kind kind = Kind::kText;
    uint32_t begin = 0;  // Into texts, ranges or children; of a call the rule.
    uint32_t count = 0;
    uint32_t least = 0;  // Of a repetition.
    uint32_t most = 0;
    uint32_t depth = 1;  // Levels of expressions below, itself included.
  };

  struct Rule {
    std::string name;
    uint32_t line = 0;  // Where the name first stands; 0: not from a text.
    bool defined = false;
    ExprId body = 0;
  };

  ExprId text(std::string_view utf8);  // "" matches the empty text.
  ExprId characters(std::vector<CharacterRange> ranges);
  ExprId any_character() { return characters({{0, kCharacterMax}}); }
  ExprId sequence(std::span<const ExprId> parts);
  ExprId sequence(std::initializer_list<ExprId> parts) { return sequence(std::span(parts.begin(), parts.size())); }
  ExprId choice(std::span<const ExprId> parts);  // Of nothing: matches no text at all.
  ExprId choice(std::initializer_list<ExprId> parts) { return choice(std::span(parts.begin(), parts.size())); }
  ExprId repeat(ExprId body, uint32_t least, uint32_t most);
  ExprId optional(ExprId body) { return repeat(body, 0, 1); }
  ExprId call(RuleId rule);

  // A rule is declared once, defined at most once, in any order.
  RuleId declare(std::string name, uint32_t line = 0);
  void define(RuleId rule, ExprId body);

  std::span<const Rule> rules() const { return rules_; }
  std::span<const Expr> exprs() const { return exprs_; }
  std::string_view text_of(const Expr& expr) const { return std::string_view(texts_).substr(expr.begin, expr.count); }
  std::span<const CharacterRange> ranges_of(const Expr& expr) const {
    return std::span(ranges_).subspan(expr.begin, expr.count);
  }
  std::span<const ExprId> children_of(const Expr& expr) const {
    const bool has_children = expr.kind != Kind::kText && expr.kind != Kind::kCharacters && expr.kind != Kind::kCall;
    return has_children ? std::span(children_).subspan(expr.begin, expr.count) : std::span<const ExprId>();
  }

 private:
  ExprId add(Expr expr);
  ExprId with_children(Kind kind, std::span<const ExprId> parts);

  std::vector<Rule> rules_;
  std::vector<Expr> exprs_;
  std::vector<ExprId> children_;
  std::vector<CharacterRange> ranges_;
  std::string texts_;
};

struct RootedRules {
  Rules rules;
  RuleId root = 0;  // With which every text begins.
};

}  // namespace infer::grammar
