// Words of SentencePiece vocabularies: a word starts where a space follows something else. Where no token has such a
// place inside, text can be encoded word by word with the same result as at once.
// Thread safety: pure functions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "tokenizer/vocabulary_tokenizer.h"

namespace infer::tokenizer {

inline bool has_inner_word_start(std::string_view piece) {
  for (size_t i = 1; i < piece.size(); ++i) {
    if (piece[i] == ' ' && piece[i - 1] != ' ') return true;
  }
  return false;
}

// Up to the next word, or all of the text where `cuts_at_spaces` is false; at most kMaxWordBytes, and not inside of a
// character, if it is one.
inline size_t word_length(std::string_view text, bool cuts_at_spaces) {
  size_t length = text.size();
  if (cuts_at_spaces) {
    const size_t first_other = text.find_first_not_of(' ');
    if (first_other != std::string_view::npos) length = std::min(length, text.find(' ', first_other));
  }
  if (length <= kMaxWordBytes) return length;
  length = kMaxWordBytes;
  while (length > kMaxWordBytes - 3 && (static_cast<uint8_t>(text[length]) & 0xC0) == 0x80) --length;
  return length;
}

}  // namespace infer::tokenizer
