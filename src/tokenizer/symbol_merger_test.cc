#include "tokenizer/symbol_merger.h"

#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "testing/property.h"

namespace infer::tokenizer {
namespace {

using MergeMap = std::map<std::pair<TokenId, TokenId>, Merge>;

// The definition: look at all pairs, join the best, start again.
void merge_plainly(std::vector<Symbol>& symbols, const MergeMap& merges) {
  while (true) {
    size_t best = symbols.size();
    uint32_t best_priority = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = merges.find({symbols[i].id, symbols[i + 1].id});
      if (found == merges.end()) continue;
      if (best == symbols.size() || found->second.priority < best_priority) {
        best = i;
        best_priority = found->second.priority;
      }
    }
    if (best == symbols.size()) return;
    symbols[best].id = merges.at({symbols[best].id, symbols[best + 1].id}).id;
    symbols[best].size += symbols[best + 1].size;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

MergeMap random_merges(Rng& rng) {
  MergeMap merges;
  for (TokenId made = 4; made < 24; ++made) {
    const auto left = static_cast<TokenId>(rng.below(static_cast<uint32_t>(made)));
    const auto right = static_cast<TokenId>(rng.below(static_cast<uint32_t>(made)));
    merges.emplace(std::pair(left, right), Merge{rng.below(8), made});  // Few priorities, so that many are equal.
  }
  return merges;
}

bool equal(const std::vector<Symbol>& a, const std::vector<Symbol>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Symbol& x, const Symbol& y) {
    return x.begin == y.begin && x.size == y.size && x.id == y.id;
  });
}

TEST(SymbolMerger, ScanAndHeapDoWhatTheDefinitionSays) {
  SymbolMerger merger;
  testing::for_each_case(500, [&](Rng& rng) {
    const MergeMap merges = random_merges(rng);
    const auto lookup = [&](const Symbol& left, const Symbol& right) {
      const auto found = merges.find({left.id, right.id});
      return found == merges.end() ? Merge{0, kNoToken} : found->second;
    };
    std::vector<Symbol> symbols;
    for (uint32_t i = 0, count = 1 + rng.below(kScannedSymbols); i < count; ++i) {
      symbols.push_back({i, 1, static_cast<TokenId>(rng.below(5)) - 1});
    }
    std::vector<Symbol> plain = symbols, scanned = symbols, heaped = symbols;
    merge_plainly(plain, merges);
    SymbolMerger::merge_by_scan(scanned, lookup);
    merger.merge_by_heap(heaped, lookup);
    EXPECT_TRUE(equal(scanned, plain));
    EXPECT_TRUE(equal(heaped, plain));
  });
}

TEST(SymbolMerger, NothingToMergeStaysAsItIs) {
  SymbolMerger merger;
  const auto never = [](const Symbol&, const Symbol&) { return Merge{0, kNoToken}; };
  std::vector<Symbol> none;
  merger.merge(none, never);
  EXPECT_TRUE(none.empty());
  std::vector<Symbol> many(100, Symbol{0, 1, 7});
  merger.merge(many, never);
  EXPECT_EQ(many.size(), 100u);
}

}  // namespace
}  // namespace infer::tokenizer
