#include "tokenizer/unigram_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/format.h"
#include "base/utf8.h"
#include "tokenizer/character_map.h"
#include "tokenizer/piece_trie.h"
#include "tokenizer/vocabulary_tokenizer.h"
#include "tokenizer/word_starts.h"

namespace infer::tokenizer {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";
// Longer tokens are never found, which bounds the work for each byte of a text. SentencePiece's own have 16 characters.
constexpr size_t kMaxPieceBytes = 512;
constexpr uint64_t kMaxTrieBytes = 1ull << 25;
// Normalized text is encoded in portions of this size, up to the last start of a word.
constexpr size_t kPortionBytes = 1 << 16;
// An unknown character is this much less likely than the least likely token.
constexpr float kUnknownPenalty = 10.0f;

struct Normalization {
  CharacterMap map;
  bool adds_space_prefix = false;
  bool joins_spaces = false;  // And drops those at both ends.
};

class UnigramTokenizer final : public VocabularyTokenizer {
 public:
  UnigramTokenizer(std::unique_ptr<const Vocabulary> vocabulary, std::vector<float> scores, Normalization normalization)
      : VocabularyTokenizer(std::move(vocabulary)),
        scores_(std::move(scores)),
        normalization_(std::move(normalization)) {
    build_trie();
    for (unsigned byte = 0; byte < 256; ++byte) {
      const TokenId token = this->vocabulary().byte_token(static_cast<uint8_t>(byte));
      has_all_bytes_ = has_all_bytes_ && token != kNoToken && this->vocabulary().kind(token) == TokenKind::kByte;
    }
  }

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override;
  std::string_view model_name() const override { return "t5"; }
  std::string_view pre_name() const override { return ""; }

 private:
  // One encode call; encode_text for each text between special tokens.
  class TextEncoder {
   public:
    TextEncoder(const UnigramTokenizer& tokenizer, std::vector<TokenId>& out) : tokenizer_(tokenizer), out_(out) {}
    void encode_text(std::string_view text);

   private:
    // The best way to write the text up to some byte.
    struct Best {
      double score;
      uint32_t begin;  // Of its last token.
      TokenId token;
    };

    void append_normalized(std::string_view text);
    void encode_portion(bool is_last);
    void encode_word(std::string_view word);
    void find_best(std::string_view word);
    void append_best(std::string_view word);

    const UnigramTokenizer& tokenizer_;
    std::vector<TokenId>& out_;
    std::string normalized_;
    bool in_word_ = false;
    bool has_words_ = false;
    // Scores are summed over the whole text, not by word: rounding decides between ways of equal score.
    double score_ = 0;
    bool after_unknown_ = false;
    std::vector<Best> best_;
    std::vector<uint32_t> ends_;  // Of the tokens of the best way, last first.
  };

  void build_trie();

  std::vector<float> scores_;
  Normalization normalization_;
  PieceTrie trie_;
  float unknown_score_ = 0;
  bool has_all_bytes_ = true;
  bool cuts_at_spaces_ = true;
};

void UnigramTokenizer::build_trie() {
  const Vocabulary& words = vocabulary();
  std::vector<PieceTrie::Piece> pieces;
  float least = std::numeric_limits<float>::max();
  for (TokenId id = 0; id < words.size(); ++id) {
    const TokenKind kind = words.kind(id);
    const auto at = static_cast<size_t>(id);
    if (kind == TokenKind::kNormal) least = std::min(least, scores_[at]);
    if (kind == TokenKind::kUserDefined) scores_[at] = 0;  // The best there is, as scores are logarithms.
    if (words.is_hidden(id) || kind == TokenKind::kByte) continue;
    const std::string_view piece = words.piece(id);
    if (piece.empty() || piece.size() > kMaxPieceBytes) continue;
    pieces.push_back({piece, id});
    cuts_at_spaces_ = cuts_at_spaces_ && !has_inner_word_start(piece);
  }
  trie_ = PieceTrie::build(std::move(pieces));
  unknown_score_ = (least == std::numeric_limits<float>::max() ? 0 : least) - kUnknownPenalty;
}

std::vector<TokenId> UnigramTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> out;
  TextEncoder encoder(*this, out);
  encode_around_specials(text, options, out, [&](std::string_view part, bool) { encoder.encode_text(part); });
  return out;
}

void UnigramTokenizer::TextEncoder::encode_text(std::string_view text) {
  normalized_.clear();
  in_word_ = has_words_ = after_unknown_ = false;
  score_ = 0;
  while (!text.empty()) {
    const CharacterMap::Normalized next = tokenizer_.normalization_.map.normalize_next(text);
    append_normalized(next.text);
    text.remove_prefix(next.consumed);
    if (normalized_.size() >= kPortionBytes) encode_portion(false);
  }
  encode_portion(true);
}

