// What Infer-OS adds to every request that generates, whatever API it comes through: how long it may take and who goes
// first. From the body's member "infer_os" (headers get lost in proxies) and from headers.
// Thread safety: pure functions.
#pragma once

#include <optional>

#include "api/api_error.h"
#include "api/json.h"
#include "base/time.h"
#include "engine/request.h"
#include "http/message.h"

namespace infer::api {

// The longest that a client may ask for.
inline constexpr Duration kDeadlineMax = Duration::from_seconds(24 * 3600);

// What requests get that do not say.
struct RequestDefaults {
  Duration deadline = Duration::from_seconds(600);
  std::optional<Duration> first_token{};  // Limits besides the deadline;
  std::optional<Duration> stall{};        // absent: none.
  bool staged = false;                    // Where time gets short, go on with smaller settings (engine/stages.h).
};

struct RequestExtras {
  engine::TimeLimits limits;
  engine::Priority priority = engine::Priority::kNormal;
  bool staged = false;
};

// When a request must be answered as far as its headers tell; nullopt where they tell nothing. X-Request-Timeout is a
// number of seconds, or a time like 500ms; X-Stainless-Timeout and X-Stainless-Read-Timeout are what OpenAI's libraries
// send of their own. The client stops listening then, so the instant is a little earlier: a part of an answer in time
// is worth more than nothing.
std::optional<Instant> header_deadline(const http::Headers& headers, Instant arrived);

// {"deadline_ms", "first_token_ms", "stall_ms", "priority": "high" | "normal" | "low", "staged"}. The deadline is the
// earliest that body and headers name; what they do not say is in `defaults`.
RequestExtras read_extras(const Json& body, const http::Headers& headers, Instant arrived,
                          const RequestDefaults& defaults, std::optional<ApiError>& error);

}  // namespace infer::api
