#include "http/url.h"

#include <algorithm>

#include "base/format.h"
#include "http/syntax.h"

namespace infer::http {

namespace {

bool is_visible_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

Error no_url(std::string_view text, std::string_view why) {
  return Error{ErrorCode::kInvalidArgument, format("'{}' is not a URL: {}", text, why)};
}

}  // namespace

std::string Url::authority() const {
  return format(host.find(':') == std::string::npos ? "{}:{}" : "[{}]:{}", host, port);
}

Result<Url> parse_url(std::string_view text) {
  constexpr std::string_view kScheme = "http://";
  if (!is_visible_ascii(text)) return no_url(text, "it has a space, a control byte or a byte that must be escaped");
  if (equals_ignoring_case(text.substr(0, 8), "https://")) {
    return Error{ErrorCode::kUnsupported, format("'{}': this client speaks plain HTTP only", text)};
  }
  if (!equals_ignoring_case(text.substr(0, kScheme.size()), kScheme)) return no_url(text, "it must start with http://");
  const std::string_view rest = text.substr(kScheme.size());
  const size_t slash = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view authority = rest.substr(0, slash);
  const std::string_view target = rest.substr(slash);
  if (target.find('#') != std::string_view::npos) return no_url(text, "a fragment ('#') is not sent to servers");
  if (authority.find('@') != std::string_view::npos) return no_url(text, "a user name is not supported");

  Url url;
  if (authority.starts_with('[')) {
    const size_t end = authority.find(']');
    if (end == std::string_view::npos) return no_url(text, "']' is missing");
    url.host = authority.substr(1, end - 1);
    authority.remove_prefix(end + 1);
  } else {
    url.host = authority.substr(0, authority.find(':'));
    authority.remove_prefix(url.host.size());
  }
  if (url.host.empty()) return no_url(text, "it names no host");
  if (!authority.empty()) {
    const auto port = authority.front() == ':' ? parse_decimal(authority.substr(1)) : std::nullopt;
    if (!port || *port == 0 || *port > 65535) return no_url(text, "the port must be a number from 1 to 65535");
    url.port = static_cast<uint16_t>(*port);
  }
  if (target.starts_with('?')) {
    url.target = "/" + std::string(target);
  } else if (!target.empty()) {
    url.target = target;
  }
  return url;
}

}  // namespace infer::http
