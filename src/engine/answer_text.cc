#include "engine/answer_text.h"

#include <utility>

namespace infer::engine {

Result<AnswerText> AnswerText::make(const std::vector<std::string>& stops) {
  INFER_ASSIGN(sampling::StopMatcher matcher, sampling::StopMatcher::make(stops));
  return AnswerText(std::move(matcher));
}

bool AnswerText::push(std::string_view bytes, std::string& released) {
  return stops_.push(characters_.push(bytes), released).has_value();
}

void AnswerText::finish(std::string& released) {
  if (stops_.found()) return;
  stops_.push(characters_.flush(), released);
  stops_.finish(released);
}

}  // namespace infer::engine
