#include "chat/dialogue.h"

#include <algorithm>

namespace infer::chat {
namespace {

// A prompt without its first bytes.
Prompt rest_of(const Prompt& prompt, size_t bytes) {
  Prompt rest{prompt.text.substr(bytes), {}};
  for (const tokenizer::TextRange& range : prompt.untrusted) {
    if (range.end <= bytes) continue;
    rest.untrusted.push_back({std::max(range.begin, bytes) - bytes, range.end - bytes});
  }
  return rest;
}

}  // namespace

Dialogue::Dialogue(const ChatTemplate& chat, const tokenizer::Tokenizer& tokenizer, std::string system)
    : chat_(chat), tokenizer_(tokenizer), system_(std::move(system)) {
  clear();
}

void Dialogue::clear() {
  messages_.clear();
  read_.clear();
  if (!system_.empty()) messages_.push_back(Message{"system", system_, {}, {}, {}, {}});
}

Result<Dialogue::Turn> Dialogue::ask(std::string_view text, WallTime now) {
  PromptRequest request{.messages = messages_, .tools = {}, .variables = {}, .now = now};
  request.messages.push_back(Message{"user", std::string(text), {}, {}, {}, {}});
  INFER_ASSIGN(Prompt prompt, chat_.render(request));
  Turn turn{.tokens = {}, .continues = !read_.empty() && prompt.text.compare(0, read_.size(), read_) == 0};
  if (turn.continues) {
    const Prompt rest = rest_of(prompt, read_.size());
    turn.tokens =
        tokenizer_.encode(rest.text, {.add_special = false, .parse_special = true, .untrusted = rest.untrusted});
  } else {
    turn.tokens = encode(prompt, tokenizer_);
  }
  messages_ = std::move(request.messages);
  asked_ = std::move(prompt.text);
  return turn;
}

void Dialogue::answered(std::string_view text) {
  messages_.push_back(Message{"assistant", std::string(text), {}, {}, {}, {}});
  read_ = asked_.append(text);
  asked_.clear();
}

void Dialogue::withdraw() {
  messages_.pop_back();
  asked_.clear();
}

}  // namespace infer::chat
