// Fuzzes the tokenizers. The first byte of the input chooses what the rest is:
//   even: text for complete small vocabularies (BPE with every pre-tokenizer, SentencePiece, unigram): decoding must
//         give it back, and the UTF-8 stream over its pieces must release only well-formed text;
//   odd:  a vocabulary made of the input's bytes, then a text for it: any answer is fine, a crash is not.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "base/utf8.h"
#include "tokenizer/handmade_vocabulary.h"
#include "tokenizer/pretokenizer_table.h"
#include "tokenizer/utf8_stream.h"

namespace infer::tokenizer {
namespace {

std::unique_ptr<Tokenizer> make_or_stop(const VocabularyData& data) {
  NullLog log;
  auto tokenizer = make_tokenizer(data, log);
  INFER_CHECK(tokenizer.has_value());
  return std::move(*tokenizer);
}

std::unique_ptr<Tokenizer> make_bpe(std::string_view pre) {
  HandmadeVocabulary words;
  words.start_byte_level();
  words.add_merge("t", "h");
  words.add_merge("th", "e");
  words.add_merge("Ġ", "the");
  words.add_merge("a", "a");
  words.add_merge("aa", "aa");
  words.add_merge("Ġ", "Ġ");
  words.add_merge("ã", "ģ");
  words.add("<|user|>", TokenKind::kUserDefined);
  words.add("   ", TokenKind::kUserDefined);
  words.add("<|eos|>", TokenKind::kControl);
  words.data().pre = pre;
  return make_or_stop(words.data());
}

std::unique_ptr<Tokenizer> make_spm(bool cuts_at_spaces) {
  HandmadeVocabulary words;
  words.start_sentencepiece();
  float score = 0;
  for (const char* piece : {"▁the", "the", "th", "he", "▁▁", "▁t", "aaaa", "aa", "▁", "a", "t", "h", "e", "の"}) {
    words.add(piece, TokenKind::kNormal, --score);
  }
  if (!cuts_at_spaces) words.add("a▁t", TokenKind::kNormal, --score);
  words.add("<|user|>", TokenKind::kUserDefined);
  words.data().add_space_prefix = false;
  return make_or_stop(words.data());
}

std::unique_ptr<Tokenizer> make_unigram(bool cuts_at_spaces) {
  HandmadeVocabulary words;
  words.start_sentencepiece();
  words.data().model = "t5";
  float score = 0;
  // The last one ends inside of a character, where no token that follows could begin.
  for (const char* piece : {"▁the", "the", "th", "▁▁", "▁t", "aaaa", "aa", "▁", "a", "t", "の", "のa", "\xE3\x81"}) {
    words.add(piece, TokenKind::kNormal, --score);
  }
  if (!cuts_at_spaces) words.add("a▁t", TokenKind::kNormal, 2);
  words.add("<|user|>", TokenKind::kUserDefined);
  words.data().add_space_prefix = false;
  words.data().remove_extra_whitespaces = false;
  return make_or_stop(words.data());
}

// Every pre-tokenizer's BPE, then SentencePiece and unigram with and without cutting at spaces.
const std::vector<std::unique_ptr<Tokenizer>>& small_tokenizers() {
  static const auto tokenizers = [] {
    std::vector<std::unique_ptr<Tokenizer>> made;
    for (const std::string_view name : pretokenizer_names()) made.push_back(make_bpe(name));
    made.push_back(make_spm(true));
    made.push_back(make_spm(false));
    made.push_back(make_unigram(true));
    made.push_back(make_unigram(false));
    return made;
  }();
  return tokenizers;
}

// U+FFFD for each byte that is no character.
std::string well_formed(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Utf8Char next = first_utf8_char(text);
    const bool is_character = next.state == Utf8State::kWhole;
    out += is_character ? text.substr(0, next.length) : std::string_view("\xEF\xBF\xBD");
    text.remove_prefix(is_character ? next.length : 1);
  }
  return out;
}

// What decoding gives back: for SentencePiece and unigram U+2581 is a space, and unigram normalizes.
std::string expected_text(const Tokenizer& tokenizer, std::string_view text) {
  constexpr std::string_view kMark = "\xE2\x96\x81";
  const bool is_unigram = tokenizer.model_name() == "t5";
  std::string expected = is_unigram ? well_formed(text) : std::string(text);
  if (!is_unigram && tokenizer.model_name() != "llama") return expected;
  for (size_t at = 0; (at = expected.find(kMark, at)) != std::string::npos; ++at)
    expected.replace(at, kMark.size(), 1, ' ');
  return expected;
}

void check_round_trip(const Tokenizer& tokenizer, std::string_view input, bool parse_special) {
  const std::string text = expected_text(tokenizer, input);
  const std::vector<TokenId> ids = tokenizer.encode(input, {.add_special = false, .parse_special = parse_special});
  INFER_CHECK(tokenizer.decode(ids, true) == text);
  Utf8Stream stream;
  std::string shown;
  for (const TokenId id : ids) {
    const std::string released = stream.push(tokenizer.piece(id, true));
    INFER_CHECK(valid_utf8_prefix(released) == released.size());
    shown += released;
  }
  shown += stream.flush();
  if (valid_utf8_prefix(text) == text.size()) INFER_CHECK(shown == text);
}

// Takes values from the front of the input; an exhausted input gives zeros.
class InputReader {
 public:
  explicit InputReader(std::string_view bytes) : bytes_(bytes) {}