void UnigramTokenizer::TextEncoder::append_normalized(std::string_view text) {
  const Normalization& rules = tokenizer_.normalization_;
  while (!text.empty()) {
    if (text[0] == ' ') {
      in_word_ = false;
      if (!rules.joins_spaces) normalized_.push_back(' ');
      text.remove_prefix(1);
      continue;
    }
    if (!in_word_ && (has_words_ ? rules.joins_spaces : rules.adds_space_prefix)) normalized_.push_back(' ');
    in_word_ = has_words_ = true;
    const bool is_mark = text.substr(0, kSpaceMark.size()) == kSpaceMark;
    normalized_.push_back(is_mark ? ' ' : text[0]);  // How the vocabulary writes a space.
    text.remove_prefix(is_mark ? kSpaceMark.size() : 1);
  }
}

// What is normalized so far, up to the start of its last word; all of it if there is no more to come.
void UnigramTokenizer::TextEncoder::encode_portion(bool is_last) {
  std::string_view rest = normalized_;
  while (!rest.empty()) {
    const size_t length = word_length(rest, tokenizer_.cuts_at_spaces_);
    if (length == rest.size() && length < kMaxWordBytes && !is_last) break;
    encode_word(rest.substr(0, length));
    rest.remove_prefix(length);
  }
  normalized_.erase(0, normalized_.size() - rest.size());
}

void UnigramTokenizer::TextEncoder::encode_word(std::string_view word) {
  find_best(word);
  append_best(word);
  score_ = best_[word.size()].score;
}

void UnigramTokenizer::TextEncoder::find_best(std::string_view word) {
  constexpr double kUnreached = -std::numeric_limits<double>::infinity();
  best_.assign(word.size() + 1, {kUnreached, 0, kNoToken});
  best_[0].score = score_;
  const auto offer = [&](size_t begin, size_t end, TokenId token, double token_score) {
    const double score = best_[begin].score + token_score;
    if (score > best_[end].score) best_[end] = {score, static_cast<uint32_t>(begin), token};
  };
  for (size_t at = 0; at < word.size();) {
    const size_t character = first_utf8_char(word.substr(at)).length;
    bool holds_character = false;
    tokenizer_.trie_.for_each_prefix(word.substr(at), [&](size_t length, TokenId token) {
      holds_character = holds_character || length == character;
      offer(at, at + length, token, tokenizer_.scores_[static_cast<size_t>(token)]);
    });
    if (!holds_character) offer(at, at + character, kNoToken, tokenizer_.unknown_score_);
    at += character;
  }
}

void UnigramTokenizer::TextEncoder::append_best(std::string_view word) {
  const Vocabulary& vocabulary = tokenizer_.vocabulary();
  ends_.clear();
  for (auto end = static_cast<uint32_t>(word.size()); end > 0; end = best_[end].begin) ends_.push_back(end);
  for (size_t i = ends_.size(); i-- > 0;) {
    const Best& best = best_[ends_[i]];
    if (best.token != kNoToken) {
      out_.push_back(best.token);
    } else if (tokenizer_.has_all_bytes_) {
      vocabulary.append_by_bytes(word.substr(best.begin, ends_[i] - best.begin), out_);
    } else if (!after_unknown_ && vocabulary.unknown() != kNoToken) {
      out_.push_back(vocabulary.unknown());
    }
    after_unknown_ = best.token == kNoToken;
  }
}

Status check_scores(const VocabularyData& data) {
  if (data.scores.size() != data.tokens.size()) {
    return Error{
        ErrorCode::kCorrupt,
        format("tokenizer: {} scores (tokenizer.ggml.scores) for {} tokens; a \"t5\" vocabulary needs one each",
               data.scores.size(), data.tokens.size())};
  }
  for (size_t i = 0; i < data.scores.size(); ++i) {
    if (std::isfinite(data.scores[i])) continue;
    return Error{ErrorCode::kCorrupt,
                 format("tokenizer: the score of token {} is {}; expected a finite number", i, data.scores[i])};
  }
  uint64_t bytes = 0;
  for (const std::string_view token : data.tokens) bytes += token.size() <= kMaxPieceBytes ? token.size() : 0;
  if (bytes <= kMaxTrieBytes) return {};
  return Error{ErrorCode::kCorrupt,
               format("tokenizer: the tokens have {} bytes; at most {} make sense", bytes, kMaxTrieBytes)};
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> make_unigram_tokenizer(VocabularyData data, Log& log) {
  INFER_TRY(check_scores(data));
  Normalization normalization;
  normalization.adds_space_prefix = data.add_space_prefix.value_or(false);
  normalization.joins_spaces = data.remove_extra_whitespaces.value_or(false);
  INFER_ASSIGN(normalization.map, CharacterMap::parse(data.character_map));
  // What T5 has where a file does not say: no BOS, 1 and 2, and an EOS behind the text.
  const auto tokens = static_cast<int64_t>(data.tokens.size());
  if (!data.bos) data.bos = -1;
  if (!data.eos && tokens > 1) data.eos = 1;
  if (!data.unknown && tokens > 2) data.unknown = 2;
  if (!data.add_eos) data.add_eos = true;
  INFER_ASSIGN(std::unique_ptr<const Vocabulary> vocabulary,
               Vocabulary::build(data, Spelling::kSentencePiece, /*rule_adds_bos=*/false, log));
  return std::unique_ptr<Tokenizer>(
      std::make_unique<UnigramTokenizer>(std::move(vocabulary), std::move(data.scores), std::move(normalization)));
}

}  // namespace infer::tokenizer
