// SentencePiece's BPE ("llama"): the text starts as its characters; of all neighbours that together are a token, the
// pair with the highest score joins first. Characters that are no token become byte tokens.
//
// A space is put in front of the text, and of text behind a special token, if the model asks for it. U+2581 in the text
// itself is not a space: it is kept, as bytes. Lossless for any bytes if the vocabulary has its 256 byte tokens.
#pragma once

#include <memory>

#include "base/log.h"
#include "base/result.h"
#include "tokenizer/vocabulary_data.h"

namespace infer::tokenizer {

Result<std::unique_ptr<Tokenizer>> make_spm_tokenizer(const VocabularyData& data, Log& log);

}  // namespace infer::tokenizer
