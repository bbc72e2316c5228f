// Which characters merging may start from as a whole instead of as their bytes, with the same tokens in the end. A
// Japanese text then starts with a third of the symbols.
//
// A character C of two or three bytes qualifies if its bytes alone merge into one token, the last of these merges has
// priority R, and every merge that could take a part of C for something else, or that uses C, comes later than R:
// a merge whose result begins with the end of C or ends with the beginning of C and reaches beyond it, or contains C
// and more. Until C is one symbol, its next own merge then always comes before any of those, so that doing all of its
// merges first changes nothing.
// Ownership: owns its tables. Thread safety: const after finish().
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "tokenizer/merge_table.h"

namespace infer::tokenizer {

class WholeCharacters {
 public:
  // Every merge that the table holds, by the bytes of what it makes.
  void add_merge(std::string_view result, uint32_t priority);
  // After the last of them; byte_tokens: what each byte starts as.
  void finish(const MergeTable& merges, const std::array<TokenId, 256>& byte_tokens);

  // The token of the character that `text` begins with, of two or three bytes; kNoToken when it has to start as bytes.
  // `text` begins with a byte from 0xC2.
  TokenId find(std::string_view text, uint32_t& length) const {
    const auto byte_at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
    const auto continues = [&](size_t i) { return (byte_at(i) & 0xC0) == 0x80; };
    if (tokens_.empty()) return kNoToken;
    if (byte_at(0) < 0xE0) {
      length = 2;
      if (text.size() < 2 || !continues(1)) return kNoToken;
      return tokens_[(byte_at(0) & 0x1Fu) << 6 | (byte_at(1) & 0x3Fu)];
    }
    length = 3;
    if (byte_at(0) >= 0xF0 || text.size() < 3 || !continues(1) || !continues(2)) return kNoToken;
    const uint32_t code = (byte_at(0) & 0x0Fu) << 12 | (byte_at(1) & 0x3Fu) << 6 | (byte_at(2) & 0x3Fu);
    return code < 0x800 ? kNoToken : tokens_[code];  // Overlong forms are other bytes than those of the character.
  }

 private:
  // The earliest merge, by the bytes that it could take from a character.
  using Earliest = std::unordered_map<std::string, uint32_t>;

  uint32_t earliest_rival(const std::string& character) const;

  Earliest prefixes_;
  Earliest suffixes_;
  Earliest uses_;
  std::vector<std::string> made_;  // Characters that some merge makes.
  std::vector<TokenId> tokens_;    // By code point.
};

}  // namespace infer::tokenizer
