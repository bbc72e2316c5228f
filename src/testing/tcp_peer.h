// The other end of a TCP connection to this machine, for tests of servers: sends what it is told, however rude.
// Blocking; every wait ends after a time that no test needs, and then fails.
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace infer::testing {

class TcpPeer {
 public:
  // Connects to 127.0.0.1; is_open() tells whether that worked.
  explicit TcpPeer(uint16_t port);
  ~TcpPeer();
  TcpPeer(TcpPeer&& other) noexcept;
  TcpPeer& operator=(TcpPeer&& other) noexcept;

  bool is_open() const;
  // False when the connection is broken.
  bool send(std::string_view bytes);
  // Everything up to and including `end`, or what came until the connection ended.
  std::string receive_until(std::string_view end);
  // Everything until the other side closes.
  std::string receive_all();
  // A response with a Content-Length, whole; what follows it stays for the next call.
  std::string receive_response();

  void end_sending();  // FIN; can receive still.
  void close();
  void reset();  // RST: the other side sees an error.

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A port that is free now.
uint16_t unused_port();

}  // namespace infer::testing
