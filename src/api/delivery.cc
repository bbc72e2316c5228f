#include "api/delivery.h"

#include <algorithm>
#include <utility>

#include "base/format.h"

namespace infer::api {

namespace {

// Bytes of a stream that are put together before they are sent.
constexpr size_t kPushBytes = 16 << 10;
// nginx's status for a request whose client closed it; here: that asked for its end by another connection.
constexpr int kClosedByClient = 499;

ApiError cancelled(CancelReason reason) {
  if (reason == CancelReason::kShutdown) return shutting_down();
  return {
      .status = kClosedByClient, .message = "the request was cancelled", .code = "cancelled", .retry = Retry::kNever};
}

std::string_view passed_limit_text(engine::PassedLimit limit) {
  switch (limit) {
    case engine::PassedLimit::kFirstToken: return "first_token_ms passed";
    case engine::PassedLimit::kStall: return "stall_ms passed";
    default: return "the deadline passed";
  }
}

// What makes a result an error rather than an answer: a failure, or an end before the first token that the client did
// not get to see.
std::optional<ApiError> error_of(const engine::RequestResult& result) {
  if (result.finish_reason == engine::FinishReason::kFailed) {
    ApiError error = api_error_of(result.error.value_or(Error{ErrorCode::kInternal, "the engine gave no reason"}));
    if (error.status < 500) return error;
    error.type = "server_error";
    return error;
  }
  if (result.generated_tokens > 0) return std::nullopt;
  if (result.finish_reason == engine::FinishReason::kDeadline) {
    return deadline_passed(
        format("{} before the first token: {} prompt tokens, of which {} were in the cache; what was computed of them "
               "stays there, so that a next try has less to do",
               passed_limit_text(result.passed_limit), result.prompt_tokens, result.cached_tokens));
  }
  if (result.finish_reason == engine::FinishReason::kCancelled) return cancelled(result.cancel_reason);
  return std::nullopt;
}

// Of all choices together: any failure, or else an error that all have.
std::optional<ApiError> error_of(const Call& call) {
  std::optional<ApiError> first;
  bool all = true;
  for (const Choice& choice : call.choices) {
    const engine::RequestResult& result = choice.handle->result();
    std::optional<ApiError> error = error_of(result);
    if (error && result.finish_reason == engine::FinishReason::kFailed) return error;
    all = all && error;
    if (!first) first = std::move(error);
  }
  return all ? first : std::nullopt;
}

void reply(Call& call, http::Response response) {
  response.headers.set("X-Request-Id", call.id);
  call.sink.reply(std::move(response));
}

void begin(Call& call) {
  call.has_begun = true;
  if (!call.is_stream) return;
  http::StreamHead head = call.writer->stream_head();
  head.headers.set("X-Request-Id", call.id);
  call.sink.start_stream(std::move(head));
  call.unsent = call.writer->begin();
}

// False when the connection has no room for it.
bool flush(Call& call) {
  if (call.unsent.empty()) return true;
  const bool has_room = call.sink.push(call.unsent) != http::PushResult::kFull;
  if (has_room) call.unsent.clear();
  return has_room;
}

// Takes pieces until there are none, or enough to be sent. kOver: all choices have ended.
Delivery take_pieces(Call& call) {
  bool all_ended = true, any = false;
  for (size_t i = 0; i < call.choices.size(); ++i) {
    Choice& choice = call.choices[i];
    while (!choice.ended && call.unsent.size() < kPushBytes) {
      const bool last = choice.handle->finished();  // Before looking for pieces: none comes after.
      if (std::optional<engine::AnswerPiece> piece = choice.handle->take()) {
        any = true;
        if (call.log_content != nullptr) choice.said += piece->text;
        call.unsent += call.writer->add(i, *std::move(piece));
        continue;
      }
      if (!last) break;
      choice.ended = true;
      const engine::RequestResult& result = choice.handle->result();
      if (call.recorder) call.recorder->record_request(result);
      if (call.log_content != nullptr) (*call.log_content)(call.id, "answered", choice.said);
      const bool is_whole_error = call.choices.size() == 1 || result.finish_reason == engine::FinishReason::kFailed;
      if (!is_whole_error || !error_of(result)) call.unsent += call.writer->end_choice(i, result);
    }
    all_ended = all_ended && choice.ended;
  }
  if (all_ended) return Delivery::kOver;
  return any ? Delivery::kPieces : Delivery::kNothing;
}

// Why the engine never had a request; nullopt: because nobody wants it any more, or the server ends.
std::optional<telemetry::Rejection> rejection_of(const ApiError& error) {
  using telemetry::Rejection;
  if (error.status == kClosedByClient || error.code == kShuttingDown) return std::nullopt;
  if (error.status == 503) return Rejection::kQueueFull;
  if (error.status == 504) return Rejection::kDeadline;
  return error.code == "context_length_exceeded" ? Rejection::kTooLong : Rejection::kInvalid;
}

void finish(Call& call) {
  const std::optional<ApiError> error = error_of(call);
  if (!call.is_stream) {
    reply(call,
          error ? error_response(*error) : http::make_response(200, "application/json", call.writer->whole().dump()));
    return;
  }
  call.unsent += error ? call.writer->failed(*error) : call.writer->end();
}

Delivery deliver_unprepared(Call& call, Instant now) {
  if (call.cancel.token().cancelled()) {
    reject(call, cancelled(call.cancel.token().reason()));
    return Delivery::kOver;
  }
  if (!call.deadline().passed(now)) return Delivery::kNothing;
  reject(call, deadline_passed("the deadline passed before the request could be computed"));
  call.cancel.cancel(CancelReason::kPolicy);  // Whoever prepares it need not go on.
  return Delivery::kOver;
}

}  // namespace

Delivery deliver(Call& call, Instant now) {
  if (call.sink.is_client_gone()) {
    call.cancel.cancel(CancelReason::kClientGone);
    return Delivery::kOver;
  }
  if (!call.prepared.load(std::memory_order_acquire)) return deliver_unprepared(call, now);
  if (call.error) {
    reject(call, call.cancel.token().cancelled() ? cancelled(call.cancel.token().reason()) : *call.error);
    return Delivery::kOver;
  }
  if (!call.has_begun) begin(call);
  if (call.cancel.token().cancelled() && !call.cancel_passed_on) {
    call.cancel_passed_on = true;
    for (Choice& choice : call.choices) choice.handle->cancel(call.cancel.token().reason());
  }
  const auto ended = [&call] {
    return std::all_of(call.choices.begin(), call.choices.end(), [](const Choice& choice) { return choice.ended; });
  };
  Delivery done = Delivery::kNothing;
  while (flush(call)) {
    if (call.is_stream && ended()) {  // And its last words are sent.
      call.sink.finish();
      return Delivery::kOver;
    }
    const Delivery taken = take_pieces(call);
    if (taken == Delivery::kOver) {
      finish(call);
      if (!call.is_stream) return Delivery::kOver;
      continue;
    }
    if (taken == Delivery::kPieces) done = Delivery::kPieces;
    if (call.unsent.empty()) break;
  }
  return done;
}

void reject(Call& call, const ApiError& error) {
  if (call.has_begun) return;
  if (const auto why = rejection_of(error); why && call.recorder) call.recorder->record_rejection(*why);
  reply(call, error_response(error));
}

}  // namespace infer::api
