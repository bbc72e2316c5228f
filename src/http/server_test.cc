#include "http/server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "http/event_stream.h"
#include "os/open_files.h"
#include "os/process_facts.h"
#include "os/system_clock.h"
#include "testing/property.h"
#include "testing/tcp_peer.h"

namespace infer::http {
namespace {

using infer::testing::TcpPeer;

constexpr std::string_view kGet = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
constexpr std::string_view kLater = "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n";
constexpr std::string_view kStream = "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n";

// What handlers leave for the test's thread: it waits until there is something.
template <class T>
class Mailbox {
 public:
  void put(T value) {
    const std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    arrived_.notify_all();
  }
  T take() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return !values_.empty(); });
    T value = std::move(values_.front());
    values_.erase(values_.begin());
    return value;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<T> values_;
};

class ServerTest : public ::testing::Test {
 protected:
  void start(int threads = 1) {
    Site site;
    site.limits = limits_;
    site.routes.add("GET", "/hello", Access::kOpen, [](const Request&, const ResponseSink& sink) {
      sink.reply(make_response(200, "text/plain", "hi"));
    });
    site.routes.add("POST", "/echo", Access::kOpen, [](Request request, const ResponseSink& sink) {
      sink.reply(make_response(200, "text/plain", std::move(request.body)));
    });
    site.routes.add("GET", "/later", Access::kOpen, [this](const Request&, const ResponseSink& sink) {
      sink.on_disconnect([this](CancelReason reason) { reasons_.put(reason); });
      sinks_.put(sink);
    });
    site.routes.add("GET", "/stream", Access::kOpen, [this](const Request&, const ResponseSink& sink) {
      sink.on_disconnect([this](CancelReason reason) { reasons_.put(reason); });
      sink.on_writable([this] { writable_.put(true); });
      sink.start_stream(event_stream_head());
      sinks_.put(sink);
    });
    auto server = Server::start({"127.0.0.1", 0, threads}, std::move(site), clock_, log_);
    ASSERT_TRUE(server.has_value()) << server.error().message;
    server_ = std::move(*server);
  }

  uint16_t port() const { return server_->port(); }
  CallContext until(CancelSource& source) const { return {clock_, Deadline::never(), source.token()}; }

  // Returns when no connection is open, which peers' closing brings about.
  void wait_until_all_closed() {
    while (server_->counters().connections_open != 0) std::this_thread::yield();
  }

  os::SystemClock clock_;
  NullLog log_;
  Limits limits_;
  Mailbox<ResponseSink> sinks_;
  Mailbox<CancelReason> reasons_;
  Mailbox<bool> writable_;
  std::unique_ptr<Server> server_;
};

std::string chunk_of(std::string_view data) { return std::string(data) + "\r\n"; }

TEST_F(ServerTest, PicksAPortAndAnswersOnIt) {
  start();
  EXPECT_NE(port(), 0);
  EXPECT_EQ(server_->url(), "http://127.0.0.1:" + std::to_string(port()));
  TcpPeer peer(port());
  peer.send(kGet);
  EXPECT_TRUE(peer.receive_response().ends_with("\r\n\r\nhi"));
  peer.send(kGet);
  EXPECT_TRUE(peer.receive_response().ends_with("\r\n\r\nhi"));
  EXPECT_EQ(server_->counters().connections_total, 1U);
}

TEST_F(ServerTest, SaysWhatToDoWhenThePortIsTaken) {
  start();
  const auto second = Server::start({"127.0.0.1", port(), 1}, Site{}, clock_, log_);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kBusy);
  EXPECT_NE(second.error().message.find("127.0.0.1:" + std::to_string(port())), std::string::npos);
  EXPECT_NE(second.error().message.find("--port"), std::string::npos);
}

