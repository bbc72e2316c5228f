// How a handler answers: once with a whole response, or with a stream that it feeds, from any thread and at any time.
//
// A sink is a handle; copies share one answer. When the last copy goes without an answer, the client gets a 500; when
// it goes within a stream, the connection is cut, so that the client does not take the part for the whole. Thread
// safety: all functions from any thread; what one thread says arrives in its order. Nothing here waits.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/call_context.h"
#include "http/message.h"

namespace infer::http {

class Exchange;

struct StreamHead {
  int status = 200;
  Headers headers;
  // Sent whenever nothing else was for Limits::ping_interval, so that proxies and clients know that we live. Empty:
  // never.
  std::string ping;
};

// Of a stream of server-sent events (http/event_stream.h).
StreamHead event_stream_head();

enum class PushResult {
  kAccepted,
  kFull,  // Not taken: the client reads slower than it is written to. Try again, best after on_writable.
  kGone,  // Not taken: nobody reads any more, or the stream has ended.
};

// kClientGone: the peer closed, or takes no bytes. kShutdown: the server ends first.
using DisconnectCallback = std::function<void(CancelReason)>;

class ResponseSink {
 public:
  explicit ResponseSink(std::shared_ptr<Exchange> exchange);

  // The whole answer. False when there was one already or the client is gone.
  bool reply(Response response) const;

  // The start of a stream; then push() as often as wanted and finish(). False as for reply.
  bool start_stream(StreamHead head) const;
  PushResult push(std::string bytes) const;
  void finish() const;

  // Called once when the answer can no longer arrive, at once if that is so already, and never after the answer was
  // handed over. On an I/O thread, so it must not wait.
  void on_disconnect(DisconnectCallback callback) const;
  // Called when there is room again after a push that found none. On an I/O thread. Replaces the one before.
  void on_writable(std::function<void()> callback) const;
  bool is_client_gone() const;

 private:
  struct Handle;
  std::shared_ptr<Handle> handle_;
};

}  // namespace infer::http
