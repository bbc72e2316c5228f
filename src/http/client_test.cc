#include "http/client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "http/event_stream.h"
#include "http/response_reader.h"
#include "http/server.h"
#include "http/url.h"
#include "os/system_clock.h"
#include "testing/property.h"
#include "testing/tcp_peer.h"

namespace infer::http {
namespace {

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() {
    Site site;
    site.routes.add("POST", "/echo", Access::kOpen, [](Request request, const ResponseSink& sink) {
      Response response = make_response(201, "text/plain", std::move(request.body));
      response.headers.add("X-Query", request.query);
      sink.reply(std::move(response));
    });
    site.routes.add("GET", "/never", Access::kOpen, [this](const Request&, const ResponseSink& sink) {
      sink.on_disconnect([this](CancelReason) { gone_ = true; });
      kept_ = sink;
      arrived_ = true;
    });
    site.routes.add("GET", "/events", Access::kOpen, [](const Request&, const ResponseSink& sink) {
      sink.start_stream(event_stream_head());
      for (int i = 0; i < 100; ++i) sink.push(event_text({"tick", std::to_string(i), ""}));
      sink.finish();
    });
    auto server = Server::start({}, std::move(site), clock_, log_);
    INFER_CHECK(server.has_value());
    server_ = std::move(*server);
  }

  CallContext forever() { return {clock_, Deadline::never(), cancel_.token()}; }
  std::string at(std::string_view target) const { return server_->url() + std::string(target); }

