#include "tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/format.h"
#include "base/quoted_text.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/join_filter.h"
#include "tokenizer/merge_table.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/pretokenizer_table.h"
#include "tokenizer/symbol_merger.h"
#include "tokenizer/vocabulary_tokenizer.h"
#include "tokenizer/whole_characters.h"
#include "tokenizer/word_cache.h"

namespace infer::tokenizer {
namespace {

// Words from this size on are merged in parts where that is possible.
constexpr size_t kPartedWordBytes = 10;

struct Merges {
  MergeTable table;
  JoinFilter joins;  // Of all tokens that the table makes.
  WholeCharacters characters;
};

struct MergeLookup {
  const MergeTable& table;
  Merge operator()(const Symbol& left, const Symbol& right) const { return table.find(left.id, right.id); }
  void prefetch(const Symbol& left, const Symbol& right) const { table.prefetch(left.id, right.id); }
};

class BpeTokenizer final : public VocabularyTokenizer {
 public:
  BpeTokenizer(std::unique_ptr<const Vocabulary> vocabulary, Merges merges, std::unique_ptr<Pretokenizer> pretokenizer,
               std::string pre_name, bool whole_words)
      : VocabularyTokenizer(std::move(vocabulary)),
        merges_(std::move(merges)),
        pretokenizer_(std::move(pretokenizer)),
        pre_name_(std::move(pre_name)),
        whole_words_(whole_words) {}

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override;
  std::string_view model_name() const override { return "gpt2"; }
  std::string_view pre_name() const override { return pre_name_; }

 private:
  // One encode call: takes the words and appends their tokens.
  class WordEncoder final : public WordSink {
   public:
    WordEncoder(const BpeTokenizer& tokenizer, std::vector<TokenId>& out) : tokenizer_(tokenizer), out_(out) {}
    void enable_cache(size_t text_bytes) {
      words_.enable(text_bytes);
      parts_.enable(text_bytes);
    }
    void on_word(std::string_view word) override;

   private:
    void encode_parts(std::string_view word);
    void encode_part(std::string_view part);
    void merge_part(std::string_view part);

    const BpeTokenizer& tokenizer_;
    std::vector<TokenId>& out_;
    WordCache words_;
    WordCache parts_;  // Apart from words_: a whole word may be a token that merging does not make.
    SymbolMerger merger_;
    std::vector<Symbol> symbols_;
  };

