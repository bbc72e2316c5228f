#include "tokenizer/piece_trie.h"

#include <gtest/gtest.h>

#include <string>

#include "testing/property.h"

namespace infer::tokenizer {
namespace {

using Found = std::vector<std::pair<size_t, TokenId>>;

Found prefixes(const PieceTrie& trie, std::string_view text) {
  Found found;
  trie.for_each_prefix(text, [&](size_t length, TokenId id) { found.emplace_back(length, id); });
  return found;
}

TEST(PieceTrie, AllPrefixesAreFoundTheShortestFirst) {
  const PieceTrie trie = PieceTrie::build({{"猫で", 5}, {"ab", 1}, {"a", 0}, {"abcd", 2}, {"b", 3}, {"猫", 4}});
  EXPECT_EQ(prefixes(trie, "abcdef"), (Found{{1, 0}, {2, 1}, {4, 2}}));
  EXPECT_EQ(prefixes(trie, "abc"), (Found{{1, 0}, {2, 1}}));
  EXPECT_EQ(prefixes(trie, "猫です"), (Found{{3, 4}, {6, 5}}));
  EXPECT_EQ(prefixes(trie, "x"), Found{});
  EXPECT_EQ(prefixes(trie, ""), Found{});
}

TEST(PieceTrie, OfEqualPiecesTheLowestIdStays) {
  EXPECT_EQ(prefixes(PieceTrie::build({{"a", 7}, {"a", 3}, {"a", 5}}), "a"), (Found{{1, 3}}));
  EXPECT_EQ(prefixes(PieceTrie::build({}), "a"), Found{});
}

TEST(PieceTrie, FindsWhatAPlainSearchFinds) {
  testing::for_each_case(100, [](Rng& rng) {
    const auto random = [&rng](uint32_t length) {
      std::string text;
      for (uint32_t i = 0; i < length; ++i) text.push_back(static_cast<char>("ab\xFF"[rng.below(3)]));
      return text;
    };
    std::vector<std::string> texts;
    for (int i = 0; i < 20; ++i) texts.push_back(random(1 + rng.below(6)));
    std::vector<PieceTrie::Piece> pieces;
    for (size_t i = 0; i < texts.size(); ++i) pieces.push_back({texts[i], static_cast<TokenId>(i)});
    const PieceTrie trie = PieceTrie::build(pieces);
    const std::string text = random(8);
    Found expected;
    for (size_t length = 1; length <= text.size(); ++length) {
      for (const PieceTrie::Piece& piece : pieces) {
        if (piece.text != std::string_view(text).substr(0, length)) continue;
        expected.emplace_back(length, piece.id);
        break;
      }
    }
    EXPECT_EQ(prefixes(trie, text), expected);
  });
}

}  // namespace
}  // namespace infer::tokenizer
