// One connection of a server without its socket: bytes, time and answers go in, bytes to send come out. Everything that
// HTTP means is here and nothing that waits, so tests and the fuzzer drive it with bytes and instants of their choice.
//
// The driver's loop: hand in what arrived (receive, peer_closed, collect, sent, tick), then send unsent(), read while
// wants_bytes(), close the sending side when ends_after_sending(), close all when is_closed(), and call tick() at
// deadline() or later.
// Invariants: one request at a time; what is read ahead is bounded; a closed session stays closed.
// Thread safety: one thread; handlers and callbacks are called on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/call_context.h"
#include "base/time.h"
#include "http/body_decoder.h"
#include "http/counters.h"
#include "http/exchange.h"
#include "http/gate.h"
#include "http/head.h"
#include "http/limits.h"
#include "http/message.h"
#include "http/route_table.h"

namespace infer::http {

// One line of an access log. The views live for the call only.
struct AccessRecord {
  std::string_view peer;
  std::string_view method;
  std::string_view target;  // Visible ASCII, or empty when the head could not be read.
  int status = 0;
  uint64_t response_bytes = 0;  // Head and framing included.
  Duration taken;               // From the request's first byte to the last one sent.
};

// What all connections of a server share; constant while it runs.
struct Site {
  RouteTable routes;
  Gate gate{GateOptions{}};
  Limits limits;
  // The body of a refusal, for the path that was asked for ("" when unknown). Status and framing are the server's.
  std::function<Response(const Refusal&, std::string_view path)> render_refusal;
  std::function<void(const AccessRecord&)> on_answered;  // May be null. On an I/O thread.
};

class Session {
 public:
  // `site`, `counters` and `clock` outlive the session. `on_items` makes the driver call collect().
  Session(const Site& site, Counters& counters, const Clock& clock, std::weak_ptr<Waker> waker,
          std::function<void()> on_items, std::string peer, Instant now);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void receive(std::string_view bytes, Instant now);
  void peer_closed(Instant now);  // The peer will send no more. Before its answer began, that means it is gone.
  void collect(Instant now);      // Its exchange has something to say.
  void sent(size_t bytes, Instant now);
  void tick(Instant now);
  // Answers a connection that cannot be served, then closes it.
  void refuse_connection(Refusal refusal, Instant now);
  // Finishes the request under way and takes no other.
  void drain(Instant now);
  // Cuts: the connection broke, or the server ends now.
  void cut(CancelReason reason);

  std::string_view unsent() const { return std::string_view(out_).substr(out_sent_); }
  bool wants_bytes() const;
  bool ends_after_sending() const { return state_ == State::kLingering; }
  bool is_closed() const { return state_ == State::kClosed; }
  Instant deadline() const;

 private:
  enum class State { kIdle, kHead, kBody, kHandling, kStreaming, kFlushing, kLingering, kClosed };
  struct Turn;  // What is known of the request under way; idle connections have none.

  // Reading. Each step returns whether the next one can be tried at once.
  void advance(Instant now);
  bool read_head(Instant now);
  bool read_body(Instant now);
  bool begin_request(Instant now);
  bool answer_without_handler(Instant now);
  void call_handler(Instant now);
  bool reserve_body(uint64_t bytes);

  // Writing.
  void refuse(Refusal refusal, bool keep_alive, Instant now);
  void queue_response(Response response, Instant now);
  void start_stream(StreamHead head, Instant now);
  void append_stream(std::string_view bytes, Instant now);
  void finish_stream(bool is_complete, Instant now);
  void hand_over(Exchange::Answer answer, Instant now);
  void note_writing(Instant now);
  void after_flush(Instant now);
  void end_turn(Instant now);
  void close();

  const Site& site_;
  Counters& counters_;
  const Clock& clock_;
  std::weak_ptr<Waker> waker_;
  std::function<void()> on_items_;
  std::string peer_;

  State state_ = State::kIdle;
  bool draining_ = false;
  bool peer_closed_ = false;
  bool skipped_line_ = false;  // The one empty line that may stand before a request.
  std::string input_;          // Received, not yet understood.
  std::string out_;            // To be sent, from out_sent_ on.
  size_t out_sent_ = 0;
  size_t sent_since_mark_ = 0;
  Instant write_mark_;   // When the peer last took enough.
  Instant state_since_;  // When this state began; while streaming, when something was last sent.
  HeadScanner scanner_;
  size_t lingered_bytes_ = 0;
  std::unique_ptr<Turn> turn_;
  std::shared_ptr<Exchange> exchange_;
};

}  // namespace infer::http
