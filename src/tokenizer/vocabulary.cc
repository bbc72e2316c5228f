#include "tokenizer/vocabulary.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "base/format.h"
#include "base/quoted_text.h"
#include "tokenizer/byte_alphabet.h"

namespace infer::tokenizer {
namespace {

constexpr uint64_t kMaxTextBytes = 1ull << 30;  // The largest known vocabularies have about 4 MB.
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// Tokens after which a model has finished its answer, by the names that model families give them. Files often mark only
// one of them as EOS, or mark them as plain text; they are control tokens whatever the file says.
constexpr std::string_view kEndNames[] = {"<|eot_id|>",
                                          "<|im_end|>",
                                          "<|end|>",
                                          "<|return|>",
                                          "<|call|>",
                                          "<|flush|>",
                                          "<|calls|>",
                                          "<end_of_turn>",
                                          "<|endoftext|>",
                                          "</s>",
                                          "<|eom_id|>",
                                          "<EOT>",
                                          "_<EOT>",
                                          "[EOT]",
                                          "[EOS]",
                                          "<turn|>",
                                          "<|fim_pad|>",
                                          "<fim-pad>",
                                          "<fim_pad>",
                                          "<PAD>",
                                          "[PAD]",
                                          "<|end_of_text|>",
                                          "<|fim_repo|>",
                                          "<|repo_name|>",
                                          "<fim-repo>",
                                          "<end_of_utterance>",
                                          "<REPO>",
                                          "<reponame>",
                                          "<|file_sep|>",
                                          "<\xEF\xBD\x9C"
                                          "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"};

// Marks of fill-in-the-middle prompts. Files often give them the type of plain text; text from outside must not be able
// to write them.
constexpr std::string_view kInfillNames[] = {"<|fim_prefix|>",
                                             "<fim-prefix>",
                                             "<fim_prefix>",
                                             "<|code_prefix|>",
                                             "<PRE>",
                                             "\xE2\x96\x81<PRE>",
                                             "<\xEF\xBD\x9C"
                                             "fim\xE2\x96\x81"
                                             "begin\xEF\xBD\x9C>",
                                             "<|fim_suffix|>",
                                             "<fim-suffix>",
                                             "<fim_suffix>",
                                             "<|code_suffix|>",
                                             "<SUF>",
                                             "\xE2\x96\x81<SUF>",
                                             "<\xEF\xBD\x9C"
                                             "fim\xE2\x96\x81hole\xEF\xBD\x9C>",
                                             "<|fim_middle|>",
                                             "<fim-middle>",
                                             "<fim_middle>",
                                             "<|code_middle|>",
                                             "<MID>",
                                             "\xE2\x96\x81<MID>",
                                             "<\xEF\xBD\x9C"
                                             "fim\xE2\x96\x81"
                                             "end\xEF\xBD\x9C>"};

// "<0x0A>" -> 10.
std::optional<uint8_t> parse_byte_name(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return std::nullopt;
  unsigned value = 0;
  for (const char c : text.substr(3, 2)) {
    unsigned digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<unsigned>(c - '0');
    } else if (c >= 'A' && c <= 'F') {
      digit = static_cast<unsigned>(c - 'A') + 10;
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<unsigned>(c - 'a') + 10;
    } else {
      return std::nullopt;
    }
    value = value * 16 + digit;
  }
  return static_cast<uint8_t>(value);
}

void append_with_spaces(std::string_view text, std::string& out) {
  for (size_t at = 0; at < text.size();) {
    const size_t mark = text.find(kSpaceMark, at);
    if (mark == std::string_view::npos) {
      out.append(text.substr(at));
      break;
    }
    out.append(text.substr(at, mark - at)).push_back(' ');
    at = mark + kSpaceMark.size();
  }
}

Error corrupt(std::string message) { return {ErrorCode::kCorrupt, "tokenizer: " + std::move(message)}; }

// An id of the metadata, checked. Some files write "none" as -1, or as -1 in 32 unsigned bits.
Result<TokenId> checked_id(std::string_view name, std::optional<int64_t> id, TokenId fallback, int tokens) {
  if (!id) return fallback >= 0 && fallback < tokens ? fallback : kNoToken;
  if (*id == -1 || *id == 0xFFFFFFFFll) return kNoToken;
  if (*id < 0 || *id >= tokens) {
    return corrupt(format("the {} token's id is {}, but there are {} tokens (0 to {})", name, *id, tokens, tokens - 1));
  }
  return static_cast<TokenId>(*id);
}

}  // namespace

