#include "engine/answer.h"

#include "base/format.h"

namespace infer::engine {

Status check_options(const GenerationOptions& options, int vocabulary) {
  if (options.tokens_max < -1) {
    return Error{
        ErrorCode::kInvalidArgument,
        format("the number of tokens to generate is {}: give 0 or more, or -1 for no limit", options.tokens_max)};
  }
  if (!options.grammar) return {};
  if (options.ignore_end_tokens) {
    return Error{ErrorCode::kInvalidArgument,
                 "a grammar ends with an end token, so they cannot be ignored: leave one of both out"};
  }
  const int prepared = options.grammar->trie().vocabulary_size();
  if (prepared == vocabulary) return {};
  return Error{ErrorCode::kInvalidArgument,
               format("the grammar was prepared for a vocabulary of {} tokens, but this one has {}: prepare it again",
                      prepared, vocabulary)};
}

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop: return "stop";
    case FinishReason::kLength: return "length";
    case FinishReason::kNoToken: return "no_token";
    case FinishReason::kDeadline: return "deadline";
    case FinishReason::kCancelled: return "cancelled";
    case FinishReason::kFailed: return "failed";
  }
  return "unknown";
}

}  // namespace infer::engine
