#include "sampling/constrained.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "grammar/gbnf.h"
#include "testing/property.h"
#include "testing/test_clock.h"

namespace infer::sampling {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Letters a to p, and an end.
std::shared_ptr<grammar::TokenAutomaton> letters(std::string_view gbnf) {
  const std::vector<TokenId> ends{16};
  const auto trie = std::make_shared<const grammar::TokenTrie>(grammar::TokenTrie::build(
      17, [](TokenId token) { return token < 16 ? std::string(1, static_cast<char>('a' + token)) : ""; }, ends));
  const grammar::RootedRules made = grammar::parse_gbnf(gbnf).value();
  return std::make_shared<grammar::TokenAutomaton>(
      std::make_shared<const grammar::Grammar>(grammar::Grammar::compile(made.rules, made.root).value()), trie);
}

std::unique_ptr<Sampler> make(const SamplingParams& params) { return Sampler::make(params, 17, 64).value(); }

// What the definition says: refused logits are minus infinity, and then everything as ever.
TEST(Constrained, IsSamplingAmongTheAllowedLogitsForGreedyAndForDraws) {
  testing::for_each_case(400, [](Rng& rng) {
    SamplingParams params;
    params.temperature = rng.below(2) == 0 ? 0.0f : 0.9f;
    params.top_k = static_cast<int>(rng.below(6));
    params.presence_penalty = rng.below(2) == 0 ? 0.0f : 0.7f;
    params.seed = rng.next();
    const auto automaton = letters("root ::= [ace]+ [b-d] | [m-p]{2,9}");
    grammar::Constraint constraint(automaton);
    const std::unique_ptr<Sampler> sampler = make(params), plain = make(params);
    const testing::TestClock clock;
    const CallContext call{clock, Deadline::never(), {}};
    for (int step = 0; step < 12; ++step) {
      std::vector<float> logits(17), masked(17, -kInf);
      const grammar::TokenMask mask = **constraint.allowed(call);
      for (size_t i = 0; i < logits.size(); ++i) {
        logits[i] = static_cast<float>(rng.below(12));
        if (mask.contains(static_cast<TokenId>(i))) masked[i] = logits[i];
      }
      const TokenId token = *sample_constrained(*sampler, constraint, logits, call);
      ASSERT_EQ(token, plain->sample(masked));
      ASSERT_TRUE(constraint.accept(token));
      if (token == 16) break;
      sampler->accept(token);
      plain->accept(token);
    }
  });
}

TEST(Constrained, GivesAnAllowedTokenWhateverTheLogits) {
  const testing::TestClock clock;
  const CallContext call{clock, Deadline::never(), {}};
  for (const float temperature : {0.0f, 1.0f}) {
    grammar::Constraint constraint(letters("root ::= [f-h] \"!\"?"));
    const std::unique_ptr<Sampler> sampler = make({.temperature = temperature});
    EXPECT_EQ(*sample_constrained(*sampler, constraint, std::vector<float>(17, -kInf), call), 5);
    EXPECT_EQ(*sample_constrained(*sampler, constraint, std::vector<float>(17, std::nanf("")), call), 5);
  }
}

TEST(Constrained, SaysWhenNoTokenMayFollowAndKeepsTheDeadline) {
  const testing::TestClock clock;
  grammar::Constraint constraint(letters("root ::= \"!\""));
  const std::unique_ptr<Sampler> sampler = make({});
  const std::vector<float> logits(17, 0.0f);
  EXPECT_EQ(*sample_constrained(*sampler, constraint, logits, {clock, Deadline::never(), {}}), kNoToken);
}

}  // namespace
}  // namespace infer::sampling
