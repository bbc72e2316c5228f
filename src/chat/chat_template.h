// From a conversation to the text that a model continues, by the template in its file.
//
// GGUF files carry Jinja templates (tokenizer.chat_template, and tokenizer.chat_template.tool_use for conversations
// with tools). A model without one gets a fallback: every message on a line of its own, no roles, which is what a base
// model that continues texts can make something of. What messages, tools and variables say cannot become control
// tokens: a prompt tells which of its bytes they are, and encode() reads special tokens in the others only. Thread
// safety: const, shared freely. Ownership: owns the parsed templates; the gguf::File may go.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "chat/message.h"
#include "chat/tool_call_format.h"
#include "gguf/file.h"
#include "jinja/template.h"
#include "tokenizer/text_range.h"
#include "tokenizer/tokenizer.h"

namespace infer::chat {

// Where a GGUF file has its template.
inline constexpr std::string_view kTemplateKey = "tokenizer.chat_template";

struct PromptRequest {
  std::vector<Message> messages;
  std::string tools;                  // A JSON array of tools as OpenAI's API has them; "": none.
  bool add_generation_prompt = true;  // End where the assistant's answer begins.
  // Further variables of the template, each a name and a JSON text: enable_thinking, "true".
  std::vector<std::pair<std::string, std::string>> variables;
  WallTime now;  // What the template may tell as today's date, in UTC.
};

struct Prompt {
  std::string text;
  std::vector<tokenizer::TextRange> untrusted;  // What came from the request; ascending and apart.
};

class ChatTemplate {
 public:
  // The template of a model file, or the fallback. kCorrupt and kUnsupported, with line and column, when the template
  // cannot be parsed.
  static Result<std::unique_ptr<ChatTemplate>> from_gguf(const gguf::File& file, const tokenizer::Tokenizer& tokenizer);
  // A template of one's own. `bos` and `eos`: the texts of these tokens, which templates may put in.
  static Result<std::unique_ptr<ChatTemplate>> parse(std::string_view source, std::string_view bos,
                                                     std::string_view eos);
  static std::unique_ptr<ChatTemplate> fallback();

  // kInvalidArgument: the template refuses these messages, or JSON of the request is broken; kExhausted: a limit of
  // jinja/limits.h.
  Result<Prompt> render(const PromptRequest& request) const;

  bool is_fallback() const { return is_fallback_; }
  ToolCallFormat tool_call_format() const { return tool_call_format_; }
  // The tags around what the model thinks before it answers; empty: it does not think, or not in a way known here.
  const ReasoningTags& reasoning_tags() const { return reasoning_tags_; }
  // Whether the template does anything with tools, and with a variable of that name.
  bool takes_tools() const;
  bool takes(std::string_view variable) const;

 private:
  ChatTemplate(jinja::Template general, std::string_view source, std::string_view bos, std::string_view eos);
  static Result<jinja::Value> variables_of(const PromptRequest& request, const ChatTemplate& chat, jinja::Heap& heap);

  jinja::Template general_;
  std::optional<jinja::Template> for_tools_;
  std::string bos_;
  std::string eos_;
  ToolCallFormat tool_call_format_ = ToolCallFormat::kJson;
  ReasoningTags reasoning_tags_;
  bool is_fallback_ = false;
};

// The tokens of a prompt. BOS stands first once: where the text already begins with it, no second one is put in front.
std::vector<TokenId> encode(const Prompt& prompt, const tokenizer::Tokenizer& tokenizer);

}  // namespace infer::chat
