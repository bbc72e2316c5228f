// From the tokens of an answer to its text: whole UTF-8 characters, held back where they may begin a stop string.
// Thread safety: one answer, one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sampling/stop_matcher.h"
#include "tokenizer/utf8_stream.h"

namespace infer::engine {

class AnswerText {
 public:
  // kInvalidArgument as StopMatcher::make.
  static Result<AnswerText> make(const std::vector<std::string>& stops);

  // The bytes of the next token: appends to `released` what is certain to be output. True when a stop string is
  // complete: then the answer is over.
  bool push(std::string_view bytes, std::string& released);
  // The answer ended: appends what was held back and is output after all.
  void finish(std::string& released);

 private:
  explicit AnswerText(sampling::StopMatcher stops) : stops_(std::move(stops)) {}

  tokenizer::Utf8Stream characters_;
  sampling::StopMatcher stops_;
};

}  // namespace infer::engine
