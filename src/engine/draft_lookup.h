// Guesses how a text goes on from what it has said before: looks for earlier occurrences of its last tokens and
// proposes what followed the one that agrees longest (prompt lookup; n-gram speculation). Costs no second model, and is
// good where answers quote: edits, summaries, extraction, loops.
//
// A hash over each three tokens leads to a chain of the places where they ended; the latest few are compared backwards.
// Time: constant for each token and each draft. Memory: 8 to 12 bytes for each token of the text. Thread safety: one
// text, one thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace infer::engine {

class DraftLookup {
 public:
  // text: the one of the call before, and what came since. At most `most` tokens that may follow it, into `draft`; none
  // when its end has not occurred before.
  void propose(std::span<const TokenId> text, int most, std::vector<TokenId>& draft);

 private:
  static constexpr size_t kKeyTokens = 3;
  static constexpr int kCandidates = 8;
  static constexpr int kStepsMax = 256;  // Along a chain.
  static constexpr size_t kAgreementMax = 64;

  // Where the key that ends at `last` is in heads_.
  size_t slot(std::span<const TokenId> text, size_t last) const;
  void index_until(std::span<const TokenId> text, size_t end);

  std::vector<int32_t> heads_;     // By slot: the last token of the latest occurrence, or -1.
  std::vector<int32_t> previous_;  // [indexed tokens] The occurrence before.
};

}  // namespace infer::engine
