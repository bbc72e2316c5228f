// The checked vocabulary of one model: every token's text, bytes and kind, the tables that find tokens, the special
// ids.
//
// Invariants, whatever the input was: ids are 0..size()-1; every special id is one of them or kNoToken; find() gives
// only tokens that plain text may become (never control, unknown or byte tokens), and piece(find(bytes)) == bytes. Of
// tokens with equal bytes find() gives a normal one before a user-defined one, then the lowest id; empty tokens are
// never found.
// Ownership: owns all text. Thread safety: const after build().
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "base/result.h"
#include "tokenizer/special_matcher.h"
#include "tokenizer/token_table.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary_data.h"

namespace infer::tokenizer {

// How the vocabulary writes the bytes of a token as text.
enum class Spelling {
  kByteLevel,      // GPT-2's alphabet, byte_alphabet.h.
  kSentencePiece,  // As it is, with U+2581 for a space and "<0x0A>" for a byte.
};

class Vocabulary {
 public:
  // `rule_adds_bos`: what holds when the data does not say.
  static Result<std::unique_ptr<const Vocabulary>> build(const VocabularyData& data, Spelling spelling,
                                                         bool rule_adds_bos, Log& log);
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

  int size() const { return static_cast<int>(kinds_.size()); }
  bool contains(TokenId id) const { return id >= 0 && id < size(); }
  // Of an id in range.
  std::string_view text(TokenId id) const { return slice(texts_, text_begins_, id); }
  std::string_view piece(TokenId id) const { return slice(pieces_, piece_begins_, id); }
  TokenKind kind(TokenId id) const { return kinds_[static_cast<size_t>(id)]; }
  bool is_hidden(TokenId id) const { return kind(id) == TokenKind::kControl || kind(id) == TokenKind::kUnknown; }
  bool ends_generation(TokenId id) const { return ends_generation_[static_cast<size_t>(id)]; }

  TokenId find(std::string_view bytes) const {
    return table_.find(bytes, [this](TokenId id) { return piece(id); });
  }
  TokenId byte_token(uint8_t byte) const { return byte_tokens_[byte]; }
  // Bytes that are no token: their byte tokens; where one is missing U+FFFD, or else the unknown token, or else
  // nothing.
  void append_by_bytes(std::string_view bytes, std::vector<TokenId>& out) const;

  const SpecialMatcher& specials() const { return specials_; }
  TokenId bos() const { return bos_; }
  TokenId eos() const { return eos_; }
  TokenId unknown() const { return unknown_; }
  bool adds_bos() const { return adds_bos_; }
  bool adds_eos() const { return adds_eos_; }

 private:
  Vocabulary() = default;
  static std::string_view slice(const std::string& bytes, const std::vector<uint32_t>& begins, TokenId id) {
    const auto at = static_cast<size_t>(id);
    return std::string_view(bytes.data() + begins[at], begins[at + 1] - begins[at]);
  }

  Status copy_texts(const VocabularyData& data);
  Status read_kinds(const VocabularyData& data, Spelling spelling);
  Status read_special_ids(const VocabularyData& data, Spelling spelling);
  void find_ends_of_generation();
  Status spell_pieces(Spelling spelling);
  void fill_table(Spelling spelling);
  void fill_byte_tokens(Spelling spelling, Log& log);
  Status fill_specials(bool eat_whitespace);
  void decide_additions(const VocabularyData& data, bool rule_adds_bos, Log& log);

  std::string texts_;
  std::string pieces_;
  std::vector<uint32_t> text_begins_;  // size() + 1 of each.
  std::vector<uint32_t> piece_begins_;
  std::vector<TokenKind> kinds_;
  std::vector<bool> ends_generation_;
  TokenTable table_;
  SpecialMatcher specials_;
  std::array<TokenId, 256> byte_tokens_{};
  TokenId stand_in_ = kNoToken;
  TokenId bos_ = kNoToken;
  TokenId eos_ = kNoToken;
  TokenId unknown_ = kNoToken;
  bool adds_bos_ = false;
  bool adds_eos_ = false;
};

}  // namespace infer::tokenizer
