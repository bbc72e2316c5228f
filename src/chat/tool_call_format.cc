#include "chat/tool_call_format.h"

namespace infer::chat {

const char* tool_call_format_name(ToolCallFormat format) {
  switch (format) {
    case ToolCallFormat::kHermes: return "hermes";
    case ToolCallFormat::kMistral: return "mistral";
    case ToolCallFormat::kMistralNamed: return "mistral_named";
    case ToolCallFormat::kHarmony: return "harmony";
    case ToolCallFormat::kLlama3: return "llama3";
    case ToolCallFormat::kJson: return "json";
  }
  return "unknown";
}

ToolCallFormat find_tool_call_format(std::string_view template_source) {
  const auto has = [template_source](std::string_view words) {
    return template_source.find(words) != std::string::npos;
  };
  if (has("<|channel|>")) return ToolCallFormat::kHarmony;
  if (has("[TOOL_CALLS]")) return has("[ARGS]") ? ToolCallFormat::kMistralNamed : ToolCallFormat::kMistral;
  if (has("<tool_call>")) return ToolCallFormat::kHermes;
  if (has("<|python_tag|>") || (has("<|start_header_id|>") && has("\"parameters\": "))) return ToolCallFormat::kLlama3;
  return ToolCallFormat::kJson;
}

ReasoningTags find_reasoning_tags(std::string_view template_source) {
  if (template_source.find("</think>") != std::string_view::npos) return {"<think>", "</think>"};
  if (template_source.find("[/THINK]") != std::string_view::npos) return {"[THINK]", "[/THINK]"};
  return {};
}

}  // namespace infer::chat
