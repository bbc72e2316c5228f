// What the tokenizers over a Vocabulary share: all of Tokenizer but the way from plain text to tokens.
// Thread safety: const after construction, shared freely.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary.h"

namespace infer::tokenizer {

// Texts from this size on are worth a WordCache.
inline constexpr size_t kCachedTextBytes = 4096;
// Longer words are cut here, which bounds the memory of merging; no real text has one.
inline constexpr size_t kMaxWordBytes = 4 << 20;

class VocabularyTokenizer : public Tokenizer {
 public:
  std::string piece(TokenId token, bool show_special) const override {
    if (!vocabulary_->contains(token) || (!show_special && vocabulary_->is_hidden(token))) return {};
    return std::string(vocabulary_->piece(token));
  }
  int vocabulary_size() const override { return vocabulary_->size(); }
  std::string_view token_text(TokenId token) const override {
    return vocabulary_->contains(token) ? vocabulary_->text(token) : std::string_view();
  }
  TokenKind token_kind(TokenId token) const override {
    return vocabulary_->contains(token) ? vocabulary_->kind(token) : TokenKind::kUnknown;
  }
  TokenId bos() const override { return vocabulary_->bos(); }
  TokenId eos() const override { return vocabulary_->eos(); }
  bool ends_generation(TokenId token) const override {
    return vocabulary_->contains(token) && vocabulary_->ends_generation(token);
  }
  bool adds_bos() const override { return vocabulary_->adds_bos(); }

 protected:
  explicit VocabularyTokenizer(std::unique_ptr<const Vocabulary> vocabulary) : vocabulary_(std::move(vocabulary)) {}

  const Vocabulary& vocabulary() const { return *vocabulary_; }

  // Adds BOS, EOS and special tokens to `out` and calls on_text(text, follows_special) for what lies between them; the
  // beginning counts as following a special token.
  template <class OnText>
  void encode_around_specials(std::string_view text, const EncodeOptions& options, std::vector<TokenId>& out,
                              const OnText& on_text) const {
    out.reserve(text.size() / 3 + 8);
    if (options.add_special && vocabulary_->adds_bos()) out.push_back(vocabulary_->bos());
    bool follows_special = true;
    for (size_t at = 0; at < text.size();) {
      const std::optional<SpecialMatcher::Match> match =
          vocabulary_->specials().next(text, at, options.parse_special, options.untrusted);
      const size_t text_end = match ? match->begin : text.size();
      if (text_end > at) on_text(text.substr(at, text_end - at), follows_special);
      if (match) out.push_back(match->id);
      follows_special = match.has_value();
      at = match ? match->end : text.size();
    }
    if (options.add_special && vocabulary_->adds_eos()) out.push_back(vocabulary_->eos());
  }

 private:
  std::unique_ptr<const Vocabulary> vocabulary_;
};

}  // namespace infer::tokenizer
