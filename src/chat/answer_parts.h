// What a piece of an answer's text added to its parts. A plain value.
#pragma once

#include <string>
#include <vector>

#include "chat/message.h"

namespace infer::chat {

struct AnswerParts {
  std::string content;
  std::string reasoning;
  std::vector<ToolCall> tool_calls;  // Complete ones; ids as the model gave them, mostly empty.
};

}  // namespace infer::chat
