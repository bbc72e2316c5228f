// An HTTP/1.1 server on one TCP port: one or two I/O threads, every connection on one of them for its life.
//
// Plain text only: it listens on loopback, or behind a proxy that speaks TLS.
// Handlers run on an I/O thread and must not wait there; they answer through their ResponseSink from wherever the
// answer is made. docs/internals/http.md tells the life of a connection. Thread safety: start and destroy on one
// thread, the rest from any. Ownership: destroying it cuts what is left of its connections and joins its threads; sinks
// may outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/call_context.h"
#include "base/log.h"
#include "base/result.h"
#include "base/time.h"
#include "http/counters.h"
#include "http/session.h"

namespace infer::http {

struct ServerOptions {
  std::string address = "127.0.0.1";  // A literal address, or "localhost".
  uint16_t port = 0;                  // 0: the system picks one, see Server::port.
  int threads = 1;                    // 1 to 16.
};

class Server {
 public:
  // Listens when it returns. kInvalidArgument: the options; kBusy: the port is in use; kIo: the system refuses.
  // `clock` and `log` outlive the server.
  static Result<std::unique_ptr<Server>> start(const ServerOptions& options, Site site, const Clock& clock, Log& log);

  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  std::string url() const;  // "http://127.0.0.1:7031"
  const Counters& counters() const;

  // Takes no new connections, finishes requests under way, then returns. When `call` says stop first: its error, and
  // what is left ends with the server.
  Status drain(const CallContext& call);

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace infer::http