Result<std::unique_ptr<const Vocabulary>> Vocabulary::build(const VocabularyData& data, Spelling spelling,
                                                            bool rule_adds_bos, Log& log) {
  std::unique_ptr<Vocabulary> vocabulary(new Vocabulary);
  INFER_TRY(vocabulary->copy_texts(data));
  INFER_TRY(vocabulary->read_kinds(data, spelling));
  INFER_TRY(vocabulary->read_special_ids(data, spelling));
  vocabulary->find_ends_of_generation();
  INFER_TRY(vocabulary->spell_pieces(spelling));
  vocabulary->fill_table(spelling);
  vocabulary->fill_byte_tokens(spelling, log);
  INFER_TRY(vocabulary->fill_specials(data.special_tokens_eat_whitespace));
  vocabulary->decide_additions(data, rule_adds_bos, log);
  return std::unique_ptr<const Vocabulary>(std::move(vocabulary));
}

Status Vocabulary::copy_texts(const VocabularyData& data) {
  if (data.tokens.empty()) return corrupt("the vocabulary is empty: 0 tokens");
  uint64_t bytes = 0;
  for (const std::string_view token : data.tokens) bytes += token.size();
  if (bytes > kMaxTextBytes || data.tokens.size() > kMaxTextBytes) {
    return corrupt(format("{} tokens with {} bytes of text; at most {} of either make sense", data.tokens.size(), bytes,
                          kMaxTextBytes));
  }
  texts_.reserve(bytes);
  text_begins_.reserve(data.tokens.size() + 1);
  for (const std::string_view token : data.tokens) {
    text_begins_.push_back(static_cast<uint32_t>(texts_.size()));
    texts_.append(token);
  }
  text_begins_.push_back(static_cast<uint32_t>(texts_.size()));
  return {};
}

Status Vocabulary::read_kinds(const VocabularyData& data, Spelling spelling) {
  const size_t tokens = data.tokens.size();
  kinds_.assign(tokens, TokenKind::kNormal);
  if (data.kinds.empty()) {  // Old files have no types: what is certain is inferred.
    for (size_t i = 0; spelling == Spelling::kSentencePiece && i < tokens; ++i) {
      if (parse_byte_name(data.tokens[i])) kinds_[i] = TokenKind::kByte;
    }
    return {};
  }
  if (data.kinds.size() != tokens) {
    return corrupt(format("{} token types for {} tokens; expected one each", data.kinds.size(), tokens));
  }
  for (size_t i = 0; i < tokens; ++i) {
    const int64_t kind = data.kinds[i];
    if (kind < 0 || kind > 6) return corrupt(format("token {} has type {}; expected 0 to 6", i, kind));
    if (kind != 0) kinds_[i] = static_cast<TokenKind>(kind);  // 0 is "undefined": plain text.
  }
  return {};
}

