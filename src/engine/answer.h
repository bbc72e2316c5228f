// What is asked of an answer, and how an answer ended. Plain values.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "grammar/token_automaton.h"

namespace infer::engine {

struct GenerationOptions {
  int tokens_max = -1;               // Most tokens to generate in this turn; -1: until the context is full.
  bool ignore_end_tokens = false;    // Go on after an end-of-generation token (measurements).
  std::vector<std::string> stops{};  // Generation ends before any of these; empty strings are refused.
  // Control tokens that are part of the text, by their names; the others are not shown.
  std::vector<TokenId> shown_controls{};
  // The answer follows this grammar from its start; null: any text. Made with the trie of the conversation's tokenizer.
  // With a grammar that may end, end-of-generation tokens are needed, so it excludes ignore_end_tokens.
  std::shared_ptr<grammar::TokenAutomaton> grammar{};

  bool shows(TokenId token) const {
    return std::find(shown_controls.begin(), shown_controls.end(), token) != shown_controls.end();
  }
};

// kInvalidArgument, with what is allowed. Stop strings are AnswerText's to check. vocabulary: of the tokenizer.
Status check_options(const GenerationOptions& options, int vocabulary);

enum class FinishReason {
  kStop,     // An end-of-generation token, a stop string, or a grammar's text to which nothing can be added.
  kLength,   // tokens_max, or the context is full.
  kNoToken,  // The grammar goes on with bytes that no token of the vocabulary has.
  kDeadline,
  kCancelled,
  kFailed,  // An error, which goes with it.
};
inline constexpr size_t kFinishReasonCount = 6;
const char* finish_reason_name(FinishReason reason);  // "stop", "length", "no_token", "deadline", "cancelled", "failed"

}  // namespace infer::engine
