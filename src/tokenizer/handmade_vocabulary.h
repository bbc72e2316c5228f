// Small vocabularies made by hand, for tests and fuzzing: complete in their bytes, with a few words.
// Ownership: owns the text that data() borrows; neither copied nor moved. Thread safety: none.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/vocabulary_data.h"

namespace infer::tokenizer {

class HandmadeVocabulary {
 public:
  HandmadeVocabulary() = default;
  HandmadeVocabulary(const HandmadeVocabulary&) = delete;
  HandmadeVocabulary& operator=(const HandmadeVocabulary&) = delete;

  VocabularyData& data() { return data_; }
  std::string_view keep(std::string text) { return texts_.emplace_back(std::move(text)); }

  TokenId add(std::string text, TokenKind kind = TokenKind::kNormal, float score = 0.0f) {
    data_.tokens.push_back(keep(std::move(text)));
    data_.kinds.push_back(static_cast<int64_t>(kind));
    if (data_.model != "gpt2") data_.scores.push_back(score);
    return static_cast<TokenId>(data_.tokens.size() - 1);
  }

  // A merge, best first, and the token it makes.
  TokenId add_merge(std::string_view left, std::string_view right) {
    data_.merges.push_back(keep(std::string(left).append(" ").append(right)));
    return add(std::string(left).append(right));
  }

  // Byte-level BPE: ids 0..255 are the bytes.
  void start_byte_level() {
    data_.model = "gpt2";
    data_.pre = "gpt-2";
    data_.has_merges = true;
    for (int byte = 0; byte < 256; ++byte) add(spelled_byte(static_cast<unsigned char>(byte)));
  }

  // SentencePiece: <unk>, <s>, </s>, then ids 3..258 are the bytes.
  void start_sentencepiece() {
    data_.model = "llama";
    add("<unk>", TokenKind::kUnknown);
    add("<s>", TokenKind::kControl);
    add("</s>", TokenKind::kControl);
    add_bytes();
  }

  // <0x00> to <0xFF>.
  void add_bytes() {
    constexpr char kHex[] = "0123456789ABCDEF";
    for (int byte = 0; byte < 256; ++byte) {
      add(std::string("<0x") + kHex[byte >> 4] + kHex[byte & 15] + ">", TokenKind::kByte);
    }
  }

 private:
  std::deque<std::string> texts_;  // Elements never move.
  VocabularyData data_;
};

}  // namespace infer::tokenizer
