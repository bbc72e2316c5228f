#include "api/answer_facts.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace infer::api {

namespace {

// JSON has no infinities; this is what OpenAI gives for a token that is as good as impossible.
constexpr double kLogprobLeast = -9999;

Json ms_between(const std::optional<Instant>& from, const std::optional<Instant>& to) {
  return from && to ? Json((*to - *from).ms()) : Json();
}

Json per_second(int tokens, const Json& ms) {
  const std::optional<double> time = ms.as_double();
  return tokens > 0 && time && *time > 0 ? Json(tokens * 1000.0 / *time) : Json();
}

Json per_token(int tokens, const Json& ms) {
  const std::optional<double> time = ms.as_double();
  return tokens > 0 && time ? Json(*time / tokens) : Json();
}

const char* cancel_reason_name(CancelReason reason) {
  switch (reason) {
    case CancelReason::kNone: return "none";
    case CancelReason::kClientGone: return "client_gone";
    case CancelReason::kUser: return "user";
    case CancelReason::kShutdown: return "shutdown";
    case CancelReason::kPolicy: return "policy";
  }
  return "unknown";
}

Json token_json(const sampling::TokenLogprob& given, const tokenizer::Tokenizer& tokenizer) {
  const std::string bytes = tokenizer.piece(given.token, true);
  Json list = Json::array();
  for (const char byte : bytes) list.push(static_cast<int>(static_cast<unsigned char>(byte)));
  return Json::object()
      .set("token", bytes)
      .set("logprob", std::max(static_cast<double>(given.logprob), kLogprobLeast))
      .set("bytes", std::move(list));
}

}  // namespace

void Usage::add(const engine::RequestResult& result, bool shares_prompt) {
  generated_tokens += result.generated_tokens;
  if (shares_prompt) return;
  prompt_tokens += result.prompt_tokens;
  cached_tokens += result.cached_tokens;
}

Json usage_json(const Usage& usage) {
  return Json::object()
      .set("prompt_tokens", usage.prompt_tokens)
      .set("completion_tokens", usage.generated_tokens)
      .set("total_tokens", usage.prompt_tokens + usage.generated_tokens)
      .set("prompt_tokens_details", Json::object().set("cached_tokens", usage.cached_tokens));
}

Json timings_json(const engine::RequestResult& result) {
  const int prompt_n = result.prompt_tokens - result.cached_tokens;
  const Json prompt_ms = ms_between(result.started, result.first_token);
  const Json predicted_ms = ms_between(result.first_token, result.last_token);
  // The first token came with the prompt.
  const int intervals = result.generated_tokens - 1;
  return Json::object()
      .set("cache_n", result.cached_tokens)
      .set("prompt_n", prompt_n)
      .set("prompt_ms", prompt_ms)
      .set("prompt_per_token_ms", per_token(prompt_n, prompt_ms))
      .set("prompt_per_second", per_second(prompt_n, prompt_ms))
      .set("predicted_n", result.generated_tokens)
      .set("predicted_ms", predicted_ms)
      .set("predicted_per_token_ms", per_token(intervals, predicted_ms))
      .set("predicted_per_second", per_second(intervals, predicted_ms));
}

Json infer_os_json(const AnswerFacts& facts, const engine::RequestResult& result) {
  const bool late = result.finish_reason == engine::FinishReason::kDeadline;
  const bool cancelled = result.finish_reason == engine::FinishReason::kCancelled;
  return Json::object()
      .set("request_id", facts.id)
      .set("finish_reason", engine::finish_reason_name(result.finish_reason))
      .set("stage", result.stage)
      .set("passed_limit", late ? Json(engine::passed_limit_name(result.passed_limit)) : Json())
      .set("cancel_reason", cancelled ? Json(cancel_reason_name(result.cancel_reason)) : Json())
      .set("deadline_slack_ms", (facts.deadline - result.ended).ms())
      .set("queue_ms", ms_between(result.submitted, result.started))
      .set("time_to_first_token_ms", ms_between(result.submitted, result.first_token))
      .set("total_ms", ms_between(result.submitted, result.ended))
      .set("cached_tokens", result.cached_tokens)
      .set("computed_tokens", result.computed_tokens)
      .set("kv_bytes", result.kv_bytes)
      .set("kv_bytes_f16", result.kv_bytes_f16)
      .set("kv_levels", Json::object()
                            .set("L0", result.kv_pages[0])
                            .set("L1", result.kv_pages[1])
                            .set("L2", result.kv_pages[2])
                            .set("L3", result.kv_pages[3]))
      .set("kv_expected_kld", result.kv_expected_divergence ? Json(*result.kv_expected_divergence) : Json())
      .set("seed", facts.seed);
}

std::string_view finish_reason_of(const engine::RequestResult& result) {
  return result.finish_reason == engine::FinishReason::kStop ? "stop" : "length";
}

Json logprob_json(const sampling::Logprobs& logprobs, const tokenizer::Tokenizer& tokenizer) {
  Json top = Json::array();
  for (const sampling::TokenLogprob& each : logprobs.top) top.push(token_json(each, tokenizer));
  return token_json(logprobs.chosen, tokenizer).set("top_logprobs", std::move(top));
}

}  // namespace infer::api
