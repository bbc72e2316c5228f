#include "tokenizer/spm_tokenizer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>
#include <utility>

#include "base/format.h"
#include "base/utf8.h"
#include "tokenizer/symbol_merger.h"
#include "tokenizer/vocabulary_tokenizer.h"
#include "tokenizer/word_cache.h"
#include "tokenizer/word_starts.h"

namespace infer::tokenizer {
namespace {

// Smaller for higher scores, equal for equal ones; the score is no NaN.
uint32_t priority_of(float score) {
  const uint32_t bits = std::bit_cast<uint32_t>(score == 0.0f ? 0.0f : score);
  const uint32_t ascending = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return ~ascending;
}

class SpmTokenizer final : public VocabularyTokenizer {
 public:
  SpmTokenizer(std::unique_ptr<const Vocabulary> vocabulary, std::vector<uint32_t> priorities, bool adds_space_prefix)
      : VocabularyTokenizer(std::move(vocabulary)),
        priorities_(std::move(priorities)),
        adds_space_prefix_(adds_space_prefix) {
    for (TokenId id = 0; id < this->vocabulary().size(); ++id) {
      const std::string_view bytes = this->vocabulary().piece(id);
      max_piece_bytes_ = std::max(max_piece_bytes_, bytes.size());
      cuts_at_spaces_ = cuts_at_spaces_ && !has_inner_word_start(bytes);
    }
  }

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override;
  std::string_view model_name() const override { return "llama"; }
  std::string_view pre_name() const override { return ""; }

 private:
  // One encode call.
  class WordEncoder {
   public:
    WordEncoder(const SpmTokenizer& tokenizer, std::vector<TokenId>& out) : tokenizer_(tokenizer), out_(out) {}
    void enable_cache(size_t text_bytes) { cache_.enable(text_bytes); }
    void encode_text(std::string_view text, bool follows_special);

   private:
    void encode_word(std::string_view word);
    void merge_word(std::string_view word);

    const SpmTokenizer& tokenizer_;
    std::vector<TokenId>& out_;
    WordCache cache_;
    SymbolMerger merger_;
    std::vector<Symbol> symbols_;
  };

  std::vector<uint32_t> priorities_;
  bool adds_space_prefix_;
  size_t max_piece_bytes_ = 0;
  // No token has a space behind another character, so no merge crosses the start of a word: words can be encoded one by
  // one, with the same result as the whole text at once.
  bool cuts_at_spaces_ = true;
};

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// U+2581 is how the vocabulary writes a space; in a text it is one, too.
std::string with_spaces(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t mark = std::min(text.find(kSpaceMark, at), text.size());
    out.append(text.substr(at, mark - at));
    if (mark < text.size()) out.push_back(' ');
    at = mark + kSpaceMark.size();
  }
  return out;
}

std::vector<TokenId> SpmTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> out;
  std::deque<std::string> rewritten;  // The cache points into them.
  WordEncoder encoder(*this, out);
  if (text.size() >= kCachedTextBytes) encoder.enable_cache(text.size());
  encode_around_specials(text, options, out, [&](std::string_view part, bool follows_special) {
    const bool has_marks = part.find(kSpaceMark) != std::string_view::npos;
    encoder.encode_text(has_marks ? rewritten.emplace_back(with_spaces(part)) : part, follows_special);
  });
  return out;
}

void SpmTokenizer::WordEncoder::encode_text(std::string_view text, bool follows_special) {
  if (tokenizer_.adds_space_prefix_ && follows_special) {
    const size_t length = word_length(text, tokenizer_.cuts_at_spaces_);
    // Not through the cache, which would point into this string.
    merge_word(std::string(" ").append(text.substr(0, length)));
    text.remove_prefix(length);
  }
  while (!text.empty()) {
    const size_t length = word_length(text, tokenizer_.cuts_at_spaces_);
    encode_word(text.substr(0, length));
    text.remove_prefix(length);
  }
}

void SpmTokenizer::WordEncoder::encode_word(std::string_view word) {
  if (cache_.repeat(word, out_)) return;
  const size_t out_begin = out_.size();
  merge_word(word);
  cache_.remember(word, out_begin, out_);
}

void SpmTokenizer::WordEncoder::merge_word(std::string_view word) {
  const Vocabulary& vocabulary = tokenizer_.vocabulary();
  symbols_.clear();
  for (uint32_t at = 0; at < word.size();) {
    const Utf8Char next = first_utf8_char(word.substr(at));
    const uint32_t length = next.state == Utf8State::kWhole ? static_cast<uint32_t>(next.length) : 1;
    symbols_.push_back({at, length, vocabulary.find(word.substr(at, length))});
    at += length;
  }
  merger_.merge(symbols_, [&](const Symbol& left, const Symbol& right) -> Merge {
    const size_t size = size_t{left.size} + right.size;
    if (size > tokenizer_.max_piece_bytes_) return {0, kNoToken};
    const TokenId joined = vocabulary.find(word.substr(left.begin, size));
    return {joined == kNoToken ? 0 : tokenizer_.priorities_[static_cast<size_t>(joined)], joined};
  });
  for (const Symbol& symbol : symbols_) {
    if (symbol.id != kNoToken) {
      out_.push_back(symbol.id);
    } else {
      vocabulary.append_by_bytes(word.substr(symbol.begin, symbol.size), out_);
    }
  }
}

Result<std::vector<uint32_t>> read_priorities(const VocabularyData& data) {
  if (data.scores.size() != data.tokens.size()) {
    return Error{ErrorCode::kCorrupt, format("tokenizer: {} scores (tokenizer.ggml.scores) for {} tokens; a \"llama\" "
                                             "vocabulary needs one each",
                                             data.scores.size(), data.tokens.size())};
  }
  std::vector<uint32_t> priorities;
  priorities.reserve(data.scores.size());
  for (const float score : data.scores) {
    if (std::isnan(score)) {
      return Error{ErrorCode::kCorrupt, format("tokenizer: the score of token {} is not a number", priorities.size())};
    }
    priorities.push_back(priority_of(score));
  }
  return priorities;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> make_spm_tokenizer(const VocabularyData& data, Log& log) {
  INFER_ASSIGN(std::unique_ptr<const Vocabulary> vocabulary,
               Vocabulary::build(data, Spelling::kSentencePiece, /*rule_adds_bos=*/true, log));
  INFER_ASSIGN(std::vector<uint32_t> priorities, read_priorities(data));
  return std::unique_ptr<Tokenizer>(std::make_unique<SpmTokenizer>(std::move(vocabulary), std::move(priorities),
                                                                   data.add_space_prefix.value_or(true)));
}

}  // namespace infer::tokenizer
