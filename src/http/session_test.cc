#include "http/session.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "http/event_stream.h"
#include "http/session_driver.h"
#include "testing/property.h"

namespace infer::http {
namespace {

constexpr std::string_view kGet = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";

// A site whose handlers answer at once (/hello, /echo), later (/later) or with a stream (/stream).
class SessionTest : public ::testing::Test {
 protected:
  SessionTest() {
    site_.routes.add("GET", "/hello", Access::kOpen, [this](Request request, const ResponseSink& sink) {
      requests_.push_back(request);
      sink.reply(make_response(200, "text/plain", "hi"));
    });
    site_.routes.add("POST", "/echo", Access::kOpen, [this](Request request, const ResponseSink& sink) {
      requests_.push_back(request);
      sink.reply(make_response(200, "text/plain", std::move(request.body)));
    });
    site_.routes.add("POST", "/later", Access::kOpen, [this](Request request, const ResponseSink& sink) {
      requests_.push_back(std::move(request));
      sink_.emplace(sink);
      sink.on_disconnect([this](CancelReason reason) { reasons_.push_back(reason); });
    });
    site_.routes.add("GET", "/stream", Access::kOpen, [this](const Request&, const ResponseSink& sink) {
      sink_.emplace(sink);
      sink.on_disconnect([this](CancelReason reason) { reasons_.push_back(reason); });
      sink.start_stream(event_stream_head());
    });
    site_.routes.add("POST", "/secret", Access::kToken, [](const Request&, const ResponseSink& sink) {
      sink.reply(make_response(200, "text/plain", "open"));
    });
    site_.gate = Gate(GateOptions{{}, false, "sesame", false});
    site_.on_answered = [this](const AccessRecord& record) { statuses_.push_back(record.status); };
  }

  SessionDriver& driver() {
    if (!driver_) driver_ = std::make_unique<SessionDriver>(site_);
    return *driver_;
  }

  int status_of(std::string_view request) {
    driver_.reset();
    const std::string reply = driver().exchange(request);
    return reply.starts_with("HTTP/1.1 ") ? std::stoi(reply.substr(9, 3)) : 0;
  }

