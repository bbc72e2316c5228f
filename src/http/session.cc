#include "http/session.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/format.h"
#include "http/response_text.h"
#include "http/syntax.h"

namespace infer::http {

namespace {

// What a peer that is being refused may still send before it is cut.
constexpr size_t kLingerBytesMax = 1 << 20;
// Of a full buffer that a peer must take within Limits::write_stall.
constexpr size_t kProgressBytes = 4096;
// Buffers of an idle connection that are worth keeping.
constexpr size_t kKeptBytes = 1024;

void release_if_large(std::string& buffer) {
  if (buffer.capacity() > kKeptBytes) std::string().swap(buffer);
}

}  // namespace

struct Session::Turn {
  RequestHead head;
  Instant arrived;
  RouteMatch match;
  std::optional<std::string> origin;  // Of a page that may read the reply.
  BodyDecoder decoder{Framing{}, 0};
  std::string body;
  uint64_t reserved_bytes = 0;
  bool is_chunked = false;  // The stream under way.
  std::string ping;
  int status = 0;
  uint64_t response_bytes = 0;
};

Session::Session(const Site& site, Counters& counters, const Clock& clock, std::weak_ptr<Waker> waker,
                 std::function<void()> on_items, std::string peer, Instant now)
    : site_(site),
      counters_(counters),
      clock_(clock),
      waker_(std::move(waker)),
      on_items_(std::move(on_items)),
      peer_(std::move(peer)),
      write_mark_(now),
      state_since_(now) {}

Session::~Session() { cut(CancelReason::kShutdown); }

// ---- What the driver asks
// --------------------------------------------------------------------------------------------

bool Session::wants_bytes() const {
  if (peer_closed_ || state_ == State::kClosed) return false;
  const bool reads_ahead = state_ == State::kHandling || state_ == State::kStreaming || state_ == State::kFlushing;
  return !reads_ahead || input_.size() < site_.limits.head_bytes;
}

Instant Session::deadline() const {
  const Limits& limits = site_.limits;
  Instant next = unsent().empty() ? Instant::never() : write_mark_ + limits.write_stall;
  switch (state_) {
    case State::kIdle: return std::min(next, state_since_ + limits.idle_time);
    case State::kHead: return std::min(next, state_since_ + limits.head_time);
    case State::kBody: return std::min(next, state_since_ + limits.body_time);
    case State::kLingering: return std::min(next, state_since_ + limits.linger_time);
    case State::kStreaming:
      return turn_->ping.empty() || !unsent().empty() ? next : state_since_ + limits.ping_interval;
    case State::kHandling:
    case State::kFlushing:
    case State::kClosed: return next;
  }
  return next;
}

void Session::tick(Instant now) {
  if (is_closed() || now < deadline()) return;
  if (!unsent().empty() && now >= write_mark_ + site_.limits.write_stall) {
    ++counters_.stalls_total;
    cut(CancelReason::kClientGone);
    return;
  }
  switch (state_) {
    case State::kHead:
      refuse({408, format("the head of the request took longer than {} s", site_.limits.head_time.seconds())}, false,
             now);
      break;
    case State::kBody:
      refuse({408, format("the body of the request took longer than {} s", site_.limits.body_time.seconds())}, false,
             now);
      break;
    case State::kStreaming: append_stream(std::string(turn_->ping), now); break;
    default: close(); break;
  }
}

void Session::peer_closed(Instant now) {
  peer_closed_ = true;
  switch (state_) {
    case State::kFlushing: break;  // Perhaps it closed its own side only, and reads on.
    case State::kHandling:
    case State::kStreaming: cut(CancelReason::kClientGone); break;
    default: close(); break;
  }
  (void)now;
}

void Session::drain(Instant now) {
  draining_ = true;
  if (state_ == State::kIdle) close();
  (void)now;
}

void Session::cut(CancelReason reason) {
  if (is_closed()) return;
  if (exchange_) {
    ++counters_.disconnects_total;
    exchange_->disconnect(reason);
  }
  close();
}

void Session::close() {
  state_ = State::kClosed;
  if (turn_) counters_.body_bytes -= turn_->reserved_bytes;
  turn_.reset();
  exchange_.reset();
  std::string().swap(input_);
  std::string().swap(out_);
  out_sent_ = 0;
}

// ---- Reading
// ---------------------------------------------------------------------------------------------------------

void Session::receive(std::string_view bytes, Instant now) {
  if (is_closed()) return;
  if (state_ == State::kLingering) {
    lingered_bytes_ += bytes.size();
    if (lingered_bytes_ > kLingerBytesMax) close();
    return;
  }
  input_.append(bytes);
  advance(now);
}

void Session::advance(Instant now) {
  bool goes_on = true;
  while (goes_on) {
    switch (state_) {
      case State::kIdle:
        if (input_.empty()) return release_if_large(input_);
        state_ = State::kHead;
        state_since_ = now;
        break;
      case State::kHead: goes_on = read_head(now); break;
      case State::kBody: goes_on = read_body(now); break;
      default: return;
    }
  }
}

bool Session::read_head(Instant now) {
  const Limits& limits = site_.limits;
  if (!skipped_line_ && !scanner_.has_begun()) {
    if (input_ == "\r") return false;
    if (input_.starts_with("\r\n")) {
      input_.erase(0, 2);
      skipped_line_ = true;
    }
  }
  const size_t length = scanner_.scan(input_);
  if (scanner_.refusal()) {
    refuse(*scanner_.refusal(), false, now);
    return false;
  }
  if (length == 0 && !scanner_.first_line_ended() && input_.size() > limits.request_line_bytes) {
    refuse({414, format("the request line is longer than {} bytes", limits.request_line_bytes)}, false, now);
    return false;
  }
  if (std::max(length, length == 0 ? input_.size() : 0) > limits.head_bytes) {
    refuse({431, format("the head of the request is longer than {} bytes", limits.head_bytes)}, false, now);
    return false;
  }
  if (length == 0) return false;

  turn_ = std::make_unique<Turn>();
  turn_->arrived = state_since_;
  auto refused = parse_request_head(std::string_view(input_).substr(0, length), limits, turn_->head);
  if (refused) {
    turn_->head.target.clear();
    turn_->head.path.clear();
    refuse(std::move(*refused), false, now);
    return false;
  }
  input_.erase(0, length);
  scanner_ = {};
  skipped_line_ = false;
  return begin_request(now);
}

// The head is understood: may this be asked, by whom, and does the body fit? All before the body is read.
bool Session::begin_request(Instant now) {
  ++counters_.requests_total;
  Turn& turn = *turn_;
  const bool reusable = turn.head.framing.kind == Framing::Kind::kNone;
  if (auto refused = site_.gate.check_source(turn.head.headers)) {
    refuse(std::move(*refused), false, now);
    return false;
  }
  if (const auto origin = turn.head.headers.find("Origin")) turn.origin = std::string(*origin);
  turn.match = site_.routes.match(turn.head.method, turn.head.path);
  if (!turn.match.route) return answer_without_handler(now);
  if (auto refused = site_.gate.check_token(turn.head.headers, turn.match.route->access)) {
    refuse(std::move(*refused), reusable, now);
    return false;
  }
  turn.decoder = BodyDecoder(turn.head.framing, site_.limits.body_bytes);
  if (turn.decoder.refusal()) {
    refuse(*turn.decoder.refusal(), false, now);
    return false;
  }
  if (!reserve_body(turn.head.framing.length)) {
    refuse({503, "too many request bodies at once; try again in a second"}, false, now);
    return false;
  }
  if (turn.head.expects_continue && input_.empty() && !turn.decoder.done()) {
    note_writing(now);
    out_ += "HTTP/1.1 100 Continue\r\n\r\n";
  }
  state_ = State::kBody;
  state_since_ = now;
  return true;
}

// Nothing is routed there: OPTIONS, unknown paths, unknown methods.
bool Session::answer_without_handler(Instant now) {
  const RequestHead& head = turn_->head;
  const std::string& allow = turn_->match.allow;
  const bool reusable = head.framing.kind == Framing::Kind::kNone;
  if (head.method == "OPTIONS" && (!allow.empty() || head.path == "*")) {
    Response reply = Gate::is_preflight(head) ? Gate::preflight_reply() : Response{204, {}, ""};
    reply.headers.add("Allow", allow.empty() ? "GET, HEAD, POST, PUT, DELETE, OPTIONS" : allow);
    turn_->head.keep_alive = head.keep_alive && reusable;
    queue_response(std::move(reply), now);
  } else if (allow.empty()) {
    refuse({404, "there is nothing at this path"}, reusable, now);
  } else {
    refuse({405, format("this path knows {}", allow)}, reusable, now);
  }
  return false;
}

bool Session::reserve_body(uint64_t bytes) {
  if (bytes <= turn_->reserved_bytes) return true;
  const uint64_t more = bytes - turn_->reserved_bytes;
  turn_->reserved_bytes = bytes;
  return (counters_.body_bytes += more) <= site_.limits.all_bodies_bytes;
}

bool Session::read_body(Instant now) {
  Turn& turn = *turn_;
  input_.erase(0, turn.decoder.decode(input_, turn.body));
  if (turn.decoder.refusal()) {
    refuse(*turn.decoder.refusal(), false, now);
    return false;
  }
  if (!reserve_body(turn.body.size())) {
    refuse({503, "too many request bodies at once; try again in a second"}, false, now);
    return false;
  }
  if (!turn.decoder.done()) return false;
  call_handler(now);
  return true;
}

void Session::call_handler(Instant now) {
  Turn& turn = *turn_;
  Request request;
  request.method = turn.head.method;
  request.target = turn.head.target;
  request.path = turn.head.path;
  request.query = std::move(turn.head.query);
  request.headers = std::move(turn.head.headers);
  request.body = std::move(turn.body);
  request.peer = peer_;
  request.parameters = std::move(turn.match.parameters);
  request.arrived = turn.arrived;
  state_ = State::kHandling;
  state_since_ = now;
  exchange_ = std::make_shared<Exchange>(waker_, on_items_, site_.limits.stream_bytes);
  turn.match.route->handler(std::move(request), ResponseSink(exchange_));
  collect(now);
}

// ---- Writing
// ---------------------------------------------------------------------------------------------------------

void Session::collect(Instant now) {
  const std::shared_ptr<Exchange> exchange = exchange_;
  if (!exchange) return;
  for (Exchange::Answer& answer : exchange->take()) {
    hand_over(std::move(answer), now);
    if (exchange_ != exchange) return;
  }
  exchange_->set_unsent(unsent().size());
}

void Session::hand_over(Exchange::Answer answer, Instant now) {
  if (auto* response = std::get_if<Response>(&answer)) {
    queue_response(std::move(*response), now);
  } else if (auto* head = std::get_if<StreamHead>(&answer)) {
    start_stream(std::move(*head), now);
  } else if (const auto* bytes = std::get_if<std::string>(&answer)) {
    if (!bytes->empty()) append_stream(*bytes, now);
  } else if (state_ == State::kStreaming) {
    finish_stream(std::holds_alternative<Exchange::Finish>(answer), now);
  } else {
    refuse({500, "the request was dropped without an answer; this is a bug of the server"}, true, now);
  }
}

// The clock of write_stall runs while something waits to be sent.
void Session::note_writing(Instant now) {
  if (!unsent().empty()) return;
  write_mark_ = now;
  sent_since_mark_ = 0;
}

void Session::refuse(Refusal refusal, bool keep_alive, Instant now) {
  ++counters_.refusals_total;
  if (!turn_) {
    turn_ = std::make_unique<Turn>();
    turn_->arrived = state_since_;
  }
  Response response = site_.render_refusal
                          ? site_.render_refusal(refusal, turn_->head.path)
                          : make_response(refusal.status, "text/plain; charset=utf-8", refusal.message + "\n");
  response.status = refusal.status;
  if (refusal.status == 401) response.headers.set("WWW-Authenticate", "Bearer");
  if (refusal.status == 405) response.headers.set("Allow", turn_->match.allow);
  if (refusal.status == 503) response.headers.set("Retry-After", "1");
  turn_->head.keep_alive = turn_->head.keep_alive && keep_alive;
  queue_response(std::move(response), now);
}

void Session::refuse_connection(Refusal refusal, Instant now) { refuse(std::move(refusal), false, now); }

void Session::queue_response(Response response, Instant now) {
  Turn& turn = *turn_;
  turn.status = response.status;
  turn.head.keep_alive = turn.head.keep_alive && !draining_;
  site_.gate.add_headers(turn.origin, response.headers);
  ResponseFrame frame{BodyFraming::kLength, response.body.size(), turn.head.keep_alive, turn.head.minor_version,
                      clock_.wall_time()};
  if (!may_have_body(response.status)) frame.framing = BodyFraming::kNone;
  note_writing(now);
  const size_t before = out_.size();
  append_response_head(response.status, response.headers, frame, out_);
  if (frame.framing == BodyFraming::kLength && turn.head.method != "HEAD") out_ += response.body;
  turn.response_bytes += out_.size() - before;
  end_turn(now);
}

void Session::start_stream(StreamHead head, Instant now) {
  Turn& turn = *turn_;
  turn.status = head.status;
  turn.ping = std::move(head.ping);
  turn.is_chunked = turn.head.minor_version == 1;
  turn.head.keep_alive = turn.head.keep_alive && !draining_ && turn.is_chunked;
  site_.gate.add_headers(turn.origin, head.headers);
  const BodyFraming framing = !may_have_body(head.status) ? BodyFraming::kNone
                              : turn.is_chunked           ? BodyFraming::kChunked
                                                          : BodyFraming::kUntilClose;
  note_writing(now);
  const size_t before = out_.size();
  append_response_head(head.status, head.headers,
                       {framing, 0, turn.head.keep_alive, turn.head.minor_version, clock_.wall_time()}, out_);
  turn.response_bytes += out_.size() - before;
  state_ = State::kStreaming;
  state_since_ = now;
  if (turn.head.method == "HEAD" || framing == BodyFraming::kNone) {
    exchange_->disconnect(CancelReason::kClientGone);  // Nobody waits for what the producer would send.
    end_turn(now);
  }
}

void Session::append_stream(std::string_view bytes, Instant now) {
  if (state_ != State::kStreaming) return;
  note_writing(now);
  const size_t before = out_.size();
  if (turn_->is_chunked) {
    append_chunk(bytes, out_);
  } else {
    out_ += bytes;
  }
  turn_->response_bytes += out_.size() - before;
  state_since_ = now;
}

// An incomplete stream ends without its last chunk, so that the client knows.
void Session::finish_stream(bool is_complete, Instant now) {
  if (is_complete && turn_->is_chunked) {
    note_writing(now);
    append_last_chunk(out_);
  } else {
    turn_->head.keep_alive = false;
  }
  end_turn(now);
}

// The answer is complete and waits to be sent; its producer is done.
void Session::end_turn(Instant now) {
  if (exchange_) exchange_->close();
  exchange_.reset();
  state_ = State::kFlushing;
  state_since_ = now;
  if (unsent().empty()) after_flush(now);
}

void Session::sent(size_t bytes, Instant now) {
  out_sent_ += bytes;
  sent_since_mark_ += bytes;
  if (unsent().empty()) {
    out_.clear();
    out_sent_ = 0;
    release_if_large(out_);
  }
  if (unsent().empty() || sent_since_mark_ >= kProgressBytes) {
    write_mark_ = now;
    sent_since_mark_ = 0;
  }
  if (exchange_) exchange_->set_unsent(unsent().size());
  if (state_ == State::kFlushing && unsent().empty()) after_flush(now);
}

void Session::after_flush(Instant now) {
  const std::unique_ptr<Turn> turn = std::move(turn_);
  counters_.body_bytes -= turn->reserved_bytes;
  if (site_.on_answered) {
    site_.on_answered(
        {peer_, turn->head.method, turn->head.target, turn->status, turn->response_bytes, now - turn->arrived});
  }
  state_since_ = now;
  if (!turn->head.keep_alive) {
    state_ = State::kLingering;
    std::string().swap(input_);
    if (peer_closed_) close();
    return;
  }
  state_ = State::kIdle;
  if (draining_ && input_.empty()) return close();
  advance(now);
  // What a peer asked before it closed its side is answered, as far as that needs no waiting.
  if (peer_closed_ && state_ != State::kFlushing) cut(CancelReason::kClientGone);
}

}  // namespace infer::http
