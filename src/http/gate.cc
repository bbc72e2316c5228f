#include "http/gate.h"

#include <algorithm>
#include <utility>

#include "http/syntax.h"

namespace infer::http {

namespace {

// "name:7031" to "name", "[::1]:7031" to "[::1]". Nullopt for a port that is none.
std::optional<std::string_view> without_port(std::string_view host) {
  const size_t bracket = host.starts_with('[') ? host.find(']') : 0;
  if (bracket == std::string_view::npos) return std::nullopt;
  const size_t colon = host.find(':', bracket);
  if (colon == std::string_view::npos) return host;
  const auto port = parse_decimal(host.substr(colon + 1));
  if (!port || *port == 0 || *port > 65535) return std::nullopt;
  return host.substr(0, colon);
}

bool is_loopback_name(std::string_view name) {
  return name == "127.0.0.1" || name == "[::1]" || equals_ignoring_case(name, "localhost");
}

// Digits and dots with a number at the end, or brackets: no name that DNS could answer for.
bool is_literal_address(std::string_view name) {
  if (name.starts_with('[')) return name.ends_with(']');
  return std::count(name.begin(), name.end(), '.') == 3 &&
         std::all_of(name.begin(), name.end(), [](char c) { return c == '.' || (c >= '0' && c <= '9'); });
}

void set_default(Headers& headers, std::string_view name, std::string_view value) {
  if (!headers.find(name)) headers.add(name, value);
}

}  // namespace

bool is_local_origin(std::string_view origin) {
  constexpr std::string_view kScheme = "http://";
  if (!origin.starts_with(kScheme)) return false;
  const auto name = without_port(origin.substr(kScheme.size()));
  return name && (*name == "127.0.0.1" || *name == "localhost");
}

bool Gate::serves_host(std::string_view host) const {
  const auto name = without_port(host);
  if (!name) return false;
  if (is_loopback_name(*name) || (options_.serves_other_machines && is_literal_address(*name))) return true;
  return std::any_of(options_.host_names.begin(), options_.host_names.end(),
                     [&](const std::string& own) { return equals_ignoring_case(own, *name); });
}

std::optional<Refusal> Gate::check_source(const Headers& headers) const {
  const auto host = headers.find("Host");
  if (!host || host->empty()) return Refusal{400, "the request has no Host field"};
  if (!serves_host(*host)) {
    return Refusal{403, "this server does not answer to that Host; use 127.0.0.1 or localhost"};
  }
  if (headers.count("Origin") > 1) return Refusal{400, "Origin is there more than once"};
  const auto origin = headers.find("Origin");
  if (!origin || is_local_origin(*origin)) return std::nullopt;
  // A page that this server itself delivered under another address or name.
  if (origin->starts_with("http://") && equals_ignoring_case(origin->substr(7), *host)) return std::nullopt;
  return Refusal{403, "pages of that Origin may not use this server; only http://127.0.0.1 and http://localhost may"};
}

std::optional<Refusal> Gate::check_token(const Headers& headers, Access access) const {
  if (access == Access::kOpen && !options_.token_for_everything) return std::nullopt;
  std::string_view guess = headers.find("X-Inferos-Token").value_or("");
  const std::string_view authorization = headers.find("Authorization").value_or("");
  if (guess.empty() && equals_ignoring_case(authorization.substr(0, 7), "Bearer ")) {
    guess = trim(authorization.substr(7));
  }
  if (equals_in_constant_time(options_.token, guess)) return std::nullopt;
  return Refusal{401, guess.empty() ? "this needs the token, in X-Inferos-Token or as Authorization: Bearer"
                                    : "the token is not the right one"};
}

bool Gate::is_preflight(const RequestHead& head) {
  return head.method == "OPTIONS" && head.headers.find("Origin") && head.headers.find("Access-Control-Request-Method");
}

Response Gate::preflight_reply() {
  Response response;
  response.status = 204;
  response.headers.add("Access-Control-Allow-Methods", "GET, POST");
  response.headers.add("Access-Control-Allow-Headers", "X-Inferos-Token, Content-Type, Authorization");
  response.headers.add("Access-Control-Max-Age", "600");
  return response;
}

void Gate::add_headers(const std::optional<std::string>& origin, Headers& headers) const {
  set_default(headers, "X-Content-Type-Options", "nosniff");
  set_default(headers, "X-Frame-Options", "DENY");
  set_default(headers, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
  set_default(headers, "Referrer-Policy", "no-referrer");
  headers.add("Vary", "Origin");
  if (origin) headers.set("Access-Control-Allow-Origin", *origin);
}

}  // namespace infer::http