  Site site_;
  std::vector<Request> requests_;
  std::vector<CancelReason> reasons_;
  std::vector<int> statuses_;
  std::optional<ResponseSink> sink_;
  std::unique_ptr<SessionDriver> driver_;
};

// A head that names the host, then `fields` (each with its CR LF).
std::string post(std::string_view path, std::string_view fields, std::string_view body = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: 127.0.0.1:7031\r\n" + std::string(fields) + "\r\n" +
         std::string(body);
}

TEST_F(SessionTest, AnswersByteForByte) {
  EXPECT_EQ(driver().exchange(kGet),
            "HTTP/1.1 200 OK\r\n"
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            "Content-Type: text/plain\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            "X-Frame-Options: DENY\r\n"
            "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
            "Referrer-Policy: no-referrer\r\n"
            "Vary: Origin\r\n"
            "Content-Length: 2\r\n\r\nhi");
  EXPECT_FALSE(driver().session().is_closed());
  EXPECT_FALSE(driver().session().ends_after_sending());
}

TEST_F(SessionTest, HandsTheWholeRequestToItsHandler) {
  driver().exchange(
      "GET /hello?a=1&b=x%20y+z HTTP/1.1\r\nHost: localhost\r\nX-Thing:  spaced \t\r\nx-THING: again\r\n\r\n");
  ASSERT_EQ(requests_.size(), 1U);
  const Request& request = requests_[0];
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.path, "/hello");
  EXPECT_EQ(request.query_value("b"), "x y z");
  EXPECT_EQ(request.query_value("c"), std::nullopt);
  EXPECT_EQ(request.headers.find("x-thing"), "spaced");
  EXPECT_EQ(request.headers.count("X-Thing"), 2U);
  EXPECT_EQ(request.peer, "127.0.0.1:5");
}

TEST_F(SessionTest, AnswersPipelinedRequestsInTheirOrder) {
  const std::string reply =
      driver().exchange(post("/echo", "Content-Length: 3\r\n", "one") +
                        post("/echo", "Transfer-Encoding: chunked\r\n", "3\r\ntwo\r\n0\r\n\r\n") + std::string(kGet));
  const size_t one = reply.find("\r\n\r\none");
  const size_t two = reply.find("\r\n\r\ntwo");
  const size_t hi = reply.find("\r\n\r\nhi");
  ASSERT_NE(hi, std::string::npos);
  EXPECT_LT(one, two);
  EXPECT_LT(two, hi);
  EXPECT_EQ(statuses_, (std::vector<int>{200, 200, 200}));
}

TEST_F(SessionTest, UnderstandsRequestsHoweverTheyAreCut) {
  const std::string input = post("/echo", "Transfer-Encoding: chunked\r\n",
                                 "5;x=\"y\"\r\nhello\r\n00007\r\n, world\r\n0\r\nTrailer: dropped\r\n\r\n") +
                            "\r\n" + std::string(kGet) + post("/echo", "Content-Length: 5\r\n", "\r\n\r\n!");
  const std::string whole = driver().exchange(input);
  EXPECT_NE(whole.find("hello, world"), std::string::npos);
  for (size_t cut = 1; cut < input.size(); ++cut) {
    driver_.reset();
    std::string pieces = driver().exchange(input.substr(0, cut));
    pieces += driver().exchange(input.substr(cut));
    ASSERT_EQ(pieces, whole) << "cut at " << cut;
  }
  testing::for_each_case(200, [&](Rng& rng) {
    driver_.reset();
    std::string pieces;
    for (size_t at = 0; at < input.size();) {
      const size_t bytes = std::min<size_t>(1 + rng.below(20), input.size() - at);
      driver().send(input.substr(at, bytes));
      pieces += driver().take(rng.below(40));
      at += bytes;
    }
    ASSERT_EQ(pieces + driver().take_all(), whole);
  });
}

// One byte replaced, at every place, by each of some bytes: always an answer or silence, never two answers to one
// request.
TEST_F(SessionTest, GarbageAnywhereGetsOneClearAnswer) {
  const std::string input = post("/echo", "Content-Length: 3\r\nExpect: 100-continue\r\n", "abc");
  for (size_t at = 0; at < input.size(); ++at) {
    for (const char byte : {'\0', '\n', '\r', ' ', ':', '\x7F', '\xFF', '9', '\x16'}) {
      driver_.reset();
      statuses_.clear();
      std::string garbled = input;
      garbled[at] = byte;
      const std::string reply = driver().exchange(garbled);
      ASSERT_LE(statuses_.size(), 1U) << at;
      ASSERT_TRUE(reply.empty() || reply.starts_with("HTTP/1.1 ")) << at;
      driver().advance(Duration::from_seconds(1000));
      driver().take_all();
      driver().advance(Duration::from_seconds(1000));
      ASSERT_TRUE(driver().session().is_closed()) << at;
      ASSERT_EQ(driver().counters().body_bytes, 0U);
    }
  }
}

TEST_F(SessionTest, RefusesWhatCouldBeReadInTwoWays) {
  const std::vector<std::string> smuggled{
      post("/echo", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
      post("/echo", "Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
      post("/echo", "Content-Length: 3, 3\r\n", "abc"),
      post("/echo", "Content-Length: +3\r\n", "abc"),
      post("/echo", "Content-Length: 0x3\r\n", "abc"),
      post("/echo", "Content-Length : 3\r\n", "abc"),
      post("/echo", "Content-Length: 99999999999999999999\r\n"),
      post("/echo", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
      post("/echo", "X: a\r\n folded\r\n"),
      post("/echo", "X: a\n"),
      post("/echo", "X: a\rb\r\n"),
      post("/echo", std::string("X: a") + '\0' + "b\r\n"),
      post("/echo", "Host: localhost\r\n"),
      post("/echo", ": nameless\r\n"),
      post("/echo", "Connection: c;ose\r\n"),
      post("/echo", "no colon\r\n"),
      post("/echo", "Transfer-Encoding: chunked\r\n", "3\nabc\r\n0\r\n\r\n"),
      post("/echo", "Transfer-Encoding: chunked\r\n", "3 \r\nabc\r\n0\r\n\r\n"),
      post("/echo", "Transfer-Encoding: chunked\r\n", "3;x=\"a\r\nabc\r\n0\r\n\r\n"),
      post("/echo", "Transfer-Encoding: chunked\r\n", "3;=\r\nabc\r\n0\r\n\r\n"),
      post("/echo", "Transfer-Encoding: chunked\r\n", "-1\r\nabc\r\n0\r\n\r\n"),
      post("/echo", "Transfer-Encoding: chunked\r\n", "3\r\nabcd\r\n0\r\n\r\n"),
      post("/echo", "Transfer-Encoding: chunked\r\n", "\r\n\r\n"),
      "GET  /hello HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET /hel lo HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET /hello#x HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET /hello%0d%0aX:y HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET /hello%2 HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET http://127.0.0.1/hello HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET http:///hello HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET hello HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET /hello HTTP/1.1\r\nHost: local host\r\n\r\n",
      "GET /hello HTTP/1.1\r\n\r\n",
      "GET /hello\r\n\r\n",
      "GET /hello HTTP/1.1 \r\nHost: localhost\r\n\r\n",
      "POST /echo HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "\r\n\r\nGET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "\x16\x03\x01\x02\x01\x01",
  };
  for (const std::string& request : smuggled) {
    EXPECT_EQ(status_of(request), 400) << request;
    EXPECT_TRUE(driver().session().ends_after_sending()) << request;
  }
  EXPECT_TRUE(requests_.empty());
}

TEST_F(SessionTest, RefusesWithTheStatusThatTellsWhy) {
  site_.limits.request_line_bytes = 100;
  site_.limits.head_bytes = 300;
  site_.limits.head_fields = 5;
  site_.limits.body_bytes = 10;
  EXPECT_EQ(status_of("GET /" + std::string(100, 'a')), 414);
  EXPECT_EQ(status_of(std::string(kGet.substr(0, 38)) + "A: " + std::string(300, 'a')), 431);
  EXPECT_EQ(status_of(post("/echo", "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n")), 431);
  EXPECT_EQ(status_of(post("/echo", "Content-Length: 11\r\n")), 413);
  EXPECT_EQ(status_of(post("/echo", "Transfer-Encoding: chunked\r\n", "6\r\nabcdef\r\n5\r\n")), 413);
  EXPECT_EQ(status_of(post("/echo", "Transfer-Encoding: chunked\r\n", "fffffffffffffff\r\n")), 413);
  EXPECT_EQ(status_of(post("/echo", "Transfer-Encoding: gzip, chunked\r\n")), 501);
  EXPECT_EQ(status_of(post("/echo", "Expect: miracles\r\n")), 417);
  EXPECT_EQ(status_of("GET /hello HTTP/2.0\r\nHost: localhost\r\n\r\n"), 505);
  EXPECT_EQ(status_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
  EXPECT_EQ(status_of("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"), 404);
  EXPECT_EQ(status_of(post("/hello", "")), 405);
  EXPECT_EQ(status_of(post("/secret", "")), 401);
  EXPECT_EQ(status_of("GET /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403);
  EXPECT_EQ(status_of("GET /hello HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n"), 403);
}

TEST_F(SessionTest, LetsInWhatFitsExactly) {
  site_.limits.body_bytes = 10;
  EXPECT_EQ(status_of(post("/echo", "Content-Length: 10\r\n", "0123456789")), 200);
  EXPECT_EQ(status_of(post("/echo", "Transfer-Encoding: chunked\r\n", "a\r\n0123456789\r\n0\r\n\r\n")), 200);
  EXPECT_EQ(status_of("GET http://LOCALHOST/hello HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
  EXPECT_EQ(status_of(post("/secret", "X-Inferos-Token: sesame\r\n")), 200);
  EXPECT_EQ(status_of(post("/secret", "Authorization: Bearer sesame\r\n")), 200);
}

TEST_F(SessionTest, RefusesBodiesThatTogetherAreTooLarge) {
  site_.limits.all_bodies_bytes = 100;
  driver().counters().body_bytes = 95;  // Of other connections.
  EXPECT_TRUE(driver().exchange(post("/echo", "Content-Length: 6\r\n", "abcdef")).starts_with("HTTP/1.1 503"));
  EXPECT_EQ(driver().counters().body_bytes, 95U);
}

TEST_F(SessionTest, RefusesBeforeTheBodyIsSent) {
  EXPECT_EQ(status_of(post("/nothing", "Content-Length: 1000000\r\nExpect: 100-continue\r\n")), 404);
  EXPECT_TRUE(driver().session().ends_after_sending());
  EXPECT_EQ(driver().exchange(std::string(1 << 19, 'x')), "");
  EXPECT_FALSE(driver().session().is_closed());
  driver().exchange(std::string(1 << 20, 'x'));
  EXPECT_TRUE(driver().session().is_closed());
}

TEST_F(SessionTest, KeepsTheConnectionAfterARefusalWithoutABody) {
  const std::string reply = driver().exchange("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n" + std::string(kGet));
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 404"));
  EXPECT_TRUE(reply.ends_with("hi"));
}

TEST_F(SessionTest, AsksForABodyThatWaitsToBeAskedFor) {
  EXPECT_EQ(driver().exchange(post("/echo", "Content-Length: 2\r\nExpect: 100-continue\r\n")),
            "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_TRUE(driver().exchange("ok").ends_with("\r\n\r\nok"));
}

TEST_F(SessionTest, AnswersHeadAndOptions) {
  const std::string head = driver().exchange("HEAD /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_NE(head.find("Content-Length: 2\r\n"), std::string::npos);
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
  const std::string options = driver().exchange("OPTIONS /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_TRUE(options.starts_with("HTTP/1.1 204"));
  EXPECT_NE(options.find("Allow: GET, HEAD, OPTIONS\r\n"), std::string::npos);
  EXPECT_TRUE(driver().exchange("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 204"));
}

TEST_F(SessionTest, TellsAPageOfThisMachineWhatItMayDo) {
  const std::string reply = driver().exchange(
      "OPTIONS /echo HTTP/1.1\r\nHost: localhost:7031\r\nOrigin: http://localhost:3000\r\n"
      "Access-Control-Request-Method: POST\r\n\r\n");
  EXPECT_NE(reply.find("Access-Control-Allow-Origin: http://localhost:3000\r\n"), std::string::npos);
  EXPECT_NE(reply.find("Access-Control-Allow-Methods: GET, POST\r\n"), std::string::npos);
  EXPECT_EQ(reply.find("Allow-Origin: *"), std::string::npos);
}

TEST_F(SessionTest, ClosesAfterTheReplyWhenAskedTo) {
  EXPECT_NE(driver()
                .exchange("GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: x, Close\r\n\r\n")
                .find("Connection: close\r\n"),
            std::string::npos);
  EXPECT_TRUE(driver().session().ends_after_sending());
  driver_.reset();
  driver().exchange("GET /hello HTTP/1.0\r\nHost: localhost\r\n\r\n");
  EXPECT_TRUE(driver().session().ends_after_sending());
  driver_.reset();
  EXPECT_NE(driver()
                .exchange("GET /hello HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
                .find("Connection: keep-alive\r\n"),
            std::string::npos);
  EXPECT_FALSE(driver().session().ends_after_sending());
}

// ---- Time
// ------------------------------------------------------------------------------------------------------------

TEST_F(SessionTest, ClosesAnIdleConnectionWhenItsTimeIsUp) {
  driver().exchange(kGet);
  driver().advance(site_.limits.idle_time - Duration::from_ns(1));
  EXPECT_FALSE(driver().session().is_closed());
  driver().advance(Duration::from_ns(1));
  EXPECT_TRUE(driver().session().is_closed());
  EXPECT_EQ(driver().take_all(), "");
}

TEST_F(SessionTest, RefusesAHeadThatTricklesIn) {
  std::string reply;
  for (int i = 0; i < 11 && reply.empty(); ++i) {
    reply = driver().exchange("X");
    driver().advance(Duration::from_ms(1000));
    reply += driver().take_all();
  }
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 408"));
  driver().advance(site_.limits.linger_time);
  EXPECT_TRUE(driver().session().is_closed());
}

TEST_F(SessionTest, RefusesABodyThatTricklesIn) {
  std::string reply = driver().exchange(post("/echo", "Content-Length: 1000\r\n"));
  for (int i = 0; i < 61 && reply.empty(); ++i) {
    reply = driver().exchange("x");
    driver().advance(Duration::from_ms(1000));
    reply += driver().take_all();
  }
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 408"));
  EXPECT_EQ(driver().counters().body_bytes, 0U);
}

TEST_F(SessionTest, CutsOffAPeerThatTakesNothingOrDrops) {
  site_.limits.stream_bytes = 1 << 20;
  driver().send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
  driver().take_all();
  ASSERT_EQ(sink_->push(std::string(100'000, 'x')), PushResult::kAccepted);
  driver().run_tasks();
  // 4 KiB within the time are enough, and less is not.
  for (int i = 0; i < 5; ++i) {
    driver().advance(site_.limits.write_stall - Duration::from_ms(1));
    driver().take(4096);
  }
  EXPECT_FALSE(driver().session().is_closed());
  for (int i = 0; i < 30; ++i) {
    driver().advance(Duration::from_ms(1000));
    driver().take(100);
  }
  EXPECT_TRUE(driver().session().is_closed());
  EXPECT_EQ(reasons_, std::vector{CancelReason::kClientGone});
  EXPECT_EQ(driver().counters().stalls_total, 1U);
  EXPECT_EQ(sink_->push("x"), PushResult::kGone);
}

TEST_F(SessionTest, WaitsForAnAnswerAsLongAsItTakes) {
  driver().exchange(post("/later", ""));
  driver().advance(Duration::from_seconds(100'000));
  EXPECT_FALSE(driver().session().is_closed());
  EXPECT_TRUE(sink_->reply(make_response(201, "text/plain", "done")));
  EXPECT_TRUE(driver().take_all().ends_with("done"));
  EXPECT_TRUE(reasons_.empty());
}

// ---- Answers from elsewhere
// ------------------------------------------------------------------------------------------

TEST_F(SessionTest, TellsTheProducerAtOnceThatItsClientIsGone) {
  driver().exchange(post("/later", ""));
  driver().session().peer_closed(driver().now());
  EXPECT_EQ(reasons_, std::vector{CancelReason::kClientGone});
  EXPECT_TRUE(sink_->is_client_gone());
  EXPECT_FALSE(sink_->reply(make_response(200, "text/plain", "late")));
  EXPECT_TRUE(driver().session().is_closed());
  EXPECT_EQ(driver().counters().disconnects_total, 1U);
}

TEST_F(SessionTest, TellsAProducerThatAsksAfterwards) {
  driver().exchange(post("/later", ""));
  driver().session().cut(CancelReason::kShutdown);
  std::vector<CancelReason> late;
  sink_->on_disconnect([&](CancelReason reason) { late.push_back(reason); });
  driver().run_tasks();
  EXPECT_EQ(late, std::vector{CancelReason::kShutdown});
  driver().end_loop();
  sink_->on_disconnect([&](CancelReason reason) { late.push_back(reason); });
  EXPECT_EQ(late.size(), 2U);
}

TEST_F(SessionTest, DoesNotCallBackOnceTheAnswerIsHandedOver) {
  driver().exchange(post("/later", ""));
  sink_->reply(make_response(200, "text/plain", "x"));
  driver().take_all();
  driver().session().peer_closed(driver().now());
  EXPECT_TRUE(reasons_.empty());
  EXPECT_FALSE(sink_->reply(make_response(200, "text/plain", "twice")));
}

TEST_F(SessionTest, AnswersARequestThatItsHandlerDropped) {
  driver().exchange(post("/later", ""));
  sink_.reset();
  EXPECT_TRUE(driver().take_all().starts_with("HTTP/1.1 500"));
  EXPECT_TRUE(driver().exchange(kGet).ends_with("hi"));
}

TEST_F(SessionTest, StreamsInChunksAndGoesOnAfterwards) {
  driver().exchange("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(sink_->push(event_text({"", "a token", ""})), PushResult::kAccepted);
  EXPECT_EQ(driver().take_all(), "f\r\ndata: a token\n\n\r\n");
  sink_->push("x");
  sink_->push("yz");
  sink_->finish();
  EXPECT_EQ(driver().take_all(), "1\r\nx\r\n2\r\nyz\r\n0\r\n\r\n");
  EXPECT_EQ(sink_->push("late"), PushResult::kGone);
  EXPECT_TRUE(driver().exchange(kGet).ends_with("hi"));
  EXPECT_TRUE(reasons_.empty());
}

TEST_F(SessionTest, PingsWhileNothingIsReady) {
  driver().exchange("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
  driver().advance(site_.limits.ping_interval - Duration::from_ns(1));
  EXPECT_EQ(driver().take_all(), "");
  driver().advance(Duration::from_ns(1));
  EXPECT_EQ(driver().take_all(), "8\r\n: ping\n\n\r\n");
  sink_->push("x");
  driver().take_all();
  driver().advance(site_.limits.ping_interval - Duration::from_ns(1));
  EXPECT_EQ(driver().take_all(), "");
}

TEST_F(SessionTest, CutsAStreamThatItsProducerDropped) {
  driver().exchange("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
  sink_->push("part");
  sink_.reset();
  EXPECT_EQ(driver().take_all(), "4\r\npart\r\n");
  EXPECT_TRUE(driver().session().ends_after_sending());
}

TEST_F(SessionTest, StreamsToOldClientsUntilItCloses) {
  const std::string head =
      driver().exchange("GET /stream HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(head.find("Transfer-Encoding"), std::string::npos);
  EXPECT_NE(head.find("Connection: close"), std::string::npos);
  sink_->push("x");
  sink_->finish();
  EXPECT_EQ(driver().take_all(), "x");
  EXPECT_TRUE(driver().session().ends_after_sending());
}

TEST_F(SessionTest, EndsAStreamThatOnlyItsHeadWasAskedFor) {
  const std::string head = driver().exchange("HEAD /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
  EXPECT_EQ(reasons_, std::vector{CancelReason::kClientGone});
  EXPECT_EQ(sink_->push("x"), PushResult::kGone);
}

TEST_F(SessionTest, MakesAProducerWaitForASlowReader) {
  site_.limits.stream_bytes = 1000;
  driver().exchange("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
  int calls = 0;
  sink_->on_writable([&] { ++calls; });
  EXPECT_EQ(sink_->push(std::string(5000, 'x')), PushResult::kAccepted);  // Larger than the buffer, alone.
  driver().take_all();
  int accepted = 0;
  while (sink_->push(std::string(100, 'x')) == PushResult::kAccepted) ++accepted;
  EXPECT_EQ(accepted, 10);
  driver().run_tasks();
  EXPECT_EQ(sink_->push("y"), PushResult::kFull);
  EXPECT_EQ(calls, 0);
  driver().take(400);
  EXPECT_EQ(calls, 0);
  driver().take(400);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(sink_->push("y"), PushResult::kAccepted);
  driver().take_all();
  EXPECT_EQ(calls, 1);
}

TEST_F(SessionTest, ReadsAheadOnlySoFar) {
  site_.limits.head_bytes = 200;
  driver().exchange(post("/later", ""));
  EXPECT_TRUE(driver().session().wants_bytes());
  driver().send(std::string(kGet));
  EXPECT_TRUE(driver().session().wants_bytes());
  driver().send(std::string(500, 'x'));
  EXPECT_FALSE(driver().session().wants_bytes());
  sink_->reply(make_response(200, "text/plain", "x"));
  EXPECT_NE(driver().take_all().find("hi"), std::string::npos);
}

TEST_F(SessionTest, AnswersAPeerThatClosedItsSideOnly) {
  driver().send(std::string(kGet) + std::string(kGet));
  driver().session().peer_closed(driver().now());
  const std::string replies = driver().take_all();
  EXPECT_NE(replies.find("hi"), replies.rfind("hi"));
  EXPECT_TRUE(driver().session().is_closed());
}

// ---- The end of the server
// -------------------------------------------------------------------------------------------

TEST_F(SessionTest, DrainsTheRequestUnderWayAndNoOther) {
  driver().exchange(post("/later", ""));
  driver().session().drain(driver().now());
  sink_->reply(make_response(200, "text/plain", "last"));
  const std::string reply = driver().take_all();
  EXPECT_NE(reply.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(driver().session().ends_after_sending());

  driver_.reset();
  driver().exchange(kGet);
  driver().session().drain(driver().now());
  EXPECT_TRUE(driver().session().is_closed());
}

TEST_F(SessionTest, RefusesAConnectionBeforeItSaysAnything) {
  driver().session().refuse_connection({503, "full"}, driver().now());
  const std::string reply = driver().take_all();
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 503"));
  EXPECT_NE(reply.find("Retry-After: 1\r\n"), std::string::npos);
  EXPECT_TRUE(reply.ends_with("full\n"));
}

TEST_F(SessionTest, NothingThatAHandlerSaysCanSplitAResponse) {
  site_.routes.add("GET", "/split", Access::kOpen, [](const Request& request, const ResponseSink& sink) {
    Response response = make_response(200, "text/plain", "x");
    response.headers.add("X-Request-Id", *request.query_value("id") + "\r\nSet-Cookie: a=b\r\n\r\n<html>");
    response.headers.add("Content-Length", "7");
    response.headers.add("Transfer-Encoding", "chunked");
    sink.reply(std::move(response));
  });
  const std::string reply = driver().exchange("GET /split?id=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_NE(reply.find("X-Request-Id: 1  Set-Cookie: a=b    <html>\r\n"), std::string::npos);
  EXPECT_EQ(reply.find("Content-Length: 7"), std::string::npos);
  EXPECT_EQ(reply.find("chunked"), std::string::npos);
}

}  // namespace
}  // namespace infer::http
