// What a conversation consists of, as the OpenAI API and chat templates name it. Thread safety: plain values.
#pragma once

#include <string>
#include <vector>

namespace infer::chat {

struct ToolCall {
  std::string id;         // May be empty.
  std::string name;       // Of the function.
  std::string arguments;  // A JSON object as text.
};

struct Message {
  std::string role;  // "system", "user", "assistant", "tool", or what else the template knows.
  std::string content;
  std::string reasoning;     // What the assistant thought before it answered; "": nothing.
  std::string name;          // Of the speaker, or of the tool that answers; "": not told.
  std::string tool_call_id;  // Which call a tool answers; "": not told.
  std::vector<ToolCall> tool_calls;
};

}  // namespace infer::chat
