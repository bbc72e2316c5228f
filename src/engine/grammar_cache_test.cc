#include "engine/grammar_cache.h"

#include <gtest/gtest.h>

#include "engine/vocabulary_trie.h"
#include "grammar/gbnf.h"
#include "testing/byte_tokenizer.h"

namespace infer::engine {
namespace {

class GrammarCacheTest : public ::testing::Test {
 protected:
  Result<std::shared_ptr<grammar::TokenAutomaton>> get(std::string_view text) {
    return cache_.get(text, [&]() -> Result<grammar::Grammar> {
      ++compiled_;
      INFER_ASSIGN(const grammar::RootedRules made, grammar::parse_gbnf(text));
      return grammar::Grammar::compile(made.rules, made.root);
    });
  }

  GrammarCache cache_{make_vocabulary_trie(*testing::make_byte_tokenizer(false)), 2};
  int compiled_ = 0;
};

constexpr std::string_view kYes = "root ::= \"yes\"", kNo = "root ::= \"no\"", kBoth = "root ::= \"yes\" | \"no\"";

TEST_F(GrammarCacheTest, TheSameGrammarIsCompiledOnce) {
  const auto first = get(kYes).value();
  EXPECT_EQ(get(kYes).value(), first);
  EXPECT_NE(get(kNo).value(), first);
  EXPECT_EQ(compiled_, 2);
}

TEST_F(GrammarCacheTest, ForgetsWhatWasUsedLongestAgoButNotForThoseWhoFollowIt) {
  const auto yes = get(kYes).value(), no = get(kNo).value();
  get(kYes).value();
  get(kBoth).value();  // The third of two.
  EXPECT_EQ(get(kYes).value(), yes);
  EXPECT_EQ(compiled_, 3);
  EXPECT_NE(get(kNo).value(), no);
  EXPECT_EQ(compiled_, 4);
  grammar::Constraint constraint(no);
  EXPECT_TRUE(constraint.allows('n'));
}

TEST_F(GrammarCacheTest, AnErrorIsNotRemembered) {
  EXPECT_EQ(get("root ::= missing").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(get("root ::= missing").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(compiled_, 2);
}

}  // namespace
}  // namespace infer::engine
