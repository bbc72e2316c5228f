// What a client of the OpenAI API is told when its request fails: {"error": {"message", "type", "param", "code"}} under
// a status, with the headers by which its library decides whether to try again.
// Thread safety: plain values, pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/json.h"
#include "base/result.h"
#include "base/time.h"
#include "http/message.h"

namespace infer::api {

// OpenAI's client libraries repeat what failed with 408, 409, 429 or 5xx, unless a header says not to.
enum class Retry {
  kAsStatusSays,
  kNever,  // It would fail again, or be too late.
};

struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::string param{};  // The field at fault, "messages[0].role"; "": null.
  std::string code{};   // "": null.
  Retry retry = Retry::kAsStatusSays;
  std::optional<Duration> retry_after{};  // When it may succeed.
};

Json error_json(const ApiError& error);
http::Response error_response(const ApiError& error);

// What a layer below said, as its code means to a client: 400, 503 (busy, shutting down), 504 (too late), 500.
ApiError api_error_of(const Error& error);
ApiError overloaded(std::string message, std::optional<Duration> retry_after);
ApiError deadline_passed(std::string message);
inline constexpr std::string_view kShuttingDown = "shutting_down";  // The code of
ApiError shutting_down();

// A refusal of the server, before any handler saw the request.
http::Response openai_refusal(const http::Refusal& refusal, std::string_view path);

}  // namespace infer::api
