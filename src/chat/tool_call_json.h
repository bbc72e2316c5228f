// The JSON in which models write tool calls. Thread safety: pure functions.
#pragma once

#include <string_view>
#include <vector>

#include "chat/message.h"

namespace infer::chat {

// An object {"name", "arguments" or "parameters", "id"?}, or {"function": {...}}, or an array of them. Empty when the
// text is not that; arguments come back as JSON on one line.
std::vector<ToolCall> read_tool_calls(std::string_view json);
// The arguments of a call whose name stood elsewhere.
std::vector<ToolCall> read_named_call(std::string_view name, std::string_view json);

}  // namespace infer::chat