Status Vocabulary::read_special_ids(const VocabularyData& data, Spelling spelling) {
  const bool is_sp = spelling == Spelling::kSentencePiece;  // SentencePiece has fixed ids for what a file leaves out.
  const int tokens = size();
  INFER_ASSIGN(bos_, checked_id("BOS", data.bos, is_sp ? 1 : kNoToken, tokens));
  INFER_ASSIGN(eos_, checked_id("EOS", data.eos, is_sp ? 2 : kNoToken, tokens));
  INFER_ASSIGN(unknown_, checked_id("unknown", data.unknown, is_sp ? 0 : kNoToken, tokens));
  INFER_ASSIGN(const TokenId turn, checked_id("end-of-turn", data.end_of_turn, kNoToken, tokens));
  INFER_ASSIGN(const TokenId message, checked_id("end-of-message", data.end_of_message, kNoToken, tokens));
  ends_generation_.assign(static_cast<size_t>(tokens), false);
  for (const TokenId id : {eos_, turn, message}) {
    if (id != kNoToken) ends_generation_[static_cast<size_t>(id)] = true;
  }
  if (data.kinds.empty()) {
    for (const TokenId id : {bos_, eos_, turn, message}) {
      if (id != kNoToken) kinds_[static_cast<size_t>(id)] = TokenKind::kControl;
    }
    if (unknown_ != kNoToken && unknown_ != bos_ && unknown_ != eos_) {
      kinds_[static_cast<size_t>(unknown_)] = TokenKind::kUnknown;
    }
  }
  return {};
}

void Vocabulary::find_ends_of_generation() {
  TokenId end_of_part = kNoToken;
  bool has_return = false, has_call = false, has_flush = false;
  for (TokenId id = 0; id < size(); ++id) {
    const std::string_view name = text(id);
    // Every name starts with one of these, which spares most tokens the search.
    if (name.size() < 4 || (name[0] != '<' && name[0] != '[' && name[0] != '_' && name[0] != '\xE2')) continue;
    if (std::find(std::begin(kInfillNames), std::end(kInfillNames), name) != std::end(kInfillNames)) {
      kinds_[static_cast<size_t>(id)] = TokenKind::kControl;
    }
    if (std::find(std::begin(kEndNames), std::end(kEndNames), name) == std::end(kEndNames)) continue;
    ends_generation_[static_cast<size_t>(id)] = true;
    kinds_[static_cast<size_t>(id)] = TokenKind::kControl;
    if (name == "<|end|>") end_of_part = id;
    has_return = has_return || name == "<|return|>";
    has_call = has_call || name == "<|call|>" || name == "<|calls|>";
    has_flush = has_flush || name == "<|flush|>";
  }
  // In vocabularies with these names (gpt-oss) <|end|> only closes one part of an answer.
  const bool ends_parts = has_call && (has_return || has_flush);
  if (ends_parts && end_of_part != kNoToken && end_of_part != eos_) {
    ends_generation_[static_cast<size_t>(end_of_part)] = false;
  }
}

Status Vocabulary::spell_pieces(Spelling spelling) {
  pieces_.reserve(texts_.size());
  piece_begins_.reserve(text_begins_.size());
  for (TokenId id = 0; id < size(); ++id) {
    piece_begins_.push_back(static_cast<uint32_t>(pieces_.size()));
    const TokenKind token_kind = kind(id);
    const bool is_plain = token_kind == TokenKind::kNormal || token_kind == TokenKind::kUnused;
    if (token_kind == TokenKind::kByte) {
      const std::optional<uint8_t> byte = parse_byte_name(text(id));
      if (!byte) {
        return corrupt(
            format("token {} is a byte token, but its text is {}; expected <0x00> to <0xFF>", id, quoted(text(id))));
      }
      pieces_.push_back(static_cast<char>(*byte));
    } else if (is_plain && spelling == Spelling::kSentencePiece) {
      append_with_spaces(text(id), pieces_);
    } else if (!is_plain || !append_spelled_bytes(text(id), pieces_)) {
      pieces_.append(text(id));
    }
  }
  piece_begins_.push_back(static_cast<uint32_t>(pieces_.size()));
  return {};
}

