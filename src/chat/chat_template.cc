#include "chat/chat_template.h"

#include "base/format.h"
#include "jinja/json_reader.h"

namespace infer::chat {
namespace {

using jinja::DictBuilder;
using jinja::Heap;
using jinja::ListBuilder;
using jinja::Origin;
using jinja::Value;

constexpr std::string_view kToolTemplateKey = "tokenizer.chat_template.tool_use";

constexpr std::string_view kFallbackSource =
    "{% for message in messages %}{{ message.content }}{% if not loop.last %}{{ '\\n' }}{% endif %}{% endfor %}";

Result<Value> tool_call_value(const ToolCall& call, Heap& heap) {
  auto arguments = jinja::read_json(call.arguments.empty() ? "{}" : call.arguments, Origin::kInput, heap);
  if (!arguments && arguments.error().code != ErrorCode::kCorrupt) return std::move(arguments).error();
  // What a model wrote is not always JSON; templates take a text too.
  if (!arguments) arguments = heap.string(call.arguments, Origin::kInput);
  DictBuilder function(heap);
  function.add("name", heap.string(call.name, Origin::kInput));
  function.add("arguments", *arguments);
  DictBuilder dict(heap);
  if (!call.id.empty()) dict.add("id", heap.string(call.id, Origin::kInput));
  dict.add("type", heap.string("function", Origin::kTemplate));
  dict.add("function", function.finish());
  return dict.finish();
}

// What is not told is left out: templates ask whether a key is there.
Result<Value> message_value(const Message& message, Heap& heap) {
  DictBuilder dict(heap);
  const auto add = [&](std::string_view key, const std::string& text) {
    if (!text.empty()) dict.add(key, heap.string(text, Origin::kInput));
  };
  dict.add("role", heap.string(message.role, Origin::kInput));
  dict.add("content", heap.string(message.content, Origin::kInput));
  add("reasoning_content", message.reasoning);
  add("thinking", message.reasoning);
  add("name", message.name);
  add("tool_call_id", message.tool_call_id);
  if (!message.tool_calls.empty()) {
    ListBuilder calls(heap);
    for (const ToolCall& call : message.tool_calls) {
      INFER_ASSIGN(const Value value, tool_call_value(call, heap));
      calls.push(value);
    }
    dict.add("tool_calls", calls.finish());
  }
  return dict.finish();
}

Prompt as_prompt(const jinja::Text& text) {
  Prompt prompt{text.bytes(), {}};
  size_t begin = 0;
  for (const jinja::Text::Run& run : text.runs()) {
    if (run.origin == Origin::kInput) prompt.untrusted.push_back({begin, run.end});
    begin = run.end;
  }
  return prompt;
}

std::string_view text_of(const tokenizer::Tokenizer& tokenizer, TokenId token) {
  return token == kNoToken ? std::string_view() : tokenizer.token_text(token);
}

// "" when the key is not there.
Result<std::string_view> read_source(const gguf::File& file, std::string_view key) {
  return file.get_string_or(key, "");
}

}  // namespace

ChatTemplate::ChatTemplate(jinja::Template general, std::string_view source, std::string_view bos, std::string_view eos)
    : general_(std::move(general)),
      bos_(bos),
      eos_(eos),
      tool_call_format_(find_tool_call_format(source)),
      reasoning_tags_(find_reasoning_tags(source)) {}

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::parse(std::string_view source, std::string_view bos,
                                                          std::string_view eos) {
  auto parsed = jinja::Template::parse(source);
  if (!parsed) return std::move(parsed).error().with_context("chat template");
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(*std::move(parsed), source, bos, eos));
}

