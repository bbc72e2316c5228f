// SentencePiece unigram ("t5"): of all ways to write the normalized text as tokens, the one with the highest sum of
// scores, found by dynamic programming from left to right.
//
// Before, the text is normalized by the model's character map, runs of spaces are joined and a space is put in front,
// as the model asks; that is not undone by decoding. What no token holds becomes byte tokens where the vocabulary has
// them all, else one unknown token for each run of such characters.
#pragma once

#include <memory>

#include "base/log.h"
#include "base/result.h"
#include "tokenizer/vocabulary_data.h"

namespace infer::tokenizer {

Result<std::unique_ptr<Tokenizer>> make_unigram_tokenizer(VocabularyData data, Log& log);

}  // namespace infer::tokenizer
