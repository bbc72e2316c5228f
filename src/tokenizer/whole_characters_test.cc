#include "tokenizer/whole_characters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "testing/property.h"
#include "tokenizer/handmade_vocabulary.h"

namespace infer::tokenizer {
namespace {

using Pieces = std::vector<std::string>;
using Ranks = std::map<std::pair<std::string, std::string>, size_t>;

// The definition of merging, from single bytes.
Pieces merge_by_definition(std::string_view text, const Ranks& ranks) {
  Pieces pieces;
  for (const char byte : text) pieces.emplace_back(1, byte);
  while (true) {
    size_t best = pieces.size();
    size_t best_rank = 0;
    for (size_t i = 0; i + 1 < pieces.size(); ++i) {
      const auto found = ranks.find({pieces[i], pieces[i + 1]});
      if (found == ranks.end() || (best < pieces.size() && found->second >= best_rank)) continue;
      best = i;
      best_rank = found->second;
    }
    if (best == pieces.size()) return pieces;
    pieces[best] += pieces[best + 1];
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

std::string random_text(Rng& rng, uint32_t characters) {
  constexpr std::string_view kCharacters[] = {"あ", "い", "か", "猫", "é", "è", "a", "😀"};
  std::string text;
  for (uint32_t i = 0; i < characters; ++i) text += kCharacters[rng.below(std::size(kCharacters))];
  return text;
}

// Merges of pairs that occur, some of them across characters, in the order of learning or in any.
Ranks random_merges(Rng& rng) {
  std::vector<std::pair<std::string, std::string>> order;
  Ranks ranks;
  for (int i = 0; i < 40; ++i) {
    const Pieces pieces = merge_by_definition(random_text(rng, 6), ranks);
    if (pieces.size() < 2) continue;
    const size_t at = rng.below(static_cast<uint32_t>(pieces.size() - 1));
    if (ranks.try_emplace({pieces[at], pieces[at + 1]}, ranks.size()).second)
      order.emplace_back(pieces[at], pieces[at + 1]);
  }
  if (rng.below(2) == 0) {
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(static_cast<uint32_t>(i))]);
    for (size_t i = 0; i < order.size(); ++i) ranks[order[i]] = i;
  }
  return ranks;
}

std::string spelled(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += spelled_byte(static_cast<unsigned char>(byte));
  return text;
}

TEST(WholeCharacters, StartingFromThemGivesTheTokensThatBytesGive) {
  testing::for_each_case(400, [](Rng& rng) {
    const Ranks ranks = random_merges(rng);
    std::vector<std::pair<std::string, std::string>> order(ranks.size());
    for (const auto& [pair, rank] : ranks) order[rank] = pair;
    HandmadeVocabulary words;
    words.start_byte_level();
    words.data().pre = "gpt-2";
    for (const auto& [left, right] : order) (void)words.add_merge(spelled(left), spelled(right));
    NullLog log;
    const auto tokenizer = make_tokenizer(words.data(), log);
    ASSERT_TRUE(tokenizer.has_value());
    for (int i = 0; i < 8; ++i) {
      std::string text = random_text(rng, 1 + rng.below(12));
      // Emoji are words of their own, so they stand at the end.
      text.erase(std::min(text.find("\xF0"), text.size()));
      Pieces pieces;
      for (const TokenId id : (*tokenizer)->encode(text, {.add_special = false, .parse_special = false})) {
        pieces.push_back((*tokenizer)->piece(id, true));
      }
      EXPECT_EQ(pieces, merge_by_definition(text, ranks)) << text;
    }
  });
}

// One merge table with the tokens 0..255 for bytes; each merge makes the next id.
struct Table {
  Table() {
    merges.reserve(16);
    for (size_t byte = 0; byte < 256; ++byte) bytes[byte] = static_cast<TokenId>(byte);
  }
  TokenId add(TokenId left, TokenId right, std::string_view result) {
    const auto priority = static_cast<uint32_t>(next - 256);
    merges.insert(left, right, {priority, next});
    characters.add_merge(result, priority);
    return next++;
  }
  TokenId find(std::string_view text) {
    uint32_t length = 0;
    return characters.find(text, length);
  }
  MergeTable merges;
  WholeCharacters characters;
  std::array<TokenId, 256> bytes{};
  TokenId next = 256;
};

TEST(WholeCharacters, ACharacterThatItsBytesMakeIsFound) {
  Table table;
  const TokenId start = table.add(0xE3, 0x81, "\xE3\x81");
  const TokenId a = table.add(start, 0x82, "あ");
  const TokenId accent = table.add(0xC3, 0xA9, "é");
  table.characters.finish(table.merges, table.bytes);
  EXPECT_EQ(table.find("あ"), a);
  EXPECT_EQ(table.find("étude"), accent);
  for (const char* other : {"い", "è", "\xE3\x81", "\xE3", "\xC3", "\xC3q", "😀", "\xFF"})
    EXPECT_EQ(table.find(other), kNoToken);
}

TEST(WholeCharacters, AnEarlierRivalLeavesTheBytes) {
  Table table;
  (void)table.add(' ', 0xE3, " \xE3");  // A space takes the first byte.
  const TokenId start = table.add(0xE3, 0x81, "\xE3\x81");
  (void)table.add(start, 0x82, "あ");
  table.characters.finish(table.merges, table.bytes);
  EXPECT_EQ(table.find("あ"), kNoToken);
}

TEST(WholeCharacters, WithoutMergesThereAreNone) {
  Table table;
  table.characters.finish(table.merges, table.bytes);
  EXPECT_EQ(table.find("あ"), kNoToken);
}

}  // namespace
}  // namespace infer::tokenizer