  uint8_t byte() {
    if (bytes_.empty()) return 0;
    const auto value = static_cast<uint8_t>(bytes_.front());
    bytes_.remove_prefix(1);
    return value;
  }
  std::string_view text(size_t size) {
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(taken.size());
    return taken;
  }
  std::string_view short_text() { return text(byte() % 12); }
  std::optional<int64_t> id() {
    constexpr std::array<int64_t, 6> kOdd = {-1, -2, 0xFFFFFFFF, INT64_MAX, INT64_MIN, 1 << 20};
    const uint8_t choice = byte();
    if (choice < 64) return std::nullopt;
    return choice < 80 ? kOdd[choice % kOdd.size()] : int64_t{choice} % 16;
  }
  std::optional<bool> flag() {
    const uint8_t choice = byte();
    return choice % 3 == 0 ? std::nullopt : std::optional<bool>(choice % 3 == 1);
  }
  std::string_view rest() const { return bytes_; }

 private:
  std::string_view bytes_;
};

void fuzz_vocabulary(std::string_view input) {
  InputReader reader(input);
  HandmadeVocabulary words;
  const uint8_t model = reader.byte();
  const bool is_unigram = model >= 192;
  const bool is_spm = is_unigram || model % 2 == 0;
  if (reader.byte() % 2 == 0) is_spm ? words.start_sentencepiece() : words.start_byte_level();
  VocabularyData& data = words.data();
  data.model = is_unigram ? "t5" : is_spm ? "llama" : "gpt2";
  const uint8_t pre = reader.byte();
  const std::vector<std::string_view> names = pretokenizer_names();
  if (pre < 200) data.pre = names[pre % names.size()];
  data.has_merges = reader.byte() != 1;
  data.special_tokens_eat_whitespace = reader.byte() % 4 == 1;
  for (int i = reader.byte() % 24; i > 0; --i) {
    const uint8_t kind = reader.byte();
    words.add(std::string(reader.short_text()), static_cast<TokenKind>(kind < 240 ? kind % 6 : kind));
    float score = 0;
    const std::string_view bits = reader.text(sizeof score);
    if (bits.size() == sizeof score) std::memcpy(&score, bits.data(), sizeof score);
    if (is_spm) data.scores.back() = score;
  }
  for (int i = reader.byte() % 16; i > 0; --i) data.merges.push_back(reader.short_text());
  if (reader.byte() == 7) data.kinds.clear();
  if (reader.byte() == 7) data.scores.clear();
  data.bos = reader.id();
  data.eos = reader.id();
  data.unknown = reader.id();
  data.add_bos = reader.flag();
  data.add_eos = reader.flag();
  data.add_space_prefix = reader.flag();
  if (is_unigram) {
    data.remove_extra_whitespaces = reader.flag();
    data.character_map = reader.text(reader.byte() % 2 == 0 ? 0 : reader.byte());
  }
  NullLog log;
  const auto tokenizer = make_tokenizer(data, log);
  if (!tokenizer) {
    INFER_CHECK(!tokenizer.error().message.empty());
    return;
  }
  for (const bool parse_special : {false, true}) {
    const std::vector<TokenId> ids = (*tokenizer)->encode(reader.rest(), {true, parse_special});
    for (const TokenId id : ids) INFER_CHECK(id >= 0 && id < (*tokenizer)->vocabulary_size());
    (void)(*tokenizer)->decode(ids, parse_special);
  }
  for (TokenId id = -1; id <= (*tokenizer)->vocabulary_size(); ++id) {
    (void)(*tokenizer)->piece(id, true);
    (void)(*tokenizer)->token_text(id);
    (void)(*tokenizer)->ends_generation(id);
  }
}

}  // namespace
}  // namespace infer::tokenizer

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace infer::tokenizer;
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (data[0] % 2 == 1) {
    fuzz_vocabulary(input.substr(1));
  } else {
    const auto& tokenizers = small_tokenizers();
    check_round_trip(*tokenizers[data[1] % tokenizers.size()], input.substr(2), data[0] % 4 == 0);
  }
  return 0;
}
