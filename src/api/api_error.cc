#include "api/api_error.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/format.h"

namespace infer::api {

namespace {

// What is said where nothing is known of how long it will take.
constexpr Duration kRetryAfter = Duration::from_seconds(1);
// Longer than a client would wait anyway.
constexpr double kRetrySecondsMax = 600;

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

std::string code_of_status(int status) {
  switch (status) {
    case 401: return "invalid_api_key";
    case 404: return "unknown_url";
    case 405: return "method_not_allowed";
    case 413: return "request_too_large";
    case 503: return "overloaded";
    default: return "";
  }
}

}  // namespace

Json error_json(const ApiError& error) {
  Json inner = Json::object();
  inner.set("message", error.message)
      .set("type", error.type)
      .set("param", text_or_null(error.param))
      .set("code", text_or_null(error.code));
  return Json::object().set("error", std::move(inner));
}

http::Response error_response(const ApiError& error) {
  http::Response response = http::make_response(error.status, "application/json", error_json(error).dump());
  if (error.retry == Retry::kNever) response.headers.add("X-Should-Retry", "false");
  if (error.retry_after) {
    const double seconds = std::clamp(error.retry_after->seconds(), 0.0, kRetrySecondsMax);
    response.headers.add("Retry-After", format("{}", static_cast<int>(std::ceil(seconds))));
    response.headers.add("Retry-After-Ms", format("{}", static_cast<int>(std::ceil(seconds * 1000))));
  }
  return response;
}

ApiError api_error_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kCorrupt: return {.message = error.message};
    case ErrorCode::kNotFound: return {.status = 404, .message = error.message};
    case ErrorCode::kUnsupported: return {.message = error.message, .code = "unsupported_value"};
    case ErrorCode::kExhausted: return {.message = error.message, .code = "too_large"};
    case ErrorCode::kBusy: return overloaded(error.message, std::nullopt);
    case ErrorCode::kDeadline: return deadline_passed(error.message);
    case ErrorCode::kCancelled: return overloaded(error.message, std::nullopt);
    case ErrorCode::kIo:
    case ErrorCode::kInternal: break;
  }
  return {.status = 500, .message = error.message, .type = "server_error", .code = "internal_error"};
}

ApiError overloaded(std::string message, std::optional<Duration> retry_after) {
  return {.status = 503,
          .message = std::move(message),
          .type = "server_error",
          .code = "overloaded",
          .retry_after = retry_after.value_or(kRetryAfter)};
}

ApiError deadline_passed(std::string message) {
  return {.status = 504,
          .message = std::move(message),
          .type = "server_error",
          .code = "deadline_exceeded",
          .retry = Retry::kNever};
}

ApiError shutting_down() {
  ApiError error = overloaded("the server is shutting down", std::nullopt);
  error.code = kShuttingDown;
  return error;
}

http::Response openai_refusal(const http::Refusal& refusal, std::string_view path) {
  ApiError error{.status = refusal.status, .message = refusal.message, .code = code_of_status(refusal.status)};
  if (refusal.status == 404 && !path.empty()) {
    error.message =
        format("there is no {}: GET /v1/models lists what is served, docs/formats/openai_api.md the routes", path);
  }
  if (refusal.status >= 500) error.type = "server_error";
  return error_response(error);
}

}  // namespace infer::api
