// Load on a server of ours, in one process: requests per second and latencies of a handler that answers at once, and
// the memory of idle connections. Server and client share the machine's cores, so rates are what both together reach.
//
// Processor time is that of client, server and system together.
//
//   http_load [--smoke]       all figures as lines of text; --smoke makes every part tiny
#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/server.h"
#include "os/open_files.h"
#include "os/process_facts.h"
#include "os/system_clock.h"

namespace infer::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::string_view kRequest =
    "GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nUser-Agent: load\r\n\r\n";

// Sends the next request when the last one is answered, until all are done.
class LoadClient {
 public:
  LoadClient(asio::io_context& context, const Clock& clock, uint16_t port) : socket_(context), clock_(clock) {
    socket_.connect({asio::ip::address_v4::loopback(), port});
    socket_.set_option(tcp::no_delay(true));
  }

  void run(int requests, std::vector<double>& latencies_us) {
    left_ = requests;
    latencies_us_ = &latencies_us;
    send();
  }

 private:
  void send() {
    if (left_-- == 0) return;
    sent_at_ = clock_.now();
    response_.clear();
    asio::write(socket_, asio::buffer(kRequest.data(), kRequest.size()));
    receive();
  }

  void receive() {
    socket_.async_read_some(asio::buffer(buffer_), [this](error_code error, size_t bytes) {
      if (error) return;
      response_.append(buffer_.data(), bytes);
      if (!response_.ends_with("\r\n\r\nhi")) return receive();
      latencies_us_->push_back((clock_.now() - sent_at_).seconds() * 1e6);
      send();
    });
  }

  tcp::socket socket_;
  const Clock& clock_;
  std::array<char, 2048> buffer_{};
  std::string response_;
  Instant sent_at_;
  int left_ = 0;
  std::vector<double>* latencies_us_ = nullptr;
};

// One line: rate and percentiles of `connections` that each send one request after the other.
bool measure_rate(const Clock& clock, uint16_t port, int connections, int requests) {
  asio::io_context context{1};
  std::vector<std::unique_ptr<LoadClient>> clients;
  for (int i = 0; i < connections; ++i) clients.push_back(std::make_unique<LoadClient>(context, clock, port));
  std::vector<double> latencies_us;
  const Instant start = clock.now();
  const Duration work_before = os::cpu_time_used();
  for (const auto& client : clients) client->run(requests / connections, latencies_us);
  context.run();
  const double seconds = (clock.now() - start).seconds();
  std::sort(latencies_us.begin(), latencies_us.end());
  if (latencies_us.size() != static_cast<size_t>(requests / connections * connections)) return false;
  const auto percentile = [&](double share) {
    return latencies_us[static_cast<size_t>(share * static_cast<double>(latencies_us.size() - 1))];
  };
  const double work_us = (os::cpu_time_used() - work_before).seconds() * 1e6;
  const auto done = static_cast<double>(latencies_us.size());
  std::printf(
      "%3d connections: %8.0f requests/s, latency p50 %6.0f us, p99 %6.0f us, %5.1f us of processor time each\n",
      connections, done / seconds, percentile(0.5), percentile(0.99), work_us / done);
  return true;
}

// Connections that were used once and are kept. Both ends are in this process; the client's end is a bare socket, so
// nearly all memory is the server's.
bool measure_idle(const Server& server, size_t connections) {
  asio::io_context context{1};
  if (os::raise_open_file_limit(2 * connections + 300) < 2 * connections + 300) {
    std::printf("idle connections: not measured, the system does not allow %zu open files\n", 2 * connections + 300);
    return true;
  }
  std::vector<tcp::socket> sockets;
  sockets.reserve(connections);
  const auto before = os::resident_bytes();
  std::array<char, 2048> buffer{};
  for (size_t i = 0; i < connections; ++i) {
    tcp::socket& socket = sockets.emplace_back(context);
    socket.connect({asio::ip::address_v4::loopback(), server.port()});
    asio::write(socket, asio::buffer(kRequest.data(), kRequest.size()));
    std::string response;
    while (!response.ends_with("\r\n\r\nhi")) response.append(buffer.data(), socket.read_some(asio::buffer(buffer)));
  }
  const auto after = os::resident_bytes();
  if (!before || !after || server.counters().connections_open < connections) return false;
  std::printf("%zu idle connections: %.0f bytes of process memory each\n", connections,
              static_cast<double>(*after - *before) / static_cast<double>(connections));
  return true;
}

bool run(bool is_smoke) {
  const os::SystemClock clock;
  NullLog log;
  for (const int threads : {1, 2}) {
    Site site;
    site.routes.add("GET", "/hello", Access::kOpen, [](const Request&, const ResponseSink& sink) {
      sink.reply(make_response(200, "text/plain", "hi"));
    });
    auto server = Server::start({"127.0.0.1", 0, threads}, std::move(site), clock, log);
    if (!server) {
      std::printf("%s\n", server.error().message.c_str());
      return false;
    }
    std::printf("%d I/O thread%s\n", threads, threads == 1 ? "" : "s");
    if (!measure_rate(clock, (*server)->port(), 1, is_smoke ? 20 : 20'000)) return false;
    if (!measure_rate(clock, (*server)->port(), 64, is_smoke ? 128 : 128'000)) return false;
    if (threads == 1 && !measure_idle(**server, is_smoke ? 10 : 8000)) return false;
  }
  return true;
}

}  // namespace
}  // namespace infer::http

int main(int argc, char** argv) { return infer::http::run(argc > 1 && std::string_view(argv[1]) == "--smoke") ? 0 : 1; }
