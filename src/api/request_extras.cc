#include "api/request_extras.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "api/field_reader.h"
#include "base/format.h"

namespace infer::api {

namespace {

// Between our last byte and the moment at which the client gives up.
constexpr double kMarginShare = 0.02;
constexpr Duration kMarginLeast = Duration::from_ms(20);
constexpr Duration kMarginMost = Duration::from_ms(500);

std::optional<Duration> parse_seconds(std::string_view text) {
  double seconds = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (failure != std::errc()) return std::nullopt;
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  if (unit == "ms") {
    seconds *= 1e-3;
  } else if (unit == "m") {
    seconds *= 60;
  } else if (!unit.empty() && unit != "s") {
    return std::nullopt;
  }
  if (!(seconds > 0)) return std::nullopt;
  return Duration::from_seconds(std::min(seconds, kDeadlineMax.seconds()));
}

Duration with_margin(Duration timeout) {
  const Duration margin =
      std::clamp(Duration::from_seconds(timeout.seconds() * kMarginShare), kMarginLeast, kMarginMost);
  return std::max(timeout - margin, Duration::from_ms(1));
}

void check_timeout_header(const http::Headers& headers, std::optional<ApiError>& error) {
  const auto given = headers.find("X-Request-Timeout");
  if (error || !given || parse_seconds(*given)) return;
  error = ApiError{.message = "Invalid header X-Request-Timeout: expected seconds above 0, as 30, 1.5 or 500ms.",
                   .param = "X-Request-Timeout",
                   .code = "invalid_value"};
}

}  // namespace

std::optional<Instant> header_deadline(const http::Headers& headers, Instant arrived) {
  std::optional<Instant> earliest;
  for (const char* name : {"X-Request-Timeout", "X-Stainless-Timeout", "X-Stainless-Read-Timeout"}) {
    const auto given = headers.find(name);
    const std::optional<Duration> timeout = given ? parse_seconds(*given) : std::nullopt;
    if (!timeout) continue;
    const Instant when = arrived + with_margin(*timeout);
    earliest = earliest ? std::min(*earliest, when) : when;
  }
  return earliest;
}

RequestExtras read_extras(const Json& body, const http::Headers& headers, Instant arrived,
                          const RequestDefaults& defaults, std::optional<ApiError>& error) {
  check_timeout_header(headers, error);
  std::optional<Instant> deadline = header_deadline(headers, arrived);
  RequestExtras extras{.limits = {.total = Deadline::at(deadline.value_or(arrived + defaults.deadline)),
                                  .first_token = defaults.first_token,
                                  .stall = defaults.stall},
                       .staged = defaults.staged};
  FieldReader root(body, error);
  const Json* given = root.object("infer_os");
  if (given == nullptr) return extras;

  FieldReader fields = root.inside("infer_os", *given);
  const auto duration = [&fields](std::string_view name) -> std::optional<Duration> {
    constexpr int64_t kMsMax = static_cast<int64_t>(24) * 3600 * 1000;
    static_assert(Duration::from_ms(kMsMax) == kDeadlineMax);
    const std::optional<int64_t> ms = fields.integer(name, 1, kMsMax);
    return ms ? std::optional(Duration::from_ms(*ms)) : std::nullopt;
  };
  if (const auto total = duration("deadline_ms")) {
    const Instant when = arrived + *total;
    extras.limits.total = Deadline::at(deadline ? std::min(*deadline, when) : when);
  }
  if (const auto limit = duration("first_token_ms")) extras.limits.first_token = limit;
  if (const auto limit = duration("stall_ms")) extras.limits.stall = limit;
  extras.staged = fields.boolean("staged").value_or(defaults.staged);
  if (const auto priority = fields.text("priority")) {
    if (*priority == "high") {
      extras.priority = engine::Priority::kHigh;
    } else if (*priority == "low") {
      extras.priority = engine::Priority::kLow;
    } else if (*priority != "normal") {
      fields.fail("priority", "Invalid 'infer_os.priority': expected 'high', 'normal' or 'low'.");
    }
  }
  return extras;
}

}  // namespace infer::api
