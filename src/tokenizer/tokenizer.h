// Text to token ids and back, for the vocabulary of one model.
//
// Invariants: decoding the ids of any text gives that text back byte for byte (up to the space that SPM vocabularies
// put in front, and bytes that a vocabulary has no token for); encode accepts any bytes, valid UTF-8 or not, in time
// near linear in their number.
// Thread safety: const after construction, shared freely. Ownership: owns all it needs; the gguf::File may go.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "base/result.h"
#include "gguf/file.h"
#include "tokenizer/text_range.h"

namespace infer::tokenizer {

// GGUF's tokenizer.ggml.token_type values.
enum class TokenKind : uint8_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct EncodeOptions {
  bool add_special = true;     // BOS (and EOS) as the model's metadata asks.
  bool parse_special = false;  // "<|eos|>" in the text becomes the token; off for untrusted text.
  // Parts of the text, ascending and apart, whose bytes are untrusted even so: no special token has one of them.
  std::span<const TextRange> untrusted = {};
};

class Tokenizer {
 public:
  // Reads tokenizer.ggml.*; kUnsupported names an unknown model or pre-tokenizer, kCorrupt what is inconsistent.
  // An unknown tokenizer.ggml.pre falls back as documented in docs/formats/tokenizers.md, with a warning to `log`.
  static Result<std::unique_ptr<Tokenizer>> from_gguf(const gguf::File& file, Log& log);

  virtual ~Tokenizer() = default;

  virtual std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const = 0;

  // The bytes of one token as it continues a text (control tokens give nothing unless `show_special`). Not always whole
  // UTF-8 characters: see utf8_stream.h.
  virtual std::string piece(TokenId token, bool show_special) const = 0;
  std::string decode(const std::vector<TokenId>& tokens, bool show_special) const;

  virtual int vocabulary_size() const = 0;
  virtual std::string_view token_text(TokenId token) const = 0;  // As stored in the vocabulary.
  virtual TokenKind token_kind(TokenId token) const = 0;
  virtual TokenId bos() const = 0;  // kNoToken when there is none.
  virtual TokenId eos() const = 0;
  virtual bool ends_generation(TokenId token) const = 0;  // EOS and its kind (<|eot_id|>, <|im_end|>, ...).
  virtual bool adds_bos() const = 0;
  virtual std::string_view model_name() const = 0;  // "gpt2", "llama", "t5"
  virtual std::string_view pre_name() const = 0;    // tokenizer.ggml.pre in effect, "" for the others than "gpt2".
};

}  // namespace infer::tokenizer
