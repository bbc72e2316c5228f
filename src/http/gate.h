// Who may ask: the checks before a request reaches its handler, and the headers that every reply carries.
//
// A page on the internet can make a browser talk to a loopback port. Three checks stop it: the Host that the browser
// believes to talk to must be one of ours (against DNS rebinding), an Origin must be a page of this machine, and what
// changes something needs a token that pages do not know.
// Thread safety: const after construction.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/head.h"
#include "http/message.h"
#include "http/route_table.h"

namespace infer::http {

struct GateOptions {
  // Host fields that are answered besides 127.0.0.1, localhost and [::1], each with any port. Other addresses than
  // loopback serve literal addresses too: rebinding needs a name.
  std::vector<std::string> host_names;
  bool serves_other_machines = false;
  // Of X-Inferos-Token, or of "Authorization: Bearer". Empty: routes that need a token are refused.
  std::string token;
  bool token_for_everything = false;
};

class Gate {
 public:
  explicit Gate(GateOptions options) : options_(std::move(options)) {}

  // Host and Origin, before anything else is looked at. 400 or 403.
  std::optional<Refusal> check_source(const Headers& headers) const;
  // 401 when the route, or everything, needs a token and this is not it.
  std::optional<Refusal> check_token(const Headers& headers, Access access) const;

  // Whether this is a browser asking what a page may do, and the answer.
  static bool is_preflight(const RequestHead& head);
  static Response preflight_reply();

  // Security headers and, for a page that may read the reply, CORS. What the handler has set stays.
  void add_headers(const std::optional<std::string>& origin, Headers& headers) const;

 private:
  bool serves_host(std::string_view host) const;

  GateOptions options_;
};

// "http://127.0.0.1" or "http://localhost", with or without a port.
bool is_local_origin(std::string_view origin);

}  // namespace infer::http