TEST_F(ServerTest, RefusesOptionsThatCannotBe) {
  EXPECT_EQ(Server::start({"not an address", 0, 1}, Site{}, clock_, log_).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(Server::start({"127.0.0.1", 0, 0}, Site{}, clock_, log_).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(Server::start({"192.0.2.1", 0, 1}, Site{}, clock_, log_).error().code, ErrorCode::kIo);
}

TEST_F(ServerTest, AnswersPipelinedRequestsAndLargeChunkedUploads) {
  start(2);
  TcpPeer peer(port());
  std::string upload = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string body;
  for (int i = 0; i < 300; ++i) {
    const std::string chunk(10'000, static_cast<char>('a' + i % 26));
    body += chunk;
    upload += "2710\r\n" + chunk + "\r\n";
  }
  upload += "0\r\n\r\n";
  peer.send(std::string(kGet) + upload + std::string(kGet));
  EXPECT_TRUE(peer.receive_response().ends_with("\r\n\r\nhi"));
  EXPECT_TRUE(peer.receive_response().ends_with("\r\n\r\n" + body));
  EXPECT_TRUE(peer.receive_response().ends_with("\r\n\r\nhi"));
}

TEST_F(ServerTest, AnswersFromAnotherThreadWhileOthersAreServed) {
  start();
  TcpPeer waiting(port());
  waiting.send(kLater);
  std::optional<ResponseSink> sink = sinks_.take();
  TcpPeer other(port());
  other.send(kGet);
  EXPECT_TRUE(other.receive_response().ends_with("hi"));
  std::thread producer([&] { sink->reply(make_response(200, "text/plain", "at last")); });
  EXPECT_TRUE(waiting.receive_response().ends_with("at last"));
  producer.join();
}

TEST_F(ServerTest, StreamsTokensFromAnotherThread) {
  start(2);
  TcpPeer peer(port());
  peer.send(kStream);
  const ResponseSink sink = sinks_.take();
  peer.receive_until("\r\n\r\n");
  std::thread producer([&] {
    for (int i = 0; i < 1000; ++i) {
      while (sink.push(event_text({"", std::to_string(i), ""})) == PushResult::kFull) writable_.take();
    }
    sink.finish();
  });
  const std::string stream = peer.receive_until("0\r\n\r\n");
  producer.join();
  size_t at = 0;
  for (int i = 0; i < 1000; ++i) {
    at = stream.find("data: " + std::to_string(i) + "\n\n", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
}

TEST_F(ServerTest, HoldsAFastProducerBackUntilItsReaderReads) {
  start();
  TcpPeer peer(port());
  peer.send(kStream);
  const ResponseSink sink = sinks_.take();
  const std::string block(10'000, 'x');
  size_t pushed = 0;
  while (sink.push(block) == PushResult::kAccepted) pushed += block.size();
  EXPECT_LT(pushed, 64U << 20);  // What the system buffers is the system's; what we buffer is limited.
  EXPECT_EQ(sink.push(block), PushResult::kFull);
  std::thread reader([&] { peer.receive_until(chunk_of("the end")); });
  writable_.take();
  while (sink.push("the end") == PushResult::kFull) writable_.take();
  reader.join();
  sink.finish();
}

TEST_F(ServerTest, CutsOffAReaderThatReadsNothing) {
  limits_.write_stall = Duration::from_ms(20);
  start();
  TcpPeer peer(port());
  peer.send(kStream);
  const ResponseSink sink = sinks_.take();
  while (sink.push(std::string(10'000, 'x')) != PushResult::kGone) std::this_thread::yield();
  EXPECT_EQ(reasons_.take(), CancelReason::kClientGone);
  EXPECT_EQ(server_->counters().stalls_total, 1U);
}

TEST_F(ServerTest, NoticesACloseWhileTheAnswerIsMade) {
  start();
  TcpPeer peer(port());
  peer.send(kLater);
  const ResponseSink sink = sinks_.take();
  EXPECT_FALSE(sink.is_client_gone());
  peer.close();
  EXPECT_EQ(reasons_.take(), CancelReason::kClientGone);
  EXPECT_TRUE(sink.is_client_gone());
}

TEST_F(ServerTest, NoticesAResetWhileItStreams) {
  start();
  TcpPeer peer(port());
  peer.send(kStream);
  const ResponseSink sink = sinks_.take();
  sink.push("x");
  peer.receive_until("x");
  peer.reset();
  EXPECT_EQ(reasons_.take(), CancelReason::kClientGone);
  EXPECT_EQ(sink.push("y"), PushResult::kGone);
}

TEST_F(ServerTest, ClosesSlowClientsAndServesTheOthers) {
  limits_.head_time = Duration::from_ms(20);
  limits_.body_time = Duration::from_ms(20);
  limits_.idle_time = Duration::from_ms(20);
  start();
  TcpPeer silent(port());
  TcpPeer slow_head(port());
  TcpPeer slow_body(port());
  slow_head.send("GET /hel");
  slow_body.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc");
  EXPECT_EQ(silent.receive_all(), "");
  EXPECT_TRUE(slow_head.receive_all().starts_with("HTTP/1.1 408"));
  EXPECT_TRUE(slow_body.receive_all().starts_with("HTTP/1.1 408"));
  TcpPeer other(port());
  other.send(kGet);
  EXPECT_TRUE(other.receive_response().ends_with("hi"));
}

TEST_F(ServerTest, LetsAClientReadARefusalThatCameBeforeItsBodyWasSent) {
  limits_.body_bytes = 1000;
  start();
  TcpPeer peer(port());
  peer.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n" + std::string(200'000, 'x'));
  EXPECT_TRUE(peer.receive_all().starts_with("HTTP/1.1 413"));
}

TEST_F(ServerTest, TellsClientsOverTheLimitThatItIsFull) {
  limits_.connections = 2;
  start();
  TcpPeer first(port());
  TcpPeer second(port());
  first.send(kGet);
  second.send(kGet);
  EXPECT_TRUE(first.receive_response().ends_with("hi"));
  EXPECT_TRUE(second.receive_response().ends_with("hi"));
  TcpPeer third(port());
  const std::string refusal = third.receive_all();
  EXPECT_TRUE(refusal.starts_with("HTTP/1.1 503")) << refusal;
  EXPECT_EQ(server_->counters().connections_refused_total, 1U);
  first.close();
  third.close();
  while (server_->counters().connections_open != 1) std::this_thread::yield();
  TcpPeer fourth(port());
  fourth.send(kGet);
  EXPECT_TRUE(fourth.receive_response().ends_with("hi"));
}

// ---- The end
// ---------------------------------------------------------------------------------------------------------

TEST_F(ServerTest, DrainsWhatIsUnderWay) {
  start(2);
  TcpPeer idle(port());
  idle.send(kGet);
  idle.receive_response();
  TcpPeer busy(port());
  busy.send(kLater);
  const ResponseSink sink = sinks_.take();
  CancelSource cancel;
  std::thread drainer([&] { EXPECT_TRUE(server_->drain(until(cancel)).has_value()); });
  EXPECT_EQ(idle.receive_all(), "");  // Closed: the drain has begun, and new connections find nobody.
  TcpPeer late(port());
  EXPECT_FALSE(late.is_open());
  sink.reply(make_response(200, "text/plain", "finished"));
  EXPECT_TRUE(busy.receive_all().ends_with("finished"));
  busy.close();
  drainer.join();
  EXPECT_TRUE(server_->drain(until(cancel)).has_value());
}

TEST_F(ServerTest, StopsDrainingWhenToldToAndCutsTheRest) {
  start();
  TcpPeer busy(port());
  busy.send(kLater);
  const ResponseSink sink = sinks_.take();
  CancelSource cancel;
  cancel.cancel(CancelReason::kUser);
  EXPECT_EQ(server_->drain(until(cancel)).error().code, ErrorCode::kCancelled);
  EXPECT_FALSE(sink.is_client_gone());
  server_.reset();
  EXPECT_EQ(reasons_.take(), CancelReason::kShutdown);
  EXPECT_FALSE(sink.reply(make_response(200, "text/plain", "nobody")));
  EXPECT_EQ(busy.receive_all(), "");
}

TEST_F(ServerTest, SurvivesProducersThatGoOnAfterItsEnd) {
  for (int round = 0; round < 20; ++round) {
    start();
    TcpPeer peer(port());
    peer.send(kStream);
    std::thread producer([sink = sinks_.take()] {
      while (sink.push("x") != PushResult::kGone) std::this_thread::yield();
      sink.finish();
    });
    peer.receive_until("x");
    server_.reset();
    producer.join();
  }
}

// ---- Many
// ------------------------------------------------------------------------------------------------------------

TEST_F(ServerTest, HoldsAThousandIdleConnectionsInKilobytesEach) {
  constexpr size_t kConnections = 1000;
  if (os::raise_open_file_limit(2 * kConnections + 200) < 2 * kConnections + 200) {
    GTEST_SKIP() << "the system does not allow that many open files";
  }
  start();
  std::vector<TcpPeer> peers;
  peers.reserve(kConnections);
  for (size_t i = 0; i < kConnections; ++i) {
    peers.emplace_back(port());
    ASSERT_TRUE(peers.back().send(kGet));
    ASSERT_TRUE(peers.back().receive_response().ends_with("hi"));
  }
  EXPECT_EQ(server_->counters().connections_open, kConnections);
  TcpPeer other(port());
  other.send(kGet);
  EXPECT_TRUE(other.receive_response().ends_with("hi"));
}

size_t open_descriptors() {
  size_t count = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error))
    count += entry.path().empty() ? 0 : 1;
  return count;
}

// The peers of other tests' servers may be in any state: every connection ends in a reset, at a random place.
TEST_F(ServerTest, LosesNothingInTenThousandResets) {
  start(2);
  const std::vector<std::string> talks{
      std::string(kGet),
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n" + std::string(5000, 'x'),
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      std::string(kLater),
      std::string(kStream),
      std::string(10, '\0')};
  std::atomic<bool> ends{false};
  std::thread answerer([&] {  // Answers late, or never: sinks are dropped too.
    for (size_t i = 0;; ++i) {
      const ResponseSink sink = sinks_.take();
      if (ends) return;
      if (i % 3 == 0) sink.reply(make_response(200, "text/plain", "late"));
      if (i % 3 == 1) sink.push("late");
    }
  });
  const auto reset_some = [&](int connections, uint64_t seed) {
    Rng rng(seed);
    for (int i = 0; i < connections; ++i) {
      TcpPeer peer(port());
      const std::string& talk = talks[rng.below(static_cast<uint32_t>(talks.size()))];
      if (rng.below(4) == 0) {
        peer.send(kGet);
        peer.receive_response();
      }
      peer.send(std::string_view(talk).substr(0, rng.below(static_cast<uint32_t>(talk.size() + 1))));
      peer.reset();
    }
    wait_until_all_closed();
  };
  const uint64_t seed = testing::property_seed(1);
  SCOPED_TRACE("INFER_SEED=" + std::to_string(seed));
  reset_some(1000, seed);
  const size_t descriptors = open_descriptors();
  const uint64_t memory = os::resident_bytes().value_or(0);
  reset_some(10'000, seed + 1);
  EXPECT_LE(open_descriptors(), descriptors + 4);  // Asio keeps a few of its own.
  // Sanitizers keep freed memory to themselves.
  const uint64_t allowed = testing::kIsSanitized ? UINT64_MAX : memory + (8U << 20);
  EXPECT_LT(os::resident_bytes().value_or(0), allowed);
  EXPECT_EQ(server_->counters().body_bytes, 0U);
  TcpPeer last(port());
  last.send(kGet);
  EXPECT_TRUE(last.receive_response().ends_with("hi"));
  ends = true;
  last.send(kLater);
  answerer.join();
}

}  // namespace
}  // namespace infer::http