  Merges merges_;
  std::unique_ptr<Pretokenizer> pretokenizer_;
  std::string pre_name_;
  bool whole_words_;
};

std::vector<TokenId> BpeTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> out;
  WordEncoder encoder(*this, out);
  if (text.size() >= kCachedTextBytes) encoder.enable_cache(text.size());
  Pretokenizer::Session session(*pretokenizer_);
  encode_around_specials(text, options, out,
                         [&](std::string_view part, bool) { pretokenizer_->split(part, session, encoder); });
  return out;
}

void BpeTokenizer::WordEncoder::on_word(std::string_view word) {
  if (words_.repeat(word, out_)) return;
  const size_t out_begin = out_.size();
  const TokenId whole = tokenizer_.whole_words_ ? tokenizer_.vocabulary().find(word) : kNoToken;
  if (whole != kNoToken) {
    out_.push_back(whole);
  } else if (word.size() < kPartedWordBytes) {
    merge_part(word);
  } else {
    encode_parts(word);
  }
  words_.remember(word, out_begin, out_);
}

void BpeTokenizer::WordEncoder::encode_parts(std::string_view word) {
  const JoinFilter& joins = tokenizer_.merges_.joins;
  size_t begin = 0;
  for (size_t at = 1; at < word.size(); ++at) {
    const bool ends_part = JoinFilter::is_place(word, at) && !joins.may_join(word, at);
    if (!ends_part && at - begin < kMaxWordBytes) continue;
    encode_part(word.substr(begin, at - begin));
    begin = at;
  }
  encode_part(word.substr(begin));
}

void BpeTokenizer::WordEncoder::encode_part(std::string_view part) {
  if (parts_.repeat(part, out_)) return;
  const size_t out_begin = out_.size();
  merge_part(part);
  parts_.remember(part, out_begin, out_);
}

void BpeTokenizer::WordEncoder::merge_part(std::string_view part) {
  const Vocabulary& vocabulary = tokenizer_.vocabulary();
  symbols_.clear();
  for (uint32_t at = 0; at < part.size();) {
    const auto byte = static_cast<uint8_t>(part[at]);
    uint32_t length = 1;
    TokenId token = kNoToken;
    if (byte >= 0xC2) token = tokenizer_.merges_.characters.find(part.substr(at), length);
    if (token == kNoToken) {
      length = 1;
      token = vocabulary.byte_token(byte);
    }
    symbols_.push_back({at, length, token});
    at += length;
  }
  merger_.merge(symbols_, MergeLookup{tokenizer_.merges_.table});
  for (const Symbol& symbol : symbols_) {
    if (symbol.id != kNoToken) {
      out_.push_back(symbol.id);
    } else {
      vocabulary.append_by_bytes(part.substr(symbol.begin, symbol.size), out_);
    }
  }
}

// The name in effect and its rule; warns where it is not the file's.
std::string_view choose_pretokenizer(const VocabularyData& data, Log& log) {
  if (!data.pre || data.pre->empty()) {
    log.write(LogLevel::kWarning, format("tokenizer: the file names no pre-tokenizer (tokenizer.ggml.pre); using {}, "
                                         "which may cut words otherwise than the model was trained",
                                         quoted(kMissingNameRule)));
    return kMissingNameRule;
  }
  if (find_pretokenizer(*data.pre) == nullptr) {
    log.write(LogLevel::kWarning, format("tokenizer: pre-tokenizer {} is not known; using {}, which may cut words "
                                         "otherwise than the model was trained",
                                         quoted(*data.pre), quoted(kUnknownNameRule)));
    return kUnknownNameRule;
  }
  return *data.pre;
}

// Where "left right" is cut: at the first space that leaves both sides something; npos when there is none.
size_t find_merge_cut(std::string_view merge) {
  const size_t cut = merge.find(' ', 1);
  return cut == std::string_view::npos || cut + 1 == merge.size() ? std::string_view::npos : cut;
}

Result<Merges> build_merges(const VocabularyData& data, const Vocabulary& vocabulary, Log& log) {
  constexpr size_t kMaxMerges = 1u << 28;
  if (!data.has_merges) {
    return Error{ErrorCode::kCorrupt, "tokenizer: a \"gpt2\" vocabulary needs tokenizer.ggml.merges, which is absent"};
  }
  if (data.merges.size() > kMaxMerges) {
    return Error{ErrorCode::kCorrupt,
                 format("tokenizer: {} merges; at most {} make sense", data.merges.size(), kMaxMerges)};
  }
  Merges merges;
  merges.table.reserve(data.merges.size());
  size_t skipped = 0;
  size_t first_skipped = 0;
  std::string bytes;
  for (size_t i = 0; i < data.merges.size(); ++i) {
    const std::string_view merge = data.merges[i];
    const size_t cut = find_merge_cut(merge);
    if (cut == std::string_view::npos) {
      return Error{ErrorCode::kCorrupt,
                   format("tokenizer: merge {} is {}; expected two tokens separated by a space", i, quoted(merge))};
    }
    bytes.clear();
    bool is_spelled = append_spelled_bytes(merge.substr(0, cut), bytes);
    const size_t left_size = bytes.size();
    is_spelled = append_spelled_bytes(merge.substr(cut + 1), bytes) && is_spelled;
    const std::string_view all = bytes;
    const TokenId left = is_spelled ? vocabulary.find(all.substr(0, left_size)) : kNoToken;
    const TokenId right = is_spelled ? vocabulary.find(all.substr(left_size)) : kNoToken;
    const TokenId result = is_spelled ? vocabulary.find(all) : kNoToken;
    if (left == kNoToken || right == kNoToken || result == kNoToken) {
      if (skipped++ == 0) first_skipped = i;
      continue;
    }
    merges.table.insert(left, right, {static_cast<uint32_t>(i), result});
    merges.joins.add(all);
    merges.characters.add_merge(all, static_cast<uint32_t>(i));
  }
  if (skipped > 0) {
    log.write(LogLevel::kWarning,
              format("tokenizer: {} of {} merges name tokens that the vocabulary does not have and "
                     "are ignored; the first is merge {}, {}",
                     skipped, data.merges.size(), first_skipped, quoted(data.merges[first_skipped])));
  }
  merges.joins.finish();
  std::array<TokenId, 256> byte_tokens{};
  for (unsigned byte = 0; byte < 256; ++byte) byte_tokens[byte] = vocabulary.byte_token(static_cast<uint8_t>(byte));
  merges.characters.finish(merges.table, byte_tokens);
  return merges;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> make_bpe_tokenizer(const VocabularyData& data, Log& log) {
  const std::string_view pre = choose_pretokenizer(data, log);
  const PretokenizerRule& rule = *find_pretokenizer(pre);
  INFER_ASSIGN(std::unique_ptr<const Vocabulary> vocabulary,
               Vocabulary::build(data, Spelling::kByteLevel, rule.adds_bos, log));
  INFER_ASSIGN(Merges merges, build_merges(data, *vocabulary, log));
  INFER_ASSIGN(std::unique_ptr<Pretokenizer> pretokenizer, Pretokenizer::compile(rule.patterns));
  return std::unique_ptr<Tokenizer>(std::make_unique<BpeTokenizer>(
      std::move(vocabulary), std::move(merges), std::move(pretokenizer), std::string(pre), rule.whole_words));
}

}  // namespace infer::tokenizer
