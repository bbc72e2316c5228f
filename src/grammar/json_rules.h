// JSON texts (RFC 8259) as rules: values of any kind, and the pieces of which a schema's rules are made.
//
// What a model may write is narrower than what RFC 8259 reads, so that no text can go on without end or be misread:
// between tokens stands nothing, one space, or one or two line feeds and at most 20 spaces and tabs; numbers have at
// most 16 digits before and after the point, and exponents two; escaped surrogates come in pairs.
// Two ways to write a string's characters: `character` knows every escape; `exact` has one way for each character (as
// it is, or as the short escape or \u00XX where it must be escaped), so that texts can be told apart by their bytes.
// Ownership: borrows the rules that it adds to. Thread safety: one thread.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "grammar/rules.h"

namespace infer::grammar {

class JsonRules {
 public:
  explicit JsonRules(Rules& rules) : rules_(rules) {}

  Rules& rules() { return rules_; }
  ExprId space();
  ExprId comma();  // With space behind it.

  ExprId value();
  ExprId object();
  ExprId array();
  ExprId string();
  ExprId number();
  ExprId integer();
  ExprId boolean();
  ExprId null() { return rules_.text("null"); }

  ExprId character();  // Of a string, written in any way.
  ExprId exact(const std::vector<CharacterRange>& ranges);
  ExprId exact_character() { return exact({{0, kCharacterMax}}); }
  ExprId quoted(std::string_view utf8);  // The string with exactly this content, which is valid UTF-8.
  ExprId key(std::string_view utf8);     // The same, with ':' and space.
  ExprId colon();                        // Behind a key.

 private:
  // A rule that is made when it is first asked for.
  using Slot = std::optional<RuleId>;
  template <class Body>
  ExprId rule(Slot& slot, const char* name, const Body& body) {
    if (!slot) {
      slot = rules_.declare(name);
      const ExprId made = body();  // May ask for the rule itself.
      rules_.define(*slot, made);
    }
    return rules_.call(*slot);
  }
  ExprId digits(uint32_t least, uint32_t most);
  ExprId surrogate_pair();

  Rules& rules_;
  Slot space_, value_, object_, array_, string_, number_, integer_, character_;
};

// Any JSON object.
RootedRules any_json_object();

}  // namespace infer::grammar
