// "http://127.0.0.1:7031/v1/models?x=1" in its parts.
// Thread safety: a plain value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace infer::http {

struct Url {
  std::string host;  // Without brackets: "::1".
  uint16_t port = 80;
  std::string target = "/";  // Path and query, escaped as it was.

  // "127.0.0.1:7031", "[::1]:7031": what a Host field says.
  std::string authority() const;
};

// kUnsupported for https, kInvalidArgument for what is no URL of HTTP. User names and fragments are refused.
Result<Url> parse_url(std::string_view text);

}  // namespace infer::http
