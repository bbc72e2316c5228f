// The words that an AnswerParser looks for, and the tokens that hide them: vocabularies make control tokens of such
// words, and control tokens are no part of an answer's text unless it is asked for them.
// Thread safety: pure function.
#pragma once

#include <vector>

#include "base/ids.h"
#include "chat/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace infer::chat {

// The control tokens of the vocabulary that are words of the template's tool calls, thoughts or channels. Those that
// end an answer are not among them.
std::vector<TokenId> find_marker_tokens(const ChatTemplate& chat, const tokenizer::Tokenizer& tokenizer);

}  // namespace infer::chat
