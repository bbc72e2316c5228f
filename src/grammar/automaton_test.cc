#include "grammar/automaton.h"

#include <gtest/gtest.h>

#include "testing/grammar_oracle.h"
#include "testing/property.h"

namespace infer::grammar {
namespace {

using testing::for_each_case;

// Rules over a, b and é; a rule calls later ones, or any behind a character, so that none is left-recursive.
class RandomRules {
 public:
  explicit RandomRules(Rng& rng) : rng_(rng) {
    const uint32_t count = 1 + rng.below(4);
    for (uint32_t i = 0; i < count; ++i) made_.rules.declare("r");
    for (current_ = 0; current_ < count; ++current_) made_.rules.define(current_, expr(3, false));
  }
  RootedRules take() { return std::move(made_); }

 private:
  ExprId expr(int depth, bool read_before) {
    Rules& rules = made_.rules;
    const auto count = static_cast<uint32_t>(rules.rules().size());
    switch (rng_.below(depth > 0 ? 8 : 3)) {
      case 0: return rules.text(kTexts[rng_.below(4)]);
      case 1: return rules.characters({{'a', 'a' + rng_.below(2)}, {0xE9, 0xE9}});
      case 2:
        if (read_before) return rules.call(rng_.below(count));
        return current_ + 1 < count ? rules.call(current_ + 1 + rng_.below(count - current_ - 1)) : rules.text("b");
      case 3: return rules.choice({expr(depth - 1, read_before), expr(depth - 1, read_before)});
      case 4: {
        const uint32_t least = rng_.below(3);
        const uint32_t most = rng_.below(3) == 0 ? kUnbounded : least + rng_.below(3);
        return rules.repeat(expr(depth - 1, read_before), least, most);
      }
      case 5: return rules.sequence({rules.text("a"), expr(depth - 1, true)});
      default: return rules.sequence({expr(depth - 1, read_before), expr(depth - 1, read_before)});
    }
  }

  static constexpr const char* kTexts[] = {"", "a", "ab", "\xC3\xA9"};
  Rng& rng_;
  RootedRules made_;
  RuleId current_ = 0;
};

TEST(Automaton, MatchesWhatTheRulesMatch) {
  size_t accepted = 0;
  for_each_case(600, [&](Rng& rng) {
    const RootedRules made = RandomRules(rng).take();
    Result<Grammar> compiled = Grammar::compile(made.rules, made.root);
    if (!compiled) return;  // No text ends; nothing to compare.
    Automaton automaton(std::make_shared<const Grammar>(*std::move(compiled)));
    testing::GrammarOracle oracle(made.rules);
    const StateId start = automaton.start();
    for (int i = 0; i < 40; ++i) {
      std::string text;
      for (uint32_t length = rng.below(8); length > 0; --length) {
        constexpr const char* kParts[] = {"a", "b", "\xC3\xA9", "\xC3"};
        text += kParts[rng.below(16) == 0 ? 3 : rng.below(3)];
      }
      const StateId state = automaton.advance(start, text);
      const bool expected = oracle.matches(made.root, text);
      ASSERT_EQ(state != kDeadState && automaton.may_end(state), expected) << "text \"" << text << "\"";
      accepted += expected ? 1 : 0;
    }
  });
  EXPECT_GT(accepted, 1000u);
}

// What is not dead can be completed: following any byte that leads on comes to an end.
TEST(Automaton, WhateverHasBegunCanEnd) {
  for_each_case(300, [&](Rng& rng) {
    const RootedRules made = RandomRules(rng).take();
    Result<Grammar> compiled = Grammar::compile(made.rules, made.root);
    if (!compiled) return;
    Automaton automaton(std::make_shared<const Grammar>(*std::move(compiled)));
    StateId state = automaton.start();
    std::string text;
    for (int length = 0; length < 400 && !(automaton.may_end(state) && length > 10); ++length) {
      std::vector<uint8_t> bytes;
      for (uint32_t byte = 0; byte < 256; ++byte) {
        if (automaton.advance(state, static_cast<uint8_t>(byte)) != kDeadState)
          bytes.push_back(static_cast<uint8_t>(byte));
      }
      ASSERT_EQ(bytes.empty(), !automaton.may_go_on(state));
      ASSERT_TRUE(!bytes.empty() || automaton.may_end(state)) << text;
      if (bytes.empty()) break;
      const uint8_t byte = bytes[rng.below(static_cast<uint32_t>(bytes.size()))];
      text += static_cast<char>(byte);
      state = automaton.advance(state, byte);
    }
  });
}

TEST(Automaton, CollectingKeepsWhatIsHeld) {
  Rules rules;
  const RuleId root = rules.declare("root");
  const ExprId nested = rules.sequence({rules.text("("), rules.call(root), rules.text(")")});
  const ExprId letters = rules.repeat(rules.characters({{'a', 'z'}}), 2, 50);
  rules.define(root, rules.choice({nested, letters}));
  Automaton automaton(std::make_shared<const Grammar>(Grammar::compile(rules, root).value()));
  StateId kept[] = {automaton.advance(automaton.start(), "(((ab"), kDeadState,
                    automaton.advance(automaton.start(), "q")};
  automaton.collect(kept);
  EXPECT_EQ(kept[1], kDeadState);
  EXPECT_TRUE(automaton.may_end(automaton.advance(kept[0], "cd)))")));
  EXPECT_FALSE(automaton.may_end(automaton.advance(kept[0], "cd))")));
  EXPECT_FALSE(automaton.may_end(kept[2]));
  EXPECT_TRUE(automaton.may_end(automaton.advance(kept[2], std::string(49, 'x'))));
  EXPECT_EQ(automaton.advance(kept[2], std::string(50, 'x')), kDeadState);
}

TEST(Automaton, ListsAndLoopsComeBackToTheSameState) {
  Rules rules;
  const RuleId root = rules.declare("root"), list = rules.declare("list");
  rules.define(list, rules.choice({rules.text("x"), rules.sequence({rules.text("x"), rules.call(list)})}));
  rules.define(root, rules.sequence({rules.call(list), rules.text(".")}));
  Automaton automaton(std::make_shared<const Grammar>(Grammar::compile(rules, root).value()));
  const StateId two = automaton.advance(automaton.start(), "xx");
  EXPECT_EQ(automaton.advance(two, std::string(5000, 'x')), two);  // Calls at the end of a rule need no stack.
}

TEST(Automaton, StacksHaveALimitAndThenTheTextMustCloseThem) {
  Rules rules;
  const RuleId root = rules.declare("root");
  rules.define(root,
               rules.choice({rules.text("x"), rules.sequence({rules.text("("), rules.call(root), rules.text(")")})}));
  Automaton automaton(std::make_shared<const Grammar>(Grammar::compile(rules, root).value()));
  EXPECT_NE(automaton.advance(automaton.start(), std::string(900, '(')), kDeadState);
  EXPECT_EQ(automaton.advance(automaton.start(), std::string(2 * StackTable::kDepthMax, '(')), kDeadState);
}

}  // namespace
}  // namespace infer::grammar
