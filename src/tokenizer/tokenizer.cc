#include "tokenizer/tokenizer.h"

#include "base/format.h"
#include "base/quoted_text.h"
#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/spm_tokenizer.h"
#include "tokenizer/unigram_tokenizer.h"
#include "tokenizer/vocabulary_data.h"

namespace infer::tokenizer {

std::string Tokenizer::decode(const std::vector<TokenId>& tokens, bool show_special) const {
  std::string text;
  for (const TokenId token : tokens) text += piece(token, show_special);
  return text;
}

Result<std::unique_ptr<Tokenizer>> make_tokenizer(const VocabularyData& data, Log& log) {
  if (data.model == "gpt2") return make_bpe_tokenizer(data, log);
  if (data.model == "llama") return make_spm_tokenizer(data, log);
  if (data.model == "t5") return make_unigram_tokenizer(data, log);
  if (data.model == "none" || data.model == "no_vocab") {
    return Error{ErrorCode::kUnsupported,
                 "the model has no vocabulary (tokenizer.ggml.model is \"none\"): it can be "
                 "timed, but it cannot read or write text"};
  }
  return Error{ErrorCode::kUnsupported,
               format("tokenizer model {} is not supported; supported are \"gpt2\" (byte-level "
                      "BPE), \"llama\" (SentencePiece BPE) and \"t5\" (SentencePiece unigram)",
                      quoted(data.model))};
}

}  // namespace infer::tokenizer
