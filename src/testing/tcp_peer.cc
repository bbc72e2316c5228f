#include "testing/tcp_peer.h"

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdlib>
#include <optional>

namespace infer::testing {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::chrono::seconds kPatience{60};

}  // namespace

struct TcpPeer::State {
  asio::io_context context;
  tcp::socket socket{context};
  std::string received;
  std::array<char, 16384> buffer{};

  // The outcome of one read, or nullopt when it took too long.
  std::optional<error_code> read_some() {
    std::optional<error_code> outcome;
    socket.async_read_some(asio::buffer(buffer), [&](error_code error, size_t bytes) {
      received.append(buffer.data(), bytes);
      outcome = error;
    });
    context.restart();
    context.run_for(kPatience);
    if (!outcome) {
      socket.cancel();
      context.run();
      return std::nullopt;
    }
    return outcome;
  }

  std::string take(size_t bytes) {
    std::string taken = received.substr(0, bytes);
    received.erase(0, bytes);
    return taken;
  }
};

TcpPeer::TcpPeer(uint16_t port) : state_(std::make_unique<State>()) {
  error_code ignored;
  state_->socket.connect({asio::ip::address_v4::loopback(), port}, ignored);
  if (ignored) state_->socket.close();
}

TcpPeer::~TcpPeer() = default;
TcpPeer::TcpPeer(TcpPeer&& other) noexcept = default;
TcpPeer& TcpPeer::operator=(TcpPeer&& other) noexcept = default;

bool TcpPeer::is_open() const { return state_->socket.is_open(); }

bool TcpPeer::send(std::string_view bytes) {
  error_code error;
  asio::write(state_->socket, asio::buffer(bytes.data(), bytes.size()), error);
  return !error;
}

std::string TcpPeer::receive_until(std::string_view end) {
  while (true) {
    const size_t found = state_->received.find(end);
    if (found != std::string::npos) return state_->take(found + end.size());
    const auto outcome = state_->read_some();
    if (!outcome || *outcome) return state_->take(state_->received.size());
  }
}

std::string TcpPeer::receive_all() {
  while (true) {
    const auto outcome = state_->read_some();
    if (!outcome) return "(the other side neither sends nor closes)";
    if (*outcome) return state_->take(state_->received.size());
  }
}

std::string TcpPeer::receive_response() {
  std::string response = receive_until("\r\n\r\n");
  const size_t field = response.find("Content-Length: ");
  if (field == std::string::npos) return response;
  const size_t length = std::strtoull(response.c_str() + field + 16, nullptr, 10);
  while (state_->received.size() < length) {
    const auto outcome = state_->read_some();
    if (!outcome || *outcome) break;
  }
  return response + state_->take(length);
}

void TcpPeer::end_sending() {
  error_code ignored;
  state_->socket.shutdown(tcp::socket::shutdown_send, ignored);
}

void TcpPeer::close() {
  error_code ignored;
  state_->socket.close(ignored);
}

void TcpPeer::reset() {
  error_code ignored;
  state_->socket.set_option(asio::socket_base::linger(true, 0), ignored);
  state_->socket.close(ignored);
}

uint16_t unused_port() {
  asio::io_context context;
  const tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
  return acceptor.local_endpoint().port();
}

}  // namespace infer::testing
