// A conversation with one user, turn by turn, for a model whose KV cache keeps what it has read.
//
// The template renders the whole conversation every time. Where that begins with what the model has read and written so
// far, only the rest must be read; where it does not (templates that leave earlier thoughts out, or trim answers), all
// of it, from the start. Thread safety: none. Ownership: borrows the template and the tokenizer, which must outlive it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "chat/chat_template.h"
#include "chat/message.h"
#include "tokenizer/tokenizer.h"

namespace infer::chat {

class Dialogue {
 public:
  // `system`: what the system message says; "": there is none.
  Dialogue(const ChatTemplate& chat, const tokenizer::Tokenizer& tokenizer, std::string system);

  struct Turn {
    std::vector<TokenId> tokens;
    bool continues;  // Behind what the model has read; else it has to start afresh.
  };
  // The user's next message. An error, such as messages that the template refuses, leaves everything as it was. After a
  // turn comes answered() or withdraw().
  Result<Turn> ask(std::string_view text, WallTime now);
  // What the model wrote; it has read the turn's tokens and its own.
  void answered(std::string_view text);
  // The turn did not take place.
  void withdraw();

  // The KV cache is gone: the next turn starts afresh.
  void forget_reading() { read_.clear(); }
  // Back to the system message.
  void clear();

 private:
  const ChatTemplate& chat_;
  const tokenizer::Tokenizer& tokenizer_;
  std::string system_;
  std::vector<Message> messages_;
  std::string read_;   // All text that the model has read and written; "": nothing.
  std::string asked_;  // The prompt of the turn at hand.
};

}  // namespace infer::chat