void Vocabulary::fill_table(Spelling spelling) {
  table_.reserve(kinds_.size());
  const auto bytes_of = [this](TokenId id) { return piece(id); };
  std::string scratch;
  for (TokenId id = 0; id < size(); ++id) {
    if (kind(id) != TokenKind::kNormal && kind(id) != TokenKind::kUnused) continue;
    scratch.clear();
    // A byte-level token with a character outside of the alphabet spells no bytes: it is shown but never found.
    if (spelling == Spelling::kByteLevel && !append_spelled_bytes(text(id), scratch)) continue;
    if (!piece(id).empty()) (void)table_.insert(piece(id), id, bytes_of);
  }
  for (TokenId id = 0; id < size(); ++id) {
    if (kind(id) != TokenKind::kUserDefined || piece(id).empty()) continue;
    scratch.clear();
    // User-defined tokens stand for their text; merges may make one only where that is also what its letters spell.
    const bool spells_text = append_spelled_bytes(text(id), scratch) && scratch == text(id);
    if (spelling == Spelling::kSentencePiece || spells_text) (void)table_.insert(piece(id), id, bytes_of);
  }
}

void Vocabulary::fill_byte_tokens(Spelling spelling, Log& log) {
  // In byte-level vocabularies the "unknown token" is often the end of text, which no text may bring about.
  if (spelling == Spelling::kSentencePiece) stand_in_ = unknown_;
  byte_tokens_.fill(kNoToken);
  for (TokenId id = size() - 1; id >= 0; --id) {  // Backwards: the lowest id stays.
    if (kind(id) == TokenKind::kByte) byte_tokens_[static_cast<uint8_t>(piece(id)[0])] = id;
  }
  int missing = 0;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char as_char = static_cast<char>(byte);
    const TokenId plain = find(std::string_view(&as_char, 1));
    TokenId& token = byte_tokens_[byte];
    if (plain != kNoToken && (spelling == Spelling::kByteLevel || token == kNoToken)) token = plain;
    const bool is_in_utf8 = byte < 0xC0 || (byte > 0xC1 && byte < 0xF5);
    if (token == kNoToken && is_in_utf8) ++missing;
  }
  if (missing > 0) {
    log.write(LogLevel::kInfo,
              format("tokenizer: the vocabulary has no token for {} of the 243 byte values of UTF-8; they are {}",
                     missing, stand_in_ == kNoToken ? "left out" : "read as the unknown token"));
  }
}

Status Vocabulary::fill_specials(bool eat_whitespace) {
  for (TokenId id = 0; id < size(); ++id) {
    if (!is_hidden(id) && kind(id) != TokenKind::kUserDefined) continue;
    const std::string_view name = text(id);
    if (name.empty()) continue;
    if (name.size() > kMaxSpecialBytes) {
      return corrupt(
          format("special token {} has {} bytes; at most {} are supported", id, name.size(), kMaxSpecialBytes));
    }
    const bool keeps_whitespace = name == "<unk>" || name == "<s>" || name == "<|endoftext|>";
    specials_.add({name, id, kind(id) == TokenKind::kUserDefined, eat_whitespace && !keeps_whitespace});
  }
  specials_.finish();
  return {};
}

void Vocabulary::decide_additions(const VocabularyData& data, bool rule_adds_bos, Log& log) {
  adds_bos_ = data.add_bos.value_or(rule_adds_bos);
  adds_eos_ = data.add_eos.value_or(false);
  if (adds_bos_ && bos_ == kNoToken) {
    log.write(LogLevel::kWarning, "tokenizer: the model asks for a BOS token but names none: none is added");
    adds_bos_ = false;
  }
  if (adds_eos_ && eos_ == kNoToken) {
    log.write(LogLevel::kWarning, "tokenizer: the model asks for an EOS token but names none: none is added");
    adds_eos_ = false;
  }
}

void Vocabulary::append_by_bytes(std::string_view bytes, std::vector<TokenId>& out) const {
  const size_t before = out.size();
  for (const char c : bytes) {
    const TokenId token = byte_tokens_[static_cast<uint8_t>(c)];
    if (token == kNoToken) {
      out.resize(before);
      if (stand_in_ != kNoToken) out.push_back(stand_in_);
      return;
    }
    out.push_back(token);
  }
}

}  // namespace infer::tokenizer
