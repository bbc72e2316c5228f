#include "http/head.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "http/syntax.h"

namespace infer::http {

namespace {

using Refused = std::optional<Refusal>;

Refusal bad(std::string message) { return {400, std::move(message)}; }

// The first line of `text`, without its CRLF; removes both.
std::string_view take_line(std::string_view& text) {
  const size_t end = std::min(text.find("\r\n"), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 2, text.size()));
  return line;
}

// "HTTP/1.x" to x.
Refused parse_version(std::string_view text, int& minor) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.size() != 8 || text.substr(0, 5) != "HTTP/" || !is_digit(text[5]) || text[6] != '.' || !is_digit(text[7])) {
    return bad("the first line does not end in an HTTP version");
  }
  if (text != "HTTP/1.1" && text != "HTTP/1.0") {
    return Refusal{505, "only HTTP/1.1 and HTTP/1.0 are spoken here"};
  }
  minor = text[7] - '0';
  return std::nullopt;
}

bool is_host(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && std::string_view("-._~:[]").find(c) != std::string_view::npos);
  });
}

// The path and query of the target. A target with scheme and host must name the host that the Host field names.
Refused split_target(RequestHead& head) {
  std::string_view rest = head.target;
  if (rest == "*" && head.method == "OPTIONS") {
    head.path = head.target;
    return std::nullopt;
  }
  constexpr std::string_view kScheme = "http://";
  if (equals_ignoring_case(rest.substr(0, kScheme.size()), kScheme)) {
    rest.remove_prefix(kScheme.size());
    const std::string_view host = rest.substr(0, rest.find('/'));
    if (host.empty() || !equals_ignoring_case(host, head.headers.find("Host").value_or(""))) {
      return bad("the request target names another host than the Host field");
    }
    rest.remove_prefix(host.size());
  }
  if (rest.empty() || rest.front() != '/') return bad("the request target must be a path that starts with '/'");
  if (rest.find('#') != std::string_view::npos) return bad("the request target may not have a fragment ('#')");
  const size_t mark = std::min(rest.find('?'), rest.size());
  head.path = rest.substr(0, mark);
  head.query = rest.substr(std::min(mark + 1, rest.size()));
  if (!percent_decode(head.path, PlusMeans::kPlus) || !percent_decode(head.query, PlusMeans::kSpace)) {
    return bad("the request target has an escape ('%') that is incomplete or stands for a control byte");
  }
  return std::nullopt;
}

Refused parse_request_line(std::string_view line, RequestHead& head) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return bad("the first line is not 'METHOD target HTTP/1.1'");
  head.method = line.substr(0, first);
  head.target = line.substr(first + 1, last - first - 1);
  if (!is_token(head.method)) return bad("the request method is not a word");
  if (head.target.empty() ||
      !std::all_of(head.target.begin(), head.target.end(), [](char c) { return c > 0x20 && c < 0x7F; })) {
    return bad("the request target has a byte that must be escaped (%20 for a space)");
  }
  return parse_version(line.substr(last + 1), head.minor_version);
}

// Content-Length and Transfer-Encoding, at most one of which may be there. Codings that only a trusting parser would
// accept are how one request is made to look like two.
Refused parse_framing(const Headers& headers, int minor_version, Framing& framing) {
  const size_t lengths = headers.count("Content-Length");
  const size_t codings = headers.count("Transfer-Encoding");
  if (lengths > 1) return bad("Content-Length is there more than once");
  if (codings > 1) return bad("Transfer-Encoding is there more than once");
  if (lengths + codings == 2) return bad("Content-Length and Transfer-Encoding exclude each other");
  if (codings == 1) {
    if (minor_version == 0) return bad("HTTP/1.0 has no Transfer-Encoding");
    if (!equals_ignoring_case(*headers.find("Transfer-Encoding"), "chunked")) {
      return Refusal{501, "the only Transfer-Encoding understood is 'chunked'"};
    }
    framing.kind = Framing::Kind::kChunked;
  } else if (lengths == 1) {
    const auto length = parse_decimal(*headers.find("Content-Length"));
    if (!length) return bad("Content-Length is not a number");
    framing = {*length > 0 ? Framing::Kind::kLength : Framing::Kind::kNone, *length};
  }
  return std::nullopt;
}

// All Connection fields together are one list.
Refused parse_connection(const Headers& headers, int minor_version, bool& keep_alive) {
  bool closes = false;
  bool keeps = false;
  for (const Headers::Field& field : headers.fields()) {
    if (!equals_ignoring_case(field.name, "Connection")) continue;
    if (!is_token_list(field.value)) return bad("the Connection field is not a list of words");
    closes = closes || list_contains(field.value, "close");
    keeps = keeps || list_contains(field.value, "keep-alive");
  }
  keep_alive = !closes && (minor_version == 1 || keeps);
  return std::nullopt;
}

