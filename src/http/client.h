// An HTTP/1.1 client that is never late: one deadline and one cancel token cover the name lookup, connecting, sending
// and every byte of the answer.
//
// Plain text only (no TLS), one connection per request, redirects are the caller's to follow, and nothing is retried:
// who retries has one budget for it all, and that is not here. Thread safety: one thread at a time; the calls wait on
// the caller's thread. A client that looked up a name waits in its destructor for the system's answer, if that is still
// missing.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/call_context.h"
#include "base/result.h"
#include "http/message.h"

namespace infer::http {

struct ClientRequest {
  std::string method = "GET";
  std::string url;
  Headers headers;  // Host, Content-Length and Connection are the client's.
  std::string body;
};

struct ClientLimits {
  size_t head_bytes = 64 << 10;
  size_t head_fields = 200;
  size_t body_bytes = 64 << 20;  // Of a whole response; what is streamed is not counted.
};

class Client {
 public:
  explicit Client(ClientLimits limits = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Any status is a success of the call. kInvalidArgument, kUnsupported: the URL; kIo: no connection, or it broke;
  // kCorrupt: what came is not HTTP, or over a limit; kDeadline, kCancelled: `call`.
  Result<Response> send(const ClientRequest& request, const CallContext& call);

  // The same, but the body goes piece by piece to `on_body`, as it comes; false from it ends the call with kCancelled.
  // `on_head` gets status and headers before. The response returned has no body.
  using OnHead = std::function<bool(const Response&)>;
  using OnBody = std::function<bool(std::string_view)>;
  Result<Response> stream(const ClientRequest& request, const OnHead& on_head, const OnBody& on_body,
                          const CallContext& call);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace infer::http
