// How a model writes tool calls and reasoning into its answers, as its chat template implies.
// Thread safety: pure functions, plain values.
#pragma once

#include <string>
#include <string_view>

namespace infer::chat {

enum class ToolCallFormat {
  kHermes,        // <tool_call>{"name": ..., "arguments": {...}}</tool_call>: Hermes, Qwen 2.5, Qwen 3
  kMistral,       // [TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]
  kMistralNamed,  // [TOOL_CALLS]name[ARGS]{...}[TOOL_CALLS]...: Mistral's from 2025 on
  kLlama3,        // {"name": ..., "parameters": {...}}, perhaps behind <|python_tag|>
  kHarmony,       // Channels, and calls as parts addressed to functions: gpt-oss (chat/channel_parser.h)
  kJson,          // A JSON object or an array of them that is the whole answer: whatever else there is.
};
const char* tool_call_format_name(ToolCallFormat format);  // "hermes", "mistral_named" ...

// Recognised by the words that the template writes into earlier turns.
ToolCallFormat find_tool_call_format(std::string_view template_source);

struct ReasoningTags {
  std::string open;
  std::string close;
};
// "<think>" and "</think>", or "[THINK]" and "[/THINK]", where the template speaks of them; else empty.
ReasoningTags find_reasoning_tags(std::string_view template_source);

}  // namespace infer::chat
