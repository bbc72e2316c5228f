#include "http/client.h"

#include <algorithm>
#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <optional>
#include <utility>

#include "base/format.h"
#include "http/response_reader.h"
#include "http/syntax.h"
#include "http/url.h"

namespace infer::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

// How long a cancellation may go unnoticed. Deadlines are met to the timer's precision.
constexpr std::chrono::milliseconds kLook{5};

std::string request_text(const ClientRequest& request, const Url& url) {
  std::string text = request.method + " " + url.target + " HTTP/1.1\r\nHost: " + url.authority() + "\r\n";
  for (const Headers::Field& field : request.headers.fields()) {
    const auto is = [&](std::string_view name) { return equals_ignoring_case(field.name, name); };
    if (is("Host") || is("Content-Length") || is("Connection") || is("Transfer-Encoding") || is("Expect")) continue;
    text += field.name + ": " + field.value + "\r\n";
  }
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
    text += format("Content-Length: {}\r\n", request.body.size());
  }
  return text + "Connection: close\r\n\r\n" + request.body;
}

}  // namespace

struct Client::State {
  explicit State(ClientLimits a_limits) : limits(a_limits) {}

  ClientLimits limits;
  asio::io_context context{1};
  tcp::resolver resolver{context};
  tcp::socket socket{context};
  std::array<char, 16 << 10> buffer{};

  // Waits until `outcome` is there. When `call` says stop first, everything under way ends and its error is returned.
  Status wait(const std::optional<error_code>& outcome, const CallContext& call, std::string_view what) {
    while (!outcome) {
      if (call.should_stop()) {
        close();
        return call.check(what);
      }
      const auto left = std::chrono::nanoseconds(std::max<int64_t>((call.deadline.when() - call.clock.now()).ns(), 0));
      context.restart();
      context.run_one_for(std::min<std::chrono::nanoseconds>(left, kLook));
    }
    if (*outcome) return Error{ErrorCode::kIo, format("{}: {}", what, outcome->message())};
    return {};
  }

  // Ends the socket's operations. A name lookup goes on beside us, with nobody who listens: its handler owns what it
  // uses.
  void close() {
    error_code ignored;
    resolver.cancel();
    socket.close(ignored);
    context.restart();
    context.poll();
  }

  Status connect(const Url& url, const CallContext& call);
  Status write(const std::string& text, const CallContext& call);
  Status read(ResponseReader& reader, const CallContext& call);
};

Status Client::State::connect(const Url& url, const CallContext& call) {
  const std::string what = format("connecting to {}", url.authority());
  std::vector<tcp::endpoint> endpoints;
  error_code not_literal;
  const auto literal = asio::ip::make_address(url.host, not_literal);
  if (!not_literal) {
    endpoints.emplace_back(literal, url.port);
  } else {
    struct Lookup {
      std::optional<error_code> outcome;
      tcp::resolver::results_type found;
    };
    const auto lookup = std::make_shared<Lookup>();
    resolver.async_resolve(url.host, format("{}", url.port), tcp::resolver::numeric_service,
                           [lookup](error_code error, tcp::resolver::results_type found) {
                             lookup->found = std::move(found);
                             lookup->outcome = error;
                           });
    INFER_TRY(wait(lookup->outcome, call, format("looking up {}", url.host)));
    for (const auto& entry : lookup->found) endpoints.push_back(entry.endpoint());
  }
  socket = tcp::socket(context);
  const auto outcome = std::make_shared<std::optional<error_code>>();
  asio::async_connect(socket, endpoints, [outcome](error_code error, const tcp::endpoint&) { *outcome = error; });
  INFER_TRY(wait(*outcome, call, what));
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  return {};
}

Status Client::State::write(const std::string& text, const CallContext& call) {
  std::optional<error_code> outcome;
  asio::async_write(socket, asio::buffer(text), [&](error_code error, size_t) { outcome = error; });
  Status sent = wait(outcome, call, "sending the request");
  // A server that refuses early closes while we send; its answer says why.
  if (!sent && sent.error().code == ErrorCode::kIo) return {};
  return sent;
}

// The bytes that are there next, or the connection's end.
Status Client::State::read(ResponseReader& reader, const CallContext& call) {
  std::optional<error_code> outcome;
  size_t received = 0;
  socket.async_read_some(asio::buffer(buffer), [&](error_code error, size_t bytes) {
    received = bytes;
    outcome = error == asio::error::eof ? error_code() : error;
  });
  INFER_TRY(wait(outcome, call, "waiting for the answer"));
  return received > 0 ? reader.receive({buffer.data(), received}) : reader.end();
}

Client::Client(ClientLimits limits) : state_(std::make_unique<State>(limits)) {}

Client::~Client() = default;

Result<Response> Client::send(const ClientRequest& request, const CallContext& call) {
  std::string body;
  bool is_too_large = false;
  auto response = stream(
      request, [](const Response&) { return true; },
      [&](std::string_view piece) {
        is_too_large = body.size() + piece.size() > state_->limits.body_bytes;
        if (!is_too_large) body.append(piece);
        return !is_too_large;
      },
      call);
  if (is_too_large) {
    return Error{ErrorCode::kCorrupt, format("the server's answer is larger than {} bytes", state_->limits.body_bytes)};
  }
  if (response) response->body = std::move(body);
  return response;
}

Result<Response> Client::stream(const ClientRequest& request, const OnHead& on_head, const OnBody& on_body,
                                const CallContext& call) {
  if (!is_token(request.method)) {
    return Error{ErrorCode::kInvalidArgument, format("'{}' is not an HTTP method", request.method)};
  }
  INFER_ASSIGN(const Url url, parse_url(request.url));
  State& state = *state_;
  // Whatever comes, the connection ends with the call.
  struct Closing {
    State& state;
    ~Closing() { state.close(); }
  } const closing{state};
  INFER_TRY(state.connect(url, call));
  INFER_TRY(state.write(request_text(request, url), call));

  ResponseReader reader(request.method == "HEAD", state.limits.head_bytes, state.limits.head_fields, SIZE_MAX);
  Response response;
  bool head_given = false;
  do {
    INFER_TRY(state.read(reader, call));
    if (!reader.has_head()) continue;
    if (!head_given) {
      response.status = reader.head().status;
      response.headers = reader.head().headers;
      head_given = true;
      if (!on_head(response)) return Error{ErrorCode::kCancelled, "the caller wanted no body"};
    }
    const std::string piece = reader.take_body();
    if (!piece.empty() && !on_body(piece)) return Error{ErrorCode::kCancelled, "the caller wanted no more of the body"};
  } while (!reader.done());
  return response;
}

}  // namespace infer::http
