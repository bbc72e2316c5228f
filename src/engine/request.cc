#include "engine/request.h"

#include <algorithm>

#include "base/format.h"
#include "engine/answer_text.h"

namespace infer::engine {

namespace {

Status check_tokens(const std::vector<TokenId>& prompt, int context, int vocabulary) {
  if (prompt.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "the prompt is empty and the model adds no BOS token: give at least one token"};
  }
  if (prompt.size() > static_cast<size_t>(context)) {
    return Error{
        ErrorCode::kInvalidArgument,
        format("the prompt has {} tokens, but the context holds {}: shorten the prompt or choose a larger context",
               prompt.size(), context)};
  }
  for (const TokenId token : prompt) {
    if (token >= 0 && token < vocabulary) continue;
    return Error{
        ErrorCode::kInvalidArgument,
        format("token {} is not in the vocabulary of {} tokens: use this model's own tokenizer", token, vocabulary)};
  }
  return {};
}

Status check_positive(const char* what, std::optional<Duration> limit) {
  if (!limit || limit->ns() > 0) return {};
  return Error{ErrorCode::kInvalidArgument, format("{} must be above zero, but is {} ms", what, limit->ms())};
}

}  // namespace

Status check_request(const Request& request, int context, int vocabulary) {
  INFER_TRY(check_tokens(request.prompt, context, vocabulary));
  INFER_TRY(request.sampling.validate_for(vocabulary));
  INFER_TRY(AnswerText::make(request.options.stops));
  INFER_TRY(check_options(request.options, vocabulary));
  if (request.answers < 1 || request.answers > kAnswersMax) {
    return Error{ErrorCode::kInvalidArgument,
                 format("a prompt gets 1 to {} answers, not {}", kAnswersMax, request.answers)};
  }
  if (request.top_logprobs < -1 || request.top_logprobs > kTopLogprobsMax) {
    return Error{ErrorCode::kInvalidArgument, format("log probabilities are given of 0 to {} tokens, not of {}",
                                                     kTopLogprobsMax, request.top_logprobs)};
  }
  if (request.pooling && request.answers != 1) {
    return Error{ErrorCode::kInvalidArgument,
                 format("a text has one embedding, but {} answers are asked for", request.answers)};
  }
  INFER_TRY(check_positive("the limit of the first token", request.limits.first_token));
  INFER_TRY(check_positive("the stall limit", request.limits.stall));
  for (const Stage& stage : request.stages) {
    INFER_TRY(check_positive("the limit of a stage", stage.limit));
    INFER_TRY(stage_sampling(stage, request.sampling).validate());
  }
  return {};
}

const char* passed_limit_name(PassedLimit limit) {
  switch (limit) {
    case PassedLimit::kNone: return "none";
    case PassedLimit::kTotal: return "total";
    case PassedLimit::kFirstToken: return "first_token";
    case PassedLimit::kStall: return "stall";
    case PassedLimit::kStages: return "stages";
  }
  return "unknown";
}

}  // namespace infer::engine