Refused check_host(const RequestHead& head) {
  const size_t hosts = head.headers.count("Host");
  if (hosts > 1) return bad("Host is there more than once");
  if (hosts == 0 && head.minor_version == 1) return bad("an HTTP/1.1 request needs a Host field");
  if (!is_host(head.headers.find("Host").value_or(""))) return bad("the Host field is not a host");
  return std::nullopt;
}

Refused check_expectation(RequestHead& head) {
  const auto expect = head.headers.find("Expect");
  if (!expect) return std::nullopt;
  if (!equals_ignoring_case(*expect, "100-continue")) {
    return Refusal{417, "the only expectation understood is '100-continue'"};
  }
  head.expects_continue = head.minor_version == 1;
  return std::nullopt;
}

// "HTTP/1.1 200 OK"
Refused parse_status_line(std::string_view line, ResponseHead& head) {
  if (auto refused = parse_version(line.substr(0, 8), head.minor_version)) return refused;
  const auto status = parse_decimal(line.substr(std::min<size_t>(9, line.size()), 3));
  if (line.size() < 12 || line[8] != ' ' || !status || *status < 100 || (line.size() > 12 && line[12] != ' ')) {
    return bad("the status line is not 'HTTP/1.1 CODE reason'");
  }
  head.status = static_cast<int>(*status);
  return std::nullopt;
}

}  // namespace

size_t HeadScanner::scan(std::string_view text) {
  for (; seen_ < text.size() && !refusal_; ++seen_) {
    const char c = text[seen_];
    if (c == '\n') {
      if (seen_ == 0 || text[seen_ - 1] != '\r') {
        refusal_ = bad("lines must end in CR LF, this one ends in LF alone");
        return 0;
      }
      const bool is_empty_line = seen_ == line_start_ + 1;
      line_start_ = seen_ + 1;
      if (is_empty_line) return ++seen_;
    } else if (seen_ > 0 && text[seen_ - 1] == '\r') {
      refusal_ = bad("a CR stands alone in the head");
    } else if (c == '\x16' && seen_ == 0) {
      refusal_ = bad("this looks like TLS, but this port speaks plain HTTP: use http:// instead of https://");
    } else if (c != '\r' && !is_field_byte(c)) {
      refusal_ = bad("the head has a control byte");
    }
  }
  return 0;
}

Refused parse_fields(std::string_view text, size_t fields_max, Headers& headers) {
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    if (line.empty()) break;
    if (headers.fields().size() >= fields_max) {
      return Refusal{431, format("there are more than {} header fields", fields_max)};
    }
    if (line.front() == ' ' || line.front() == '\t') return bad("a header field is folded over two lines");
    const size_t colon = line.find(':');
    const std::string_view name = line.substr(0, colon);
    if (colon == std::string_view::npos || !is_token(name)) return bad("a header line is not 'Name: value'");
    const std::string_view value = line.substr(colon + 1);
    if (!std::all_of(value.begin(), value.end(), is_field_byte)) return bad("a header field has a control byte");
    headers.add(name, value);
  }
  return std::nullopt;
}

Refused parse_request_head(std::string_view text, const Limits& limits, RequestHead& head) {
  const std::string_view line = take_line(text);
  if (line.size() > limits.request_line_bytes) {
    return Refusal{414, format("the request line is longer than {} bytes", limits.request_line_bytes)};
  }
  if (auto refused = parse_request_line(line, head)) return refused;
  if (auto refused = parse_fields(text, limits.head_fields, head.headers)) return refused;
  if (auto refused = check_host(head)) return refused;
  if (auto refused = split_target(head)) return refused;
  if (auto refused = parse_framing(head.headers, head.minor_version, head.framing)) return refused;
  if (auto refused = check_expectation(head)) return refused;
  return parse_connection(head.headers, head.minor_version, head.keep_alive);
}

Refused parse_response_head(std::string_view text, const Limits& limits, ResponseHead& head) {
  if (auto refused = parse_status_line(take_line(text), head)) return refused;
  if (auto refused = parse_fields(text, limits.head_fields, head.headers)) return refused;
  const bool has_length = head.headers.count("Content-Length") > 0;
  if (auto refused = parse_framing(head.headers, head.minor_version, head.framing)) return refused;
  const bool has_no_body = head.status < 200 || head.status == 204 || head.status == 304;
  if (has_no_body) {
    head.framing = {};
  } else if (head.framing.kind == Framing::Kind::kNone && !has_length) {
    head.framing.kind = Framing::Kind::kUntilClose;
  }
  if (auto refused = parse_connection(head.headers, head.minor_version, head.keep_alive)) return refused;
  head.keep_alive = head.keep_alive && head.framing.kind != Framing::Kind::kUntilClose;
  return std::nullopt;
}

}  // namespace infer::http
