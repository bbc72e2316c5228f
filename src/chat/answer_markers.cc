#include "chat/answer_markers.h"

#include <algorithm>
#include <string_view>

namespace infer::chat {

namespace {

std::vector<std::string_view> marker_words(const ChatTemplate& chat) {
  std::vector<std::string_view> words;
  switch (chat.tool_call_format()) {
    case ToolCallFormat::kHermes: words = {"<tool_call>", "</tool_call>"}; break;
    case ToolCallFormat::kMistral:
    case ToolCallFormat::kMistralNamed: words = {"[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"}; break;
    case ToolCallFormat::kLlama3: words = {"<|python_tag|>"}; break;
    case ToolCallFormat::kHarmony:
      words = {"<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>"};
      break;
    case ToolCallFormat::kJson: break;
  }
  const ReasoningTags& tags = chat.reasoning_tags();
  if (!tags.open.empty()) words.insert(words.end(), {tags.open, tags.close});
  return words;
}

}  // namespace

std::vector<TokenId> find_marker_tokens(const ChatTemplate& chat, const tokenizer::Tokenizer& tokenizer) {
  const std::vector<std::string_view> words = marker_words(chat);
  std::vector<TokenId> found;
  for (TokenId token = 0; !words.empty() && token < tokenizer.vocabulary_size(); ++token) {
    if (tokenizer.token_kind(token) != tokenizer::TokenKind::kControl || tokenizer.ends_generation(token)) continue;
    if (std::find(words.begin(), words.end(), tokenizer.token_text(token)) != words.end()) found.push_back(token);
  }
  return found;
}

}  // namespace infer::chat
