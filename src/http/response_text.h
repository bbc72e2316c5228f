// Responses as bytes. The framing fields are written here and nowhere else.
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "http/message.h"

namespace infer::http {

enum class BodyFraming {
  kNone,        // No body and no length: 1xx, 204, 304.
  kLength,      // Content-Length
  kChunked,     // Transfer-Encoding: chunked
  kUntilClose,  // Streams to HTTP/1.0.
};

struct ResponseFrame {
  BodyFraming framing = BodyFraming::kLength;
  size_t length = 0;  // kLength only.
  bool keep_alive = true;
  int minor_version = 1;  // Of the request: HTTP/1.0 must be told that the connection stays.
  WallTime date;
};

// "HTTP/1.1 200 OK" to the empty line. Fields of `headers` that frame or date a message are left out.
void append_response_head(int status, const Headers& headers, const ResponseFrame& frame, std::string& out);

// One chunk of a chunked body; the end of one. No chunk for no bytes: it would be the end.
void append_chunk(std::string_view bytes, std::string& out);
void append_last_chunk(std::string& out);

// Whether a response of that status may have a body.
bool may_have_body(int status);

}  // namespace infer::http
