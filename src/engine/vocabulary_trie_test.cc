#include "engine/vocabulary_trie.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/log.h"
#include "gguf/file.h"
#include "grammar/gbnf.h"
#include "grammar/json_rules.h"
#include "grammar/token_automaton.h"
#include "testing/byte_tokenizer.h"
#include "testing/property.h"
#include "testing/test_clock.h"

namespace infer::engine {
namespace {

std::shared_ptr<const grammar::Grammar> compiled(const grammar::RootedRules& made) {
  return std::make_shared<const grammar::Grammar>(grammar::Grammar::compile(made.rules, made.root).value());
}

// Walks through a text by random allowed tokens; at each place the mask must be what feeding the bytes of each token to
// an automaton of its own says.
void expect_plain_masks(const tokenizer::Tokenizer& tokenizer, const grammar::RootedRules& made, Rng& rng, int steps) {
  const auto grammar = compiled(made);
  grammar::Constraint constraint(std::make_shared<grammar::TokenAutomaton>(grammar, make_vocabulary_trie(tokenizer)));
  const testing::TestClock clock;
  grammar::Automaton plain(grammar);
  grammar::StateId state = plain.start();
  for (int step = 0; step < steps; ++step) {
    const grammar::TokenMask mask = **constraint.allowed({clock, Deadline::never(), {}});
    std::vector<TokenId> allowed;
    for (TokenId token = 0; token < tokenizer.vocabulary_size(); ++token) {
      const std::string piece = tokenizer.piece(token, false);
      const bool ends = tokenizer.ends_generation(token);
      const bool expected =
          ends ? plain.may_end(state) : !piece.empty() && plain.advance(state, piece) != grammar::kDeadState;
      ASSERT_EQ(mask.contains(token), expected) << "token " << token << " \"" << piece << "\", step " << step;
      if (expected && !ends) allowed.push_back(token);
    }
    if (allowed.empty()) return;
    const TokenId next = allowed[rng.below(static_cast<uint32_t>(allowed.size()))];
    ASSERT_TRUE(constraint.accept(next));
    state = plain.advance(state, tokenizer.piece(next, false));
  }
}

TEST(VocabularyTrie, MasksOfAByteTokenizerAreWhatFeedingEachTokenSays) {
  const auto tokenizer = testing::make_byte_tokenizer(false);
  testing::for_each_case(20, [&](Rng& rng) { expect_plain_masks(*tokenizer, grammar::any_json_object(), rng, 40); });
}

TEST(VocabularyTrie, MasksOfRealVocabulariesAreWhatFeedingEachTokenSays) {
  const char* const folder = std::getenv("INFEROS_TEST_DATA");
  if (!folder) GTEST_SKIP() << "set INFEROS_TEST_DATA to the folder with vocab/*.gguf";
  for (const char* const name : {"llama-spm", "gpt-2", "falcon", "deepseek-coder"}) {
    SCOPED_TRACE(name);
    auto file = gguf::File::open(std::string(folder) + "/vocab/" + name + ".gguf");
    ASSERT_TRUE(file.has_value()) << file.error().message;
    NullLog log;
    const auto tokenizer = tokenizer::Tokenizer::from_gguf(**file, log).value();
    Rng rng(testing::property_seed(1));
    expect_plain_masks(*tokenizer, grammar::any_json_object(), rng, 12);
    expect_plain_masks(*tokenizer, grammar::parse_gbnf("root ::= [ぁ-ん]{2,9} | [^a-z]{3,200} \"é\"*").value(), rng, 8);
  }
}

}  // namespace
}  // namespace infer::engine
