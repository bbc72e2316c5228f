// Finds special tokens (control, unknown and user-defined ones) written out in a text.
//
// At each place, from the left, the longest special token that starts there wins; the search goes on behind it. Time is
// linear in the text for a given set of tokens: at most kMaxSpecialBytes steps per byte.
// Thread safety: const after finish(). Ownership: borrows the tokens' texts.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "tokenizer/text_range.h"

namespace infer::tokenizer {

inline constexpr size_t kMaxSpecialBytes = 1024;

class SpecialMatcher {
 public:
  struct Token {
    std::string_view text;  // 1..kMaxSpecialBytes bytes.
    TokenId id;
    bool always;           // Matched in any text (user-defined), not only where special tokens are to be parsed.
    bool eats_whitespace;  // The ASCII whitespace behind it is part of the match.
  };
  struct Match {
    size_t begin;
    size_t end;
    TokenId id;
  };

  void add(const Token& token) { tokens_.push_back(token); }
  void finish();  // After the last add().

  // `untrusted`: ranges of the text, ascending and apart, of which a special token to be parsed may have no byte.
  std::optional<Match> next(std::string_view text, size_t from, bool parse_special,
                            std::span<const TextRange> untrusted = {}) const;

 private:
  // The longest token that `text` begins with; of those to be parsed, at most `special_bytes` long.
  const Token* longest_at(std::string_view text, size_t special_bytes) const;

  std::vector<Token> tokens_;       // Sorted by text, then id.
  std::array<bool, 256> starts_{};  // Some token starts with this byte.
  std::vector<bool> pair_starts_;   // ... with these two; set for all second bytes where one byte is a token.
  bool any_always_ = false;
};

}  // namespace infer::tokenizer