std::unique_ptr<ChatTemplate> ChatTemplate::fallback() {
  auto chat = parse(kFallbackSource, "", "").value();
  chat->is_fallback_ = true;
  return chat;
}

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::from_gguf(const gguf::File& file,
                                                              const tokenizer::Tokenizer& tokenizer) {
  INFER_ASSIGN(const std::string_view source, read_source(file, kTemplateKey));
  INFER_ASSIGN(const std::string_view tool_source, read_source(file, kToolTemplateKey));
  if (source.empty()) return fallback();
  INFER_ASSIGN(auto chat, parse(source, text_of(tokenizer, tokenizer.bos()), text_of(tokenizer, tokenizer.eos())));
  if (tool_source.empty()) return chat;
  auto parsed = jinja::Template::parse(tool_source);
  if (!parsed) return std::move(parsed).error().with_context("chat template for tools");
  chat->for_tools_ = *std::move(parsed);
  chat->tool_call_format_ = find_tool_call_format(tool_source);
  return chat;
}

Result<Value> ChatTemplate::variables_of(const PromptRequest& request, const ChatTemplate& chat, Heap& heap) {
  ListBuilder messages(heap);
  for (const Message& message : request.messages) {
    INFER_ASSIGN(const Value value, message_value(message, heap));
    messages.push(value);
  }
  DictBuilder dict(heap);
  // First, so that the variables below can change them as they can for Hugging Face.
  dict.add("bos_token", heap.string(chat.bos_, Origin::kTemplate));
  dict.add("eos_token", heap.string(chat.eos_, Origin::kTemplate));
  dict.add("messages", messages.finish());
  dict.add("add_generation_prompt", Value::of(request.add_generation_prompt));
  // Not given is none, and not undefined, as with Hugging Face.
  Value given_tools = Value::none();
  if (!request.tools.empty()) {
    auto tools = jinja::read_json(request.tools, Origin::kInput, heap);
    if (!tools) return std::move(tools).error().with_context("tools");
    if (!tools->is(jinja::Kind::kList)) return Error{ErrorCode::kInvalidArgument, "tools are not a JSON array"};
    given_tools = *tools;
  }
  dict.add("tools", given_tools);
  dict.add("documents", Value::none());
  for (const auto& [name, json] : request.variables) {
    auto value = jinja::read_json(json, Origin::kInput, heap);
    if (!value) return std::move(value).error().with_context(format("template variable {}", name));
    dict.set(heap.string(name, Origin::kInput), *value);
  }
  return dict.finish();
}

Result<Prompt> ChatTemplate::render(const PromptRequest& request) const {
  Heap heap{jinja::Limits()};
  auto variables = variables_of(request, *this, heap);
  if (!variables) {  // JSON of the request, not of a file.
    const bool is_broken = variables.error().code == ErrorCode::kCorrupt;
    return Error{is_broken ? ErrorCode::kInvalidArgument : variables.error().code, variables.error().message};
  }
  const jinja::Template& chosen = !request.tools.empty() && for_tools_ ? *for_tools_ : general_;
  auto text = chosen.render(*variables, heap, request.now);
  if (!text) return std::move(text).error().with_context("chat template");
  return as_prompt(*text);
}

bool ChatTemplate::takes_tools() const { return for_tools_.has_value() || general_.mentions("tools"); }
bool ChatTemplate::takes(std::string_view variable) const { return general_.mentions(variable); }

std::vector<TokenId> encode(const Prompt& prompt, const tokenizer::Tokenizer& tokenizer) {
  const std::string_view bos = text_of(tokenizer, tokenizer.bos());
  const bool begins_with_bos = !bos.empty() && prompt.text.compare(0, bos.size(), bos) == 0 &&
                               (prompt.untrusted.empty() || prompt.untrusted.front().begin >= bos.size());
  std::vector<TokenId> tokens;
  if (tokenizer.adds_bos() && tokenizer.bos() != kNoToken && !begins_with_bos) tokens.push_back(tokenizer.bos());
  const std::vector<TokenId> rest =
      tokenizer.encode(prompt.text, {.add_special = false, .parse_special = true, .untrusted = prompt.untrusted});
  tokens.insert(tokens.end(), rest.begin(), rest.end());
  return tokens;
}

}  // namespace infer::chat
