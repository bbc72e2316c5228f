// A plain reading of a grammar's rules, to compare the machine with: which texts the rules match, found by recursive
// descent with sets of ends, without any of the compiler's steps. Slow; for short texts and rules without left
// recursion.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "grammar/rules.h"

namespace infer::testing {

class GrammarOracle {
 public:
  explicit GrammarOracle(const grammar::Rules& rules) : rules_(rules) {}

  bool matches(grammar::RuleId root, std::string_view text) {
    text_ = text;
    known_.clear();
    return ends(rules_.rules()[root].body, 0).contains(text.size());
  }

 private:
  using Ends = std::set<size_t>;  // Where a match that begins at some place may end.

  Ends ends(grammar::ExprId id, size_t at) {
    const auto key = std::pair(id, at);
    if (const auto found = known_.find(key); found != known_.end()) return found->second;
    Ends found = compute(rules_.exprs()[id], at);
    known_[key] = found;
    return found;
  }

  Ends compute(const grammar::Rules::Expr& expr, size_t at) {
    using Kind = grammar::Rules::Kind;
    Ends out;
    switch (expr.kind) {
      case Kind::kText:
        if (text_.substr(at).starts_with(rules_.text_of(expr))) out.insert(at + expr.count);
        return out;
      case Kind::kCharacters: {
        const size_t end = end_of_character(expr, at);
        if (end > at) out.insert(end);
        return out;
      }
      case Kind::kSequence:
        out.insert(at);
        for (const grammar::ExprId child : rules_.children_of(expr)) out = after(out, child);
        return out;
      case Kind::kChoice:
        for (const grammar::ExprId child : rules_.children_of(expr)) out.merge(ends(child, at));
        return out;
      case Kind::kRepeat: return repeated(expr, at);
      case Kind::kCall: return ends(rules_.rules()[expr.begin].body, at);
    }
    return out;
  }

  Ends after(const Ends& begins, grammar::ExprId id) {
    Ends out;
    for (const size_t at : begins) out.merge(ends(id, at));
    return out;
  }

  Ends repeated(const grammar::Rules::Expr& expr, size_t at) {
    const grammar::ExprId body = rules_.children_of(expr)[0];
    Ends current{at}, out;
    std::set<Ends> seen;
    for (uint32_t round = 0; !current.empty(); ++round) {
      if (round >= expr.least) out.insert(current.begin(), current.end());
      if (round == expr.most || (round > expr.least + text_.size() && !seen.insert(current).second)) break;
      current = after(current, body);
    }
    return out;
  }

  size_t end_of_character(const grammar::Rules::Expr& expr, size_t at) const {
    for (const grammar::CharacterRange& range : rules_.ranges_of(expr)) {
      // Few ranges and short texts: each length is tried.
      for (size_t length = 1; length <= 4 && at + length <= text_.size(); ++length) {
        const auto characters = grammar::find_characters(text_.substr(at, length));
        if (!characters || characters->size() != 1) continue;
        const auto c = static_cast<uint32_t>((*characters)[0]);
        if (c >= range.first && c <= range.last) return at + length;
      }
    }
    return at;
  }

  const grammar::Rules& rules_;
  std::string_view text_;
  std::map<std::pair<grammar::ExprId, size_t>, Ends> known_;
};

}  // namespace infer::testing
