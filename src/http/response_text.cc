#include "http/response_text.h"

#include <algorithm>
#include <array>

#include "base/format.h"
#include "http/syntax.h"

namespace infer::http {

namespace {

bool is_servers_own(std::string_view name) {
  static constexpr std::array<std::string_view, 8> kOwn{"Content-Length", "Transfer-Encoding", "Connection", "Date",
                                                        "Keep-Alive",     "Upgrade",           "Trailer",    "TE"};
  return std::any_of(kOwn.begin(), kOwn.end(), [&](std::string_view own) { return equals_ignoring_case(own, name); });
}

void append_field(std::string_view name, std::string_view value, std::string& out) {
  out.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

bool may_have_body(int status) { return status >= 200 && status != 204 && status != 304; }

void append_response_head(int status, const Headers& headers, const ResponseFrame& frame, std::string& out) {
  out += format("HTTP/1.1 {} {}\r\n", status, status_reason(status));
  append_field("Date", http_date(frame.date), out);
  for (const Headers::Field& field : headers.fields()) {
    if (!is_servers_own(field.name)) append_field(field.name, field.value, out);
  }
  if (frame.framing == BodyFraming::kLength) append_field("Content-Length", format("{}", frame.length), out);
  if (frame.framing == BodyFraming::kChunked) append_field("Transfer-Encoding", "chunked", out);
  if (!frame.keep_alive) {
    append_field("Connection", "close", out);
  } else if (frame.minor_version == 0) {
    append_field("Connection", "keep-alive", out);
  }
  out += "\r\n";
}

void append_chunk(std::string_view bytes, std::string& out) {
  if (bytes.empty()) return;
  out += format("{:x}\r\n", bytes.size());
  out.append(bytes).append("\r\n");
}

void append_last_chunk(std::string& out) { out += "0\r\n\r\n"; }

}  // namespace infer::http