  os::SystemClock clock_;
  NullLog log_;
  CancelSource cancel_;
  std::atomic<bool> arrived_{false};
  std::atomic<bool> gone_{false};
  std::optional<ResponseSink> kept_;
  std::unique_ptr<Server> server_;
};

TEST_F(ClientTest, SendsAndReceives) {
  Client client;
  const std::string body(300'000, 'b');
  for (const std::string& host : {std::string("127.0.0.1"), std::string("localhost")}) {
    ClientRequest request{"POST", "http://" + host + ":" + std::to_string(server_->port()) + "/echo?a=b", {}, body};
    request.headers.add("Content-Length", "1");  // Is the client's; a wrong one is not sent.
    const auto response = client.send(request, forever());
    ASSERT_TRUE(response.has_value()) << response.error().message;
    EXPECT_EQ(response->status, 201);
    EXPECT_EQ(response->headers.find("X-Query"), "a=b");
    EXPECT_EQ(response->body, body);
  }
  const auto missing = client.send({"GET", at("/nothing"), {}, ""}, forever());
  ASSERT_TRUE(missing.has_value());
  EXPECT_EQ(missing->status, 404);
}

TEST_F(ClientTest, StreamsEvents) {
  Client client;
  EventStreamParser parser(1000);
  std::vector<ServerSentEvent> events;
  const auto response = client.stream(
      {"GET", at("/events"), {}, ""}, [](const Response& head) { return head.status == 200; },
      [&](std::string_view piece) {
        auto more = parser.parse(piece);
        for (auto& event : *more) events.push_back(std::move(event));
        return true;
      },
      forever());
  ASSERT_TRUE(response.has_value()) << response.error().message;
  ASSERT_EQ(events.size(), 100U);
  EXPECT_EQ(events[99].type, "tick");
  EXPECT_EQ(events[99].data, "99");
}

TEST_F(ClientTest, EndsAStreamThatItsCallerHasEnoughOf) {
  Client client;
  int pieces = 0;
  const auto response = client.stream(
      {"GET", at("/events"), {}, ""}, [](const Response&) { return true; },
      [&](std::string_view) { return ++pieces < 1; }, forever());
  EXPECT_EQ(response.error().code, ErrorCode::kCancelled);
}

TEST_F(ClientTest, EndsAtItsDeadlineAndTheServerNotices) {
  Client client;
  const CallContext call{clock_, Deadline::at(clock_.now() + Duration::from_ms(20)), {}};
  const auto response = client.send({"GET", at("/never"), {}, ""}, call);
  EXPECT_EQ(response.error().code, ErrorCode::kDeadline);
  while (arrived_ && !gone_) std::this_thread::yield();
}

TEST_F(ClientTest, EndsWhenCancelled) {
  Client client;
  std::thread canceller([&] {
    while (!arrived_) std::this_thread::yield();
    cancel_.cancel(CancelReason::kUser);
  });
  EXPECT_EQ(client.send({"GET", at("/never"), {}, ""}, forever()).error().code, ErrorCode::kCancelled);
  canceller.join();
}

TEST_F(ClientTest, SaysWhereNobodyListens) {
  Client client;
  const std::string where = "127.0.0.1:" + std::to_string(testing::unused_port());
  const auto response = client.send({"GET", "http://" + where + "/", {}, ""}, forever());
  EXPECT_EQ(response.error().code, ErrorCode::kIo);
  EXPECT_NE(response.error().message.find(where), std::string::npos);
}

TEST_F(ClientTest, BoundsTheAnswer) {
  ClientLimits limits;
  limits.body_bytes = 99;
  Client client(limits);
  EXPECT_TRUE(client.send({"POST", at("/echo"), {}, std::string(99, 'x')}, forever()).has_value());
  EXPECT_EQ(client.send({"POST", at("/echo"), {}, std::string(100, 'x')}, forever()).error().code, ErrorCode::kCorrupt);
}

TEST(Url, IsTakenApart) {
  const auto url = parse_url("HTTP://example.org:81/v1/x?y=z");
  ASSERT_TRUE(url.has_value());
  EXPECT_EQ(url->host, "example.org");
  EXPECT_EQ(url->port, 81);
  EXPECT_EQ(url->target, "/v1/x?y=z");
  EXPECT_EQ(parse_url("http://[::1]:5")->authority(), "[::1]:5");
  EXPECT_EQ(parse_url("http://a")->port, 80);
  EXPECT_EQ(parse_url("http://a?q")->target, "/?q");
}

TEST(Url, IsRefusedWhenItIsNone) {
  EXPECT_EQ(parse_url("https://a/").error().code, ErrorCode::kUnsupported);
  for (const char* text : {"", "a", "http://", "http:///x", "http://a:", "http://a:0", "http://a:70000", "http://a:x",
                           "http://[::1", "http://[::1]x", "http://u@a/", "http://a/#f", "http://a/ b", "ftp://a"}) {
    EXPECT_EQ(parse_url(text).error().code, ErrorCode::kInvalidArgument) << text;
  }
}

Status read_pieces(ResponseReader& reader, std::string_view text, Rng& rng, std::string& body) {
  while (!text.empty()) {
    const size_t bytes = std::min<size_t>(1 + rng.below(7), text.size());
    INFER_TRY(reader.receive(text.substr(0, bytes)));
    body += reader.take_body();
    text.remove_prefix(bytes);
  }
  return {};
}

TEST(ResponseReader, ReadsResponsesHoweverTheyAreCut) {
  struct Case {
    const char* text;
    const char* body;
    bool ends_by_itself;
  };
  const std::vector<Case> cases{
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", true},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;a\r\nlo\r\n0\r\n\r\n", "hello", true},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", "hello", true},
      {"HTTP/1.0 200 OK\r\n\r\nhello", "hello", false},
      {"HTTP/1.1 204 No Content\r\n\r\n", "", true},
      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", true},
  };
  for (const Case& each : cases) {
    testing::for_each_case(20, [&](Rng& rng) {
      ResponseReader reader(false, 1000, 10, 1000);
      std::string body;
      ASSERT_TRUE(read_pieces(reader, each.text, rng, body).has_value()) << each.text;
      EXPECT_EQ(reader.done(), each.ends_by_itself) << each.text;
      EXPECT_TRUE(reader.end().has_value());
      EXPECT_TRUE(reader.done());
      EXPECT_EQ(body, each.body);
    });
  }
}

TEST(ResponseReader, RefusesWhatIsNoResponse) {
  for (const char* text :
       {"SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 200OK\r\n\r\n", "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 1\n\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/3.0 200 OK\r\n\r\n"}) {
    ResponseReader reader(false, 1000, 10, 1000);
    EXPECT_EQ(reader.receive(text).error().code, ErrorCode::kCorrupt) << text;
  }
  ResponseReader cut(false, 1000, 10, 1000);
  ASSERT_TRUE(cut.receive("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell").has_value());
  EXPECT_EQ(cut.end().error().code, ErrorCode::kIo);
  ResponseReader endless(false, 100, 10, 1000);
  EXPECT_EQ(endless.receive(std::string(101, 'x')).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace infer::http
