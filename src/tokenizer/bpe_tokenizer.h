// Byte-level byte-pair encoding ("gpt2"): the text is cut into words by the pre-tokenizer, each word starts as its
// bytes, and the merges, best first, join neighbours.
//
// Lossless for any bytes if the vocabulary has a token for each; a byte without one is left out.
#pragma once

#include <memory>

#include "base/log.h"
#include "base/result.h"
#include "tokenizer/vocabulary_data.h"

namespace infer::tokenizer {

Result<std::unique_ptr<Tokenizer>> make_bpe_tokenizer(const VocabularyData& data, Log& log);

}  // namespace infer::tokenizer
