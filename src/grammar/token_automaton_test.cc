#include "grammar/token_automaton.h"

#include <gtest/gtest.h>

#include "grammar/gbnf.h"
#include "testing/property.h"
#include "testing/test_clock.h"

namespace infer::grammar {
namespace {

using testing::for_each_case;

struct Vocabulary {
  std::vector<std::string> pieces;
  std::vector<TokenId> ends;

  std::shared_ptr<const TokenTrie> trie() const {
    return std::make_shared<const TokenTrie>(TokenTrie::build(
        static_cast<int>(pieces.size()), [this](TokenId token) { return pieces[static_cast<size_t>(token)]; }, ends));
  }
};

// All bytes, an end, an empty one, and words that begin and end anywhere, also inside of characters.
Vocabulary random_vocabulary(Rng& rng) {
  Vocabulary made;
  for (int byte = 0; byte < 256; ++byte) made.pieces.emplace_back(1, static_cast<char>(byte));
  made.ends = {256};
  made.pieces.emplace_back("</s>");
  made.pieces.emplace_back("");
  constexpr const char* kParts[] = {"a",  "b",  "\"",           "{",    "}",   ",", " ", "1",
                                    "\\", "\n", "\xE3\x81\x82", "\xE3", "\x81"};
  for (int i = 0; i < 400; ++i) {
    std::string piece;
    for (uint32_t length = 1 + rng.below(6); length > 0; --length) piece += kParts[rng.below(13)];
    made.pieces.push_back(piece);
  }
  return made;
}

std::shared_ptr<const Grammar> compiled(std::string_view text) {
  const RootedRules made = parse_gbnf(text).value();
  return std::make_shared<const Grammar>(Grammar::compile(made.rules, made.root).value());
}

const char* const kGrammars[] = {
    R"(root ::= "{" (string ("," string)*)? "}"
string ::= "\"" ([^"\\\x00-\x1F] | "\\" [ab])* "\"")", "root ::= [あ-ん]{2,7} \"a\"* | \"b\" root",
    "root ::= (\"a\" | \"b\"){3,40} \"1\"",      "root ::= .*",
    "root ::= \"\" | \"{\" root \"}\" root",
};

// Each token's bytes, fed to an automaton of its own.
TEST(TokenAutomaton, MasksAreWhatFeedingEachTokenSays) {
  for_each_case(15, [](Rng& rng) {
    const Vocabulary vocabulary = random_vocabulary(rng);
    const testing::TestClock clock;
    const CallContext call{clock, Deadline::never(), {}};
    for (const char* const text : kGrammars) {
      const auto grammar = compiled(text);
      const auto shared = std::make_shared<TokenAutomaton>(grammar, vocabulary.trie());
      Constraint constraint(shared);
      Automaton plain(grammar);
      StateId state = plain.start();
      for (int step = 0; step < 25; ++step) {
        const TokenMask mask = **constraint.allowed(call);
        std::vector<TokenId> allowed;
        for (TokenId token = 0; token < static_cast<TokenId>(vocabulary.pieces.size()); ++token) {
          const std::string& piece = vocabulary.pieces[static_cast<size_t>(token)];
          const bool expected =
              token == 256 ? plain.may_end(state) : !piece.empty() && plain.advance(state, piece) != kDeadState;
          ASSERT_EQ(mask.contains(token), expected) << text << ", token \"" << piece << "\"";
          ASSERT_EQ(constraint.allows(token), expected) << text << ", token \"" << piece << "\"";
          if (expected && token != 256) allowed.push_back(token);
        }
        ASSERT_EQ(constraint.may_end(), plain.may_end(state));
        ASSERT_EQ(constraint.must_end(), plain.may_end(state) && allowed.empty());
        if (allowed.empty()) break;
        const TokenId next = allowed[rng.below(static_cast<uint32_t>(allowed.size()))];
        ASSERT_TRUE(constraint.accept(next));
        state = plain.advance(state, vocabulary.pieces[static_cast<size_t>(next)]);
      }
    }
  });
}

TEST(TokenAutomaton, ARefusedTokenChangesNothingAndCopiesGoTheirOwnWay) {
  Rng rng(3);
  const auto shared =
      std::make_shared<TokenAutomaton>(compiled("root ::= \"ab\" | \"a1\""), random_vocabulary(rng).trie());
  Constraint first(shared);
  EXPECT_FALSE(first.accept('b'));
  EXPECT_FALSE(first.accept(256));
  EXPECT_FALSE(first.accept(257));
  EXPECT_FALSE(first.accept(-1));
  EXPECT_FALSE(first.accept(1 << 30));
  EXPECT_TRUE(first.accept('a'));
  Constraint second = first;
  EXPECT_TRUE(first.accept('b'));
  EXPECT_TRUE(first.must_end());
  EXPECT_FALSE(second.may_end());
  EXPECT_TRUE(second.accept('1'));
  EXPECT_TRUE(second.accept(256));
  first = Constraint(shared);
  EXPECT_TRUE(first.accept('a'));
}

TEST(TokenAutomaton, ATextThatNoTokenContinuesHasAnEmptyMask) {
  Vocabulary vocabulary{{"a", "b", "</s>"}, {2}};
  Constraint constraint(std::make_shared<TokenAutomaton>(compiled("root ::= \"a\" \"c\""), vocabulary.trie()));
  EXPECT_TRUE(constraint.accept(0));
  const testing::TestClock clock;
  EXPECT_TRUE((*constraint.allowed({clock, Deadline::never(), {}}))->empty());
  EXPECT_FALSE(constraint.must_end());
}

TEST(TokenAutomaton, MasksOfDeepNestingFitIntoBoundedMemory) {
  Rng rng(5);
  const Vocabulary vocabulary = random_vocabulary(rng);
  const auto shared = std::make_shared<TokenAutomaton>(
      compiled("root ::= \"{\" root \"}\" | \"[\" root \"]\" | \"a\"{1,1000} \"b\"{1,1000}"), vocabulary.trie());
  Constraint constraint(shared);
  const testing::TestClock clock;
  const CallContext call{clock, Deadline::never(), {}};
  for (int step = 0; step < 300; ++step) {
    ASSERT_TRUE(constraint.accept(step % 3 == 0 ? '[' : '{'));
    ASSERT_TRUE((*constraint.allowed(call))->contains('a'));
  }
  EXPECT_FALSE(constraint.allows('}'));
}

TEST(TokenTrie, HoldsEachTokenOnceAtThePlaceOfItsBytes) {
  for_each_case(20, [](Rng& rng) {
    const Vocabulary vocabulary = random_vocabulary(rng);
    const auto trie = vocabulary.trie();
    size_t tokens = 0;
    std::string path;
    for (size_t i = 1; i < trie->node_count(); ++i) {
      const TokenTrie::Node& node = trie->nodes()[i];
      path.resize(node.depth - 1u);
      path += static_cast<char>(node.byte);
      const uint32_t next_place = trie->nodes()[i + 1].first_place;
      for (uint32_t place = node.first_place; place < next_place; ++place, ++tokens) {
        ASSERT_EQ(vocabulary.pieces[static_cast<size_t>(trie->tokens()[place])], path);
      }
      for (size_t below = i + 1; below < node.end; ++below) {
        ASSERT_GT(trie->nodes()[below].depth, node.depth);
        ASSERT_TRUE(node.groups_below >> TokenTrie::byte_group(trie->nodes()[below].byte) & 1);
      }
    }
    EXPECT_EQ(tokens, vocabulary.pieces.size() - 2);
  });
}

}  // namespace
}  // namespace infer::grammar
