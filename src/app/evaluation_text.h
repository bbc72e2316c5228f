// The text that a server evaluates quality on.
// Thread safety: pure but for the file that is read.
#pragma once

#include <string>

#include "base/result.h"
#include "quality/quality_work.h"
#include "tokenizer/tokenizer.h"

namespace infer::app {

// Of the file, or the built-in one where `path` is "". Windows have 512 tokens, fewer where the context is shorter. A
// file has 16 MB at most. kNotFound, kIo, kExhausted: of the file; kInvalidArgument: it has less than one window.
Result<quality::EvaluationText> read_evaluation_text(const std::string& path, const tokenizer::Tokenizer& tokenizer,
                                                     int context);

}  // namespace infer::app
