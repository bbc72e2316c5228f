// Heads of requests and responses: from bytes to checked values (RFC 9112 sections 2 to 6).
//
// Refused, besides what the grammar refuses: bare CR or LF, folded lines, space before a colon, control bytes, more
// than one Host or Content-Length, Content-Length beside Transfer-Encoding, any coding but "chunked", fields over the
// limits. Thread safety: pure functions and plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/limits.h"
#include "http/message.h"

namespace infer::http {

// How the end of a body is known.
struct Framing {
  enum class Kind { kNone, kLength, kChunked, kUntilClose };
  Kind kind = Kind::kNone;
  uint64_t length = 0;  // kLength only.
};

// Looks for the empty line that ends a head, over bytes that come piece by piece.
class HeadScanner {
 public:
  // `text` is everything since the head's first byte; each call gives at least what the one before gave.
  // Returns the head's length with its empty line, or 0 while it is not there.
  size_t scan(std::string_view text);
  bool first_line_ended() const { return line_start_ > 0; }
  bool has_begun() const { return seen_ > 0; }
  // A byte that no head may have was seen; what to say.
  const std::optional<Refusal>& refusal() const { return refusal_; }

 private:
  size_t seen_ = 0;
  size_t line_start_ = 0;
  std::optional<Refusal> refusal_;
};

struct RequestHead {
  std::string method;
  std::string target;
  std::string path;
  std::string query;
  int minor_version = 1;  // HTTP/1.minor
  Headers headers;
  Framing framing;
  bool keep_alive = true;
  bool expects_continue = false;
};

struct ResponseHead {
  int status = 0;
  int minor_version = 1;
  Headers headers;
  Framing framing;  // As for a GET; a response to HEAD has no body whatever its head says.
  bool keep_alive = true;
};

// `text` is a whole head as the scanner found it. Nullopt and a filled `head`, or why not.
std::optional<Refusal> parse_request_head(std::string_view text, const Limits& limits, RequestHead& head);
std::optional<Refusal> parse_response_head(std::string_view text, const Limits& limits, ResponseHead& head);

// Lines "Name: value\r\n" up to the end of `text`.
std::optional<Refusal> parse_fields(std::string_view text, size_t fields_max, Headers& headers);

}  // namespace infer::http
