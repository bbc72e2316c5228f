#include "http/server.h"

#include <algorithm>
#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <exception>
#include <future>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/format.h"
#include "os/open_files.h"
#include "os/service_thread.h"

namespace infer::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr size_t kScratchBytes = 64 << 10;
constexpr int kReadsInARow = 4;              // Then other connections have their turn.
constexpr int kSendBufferBytes = 128 << 10;  // The system's; more would only hide a slow reader from us.
constexpr size_t kRefusalsAtOnce = 64;       // Connections over the limit that are told so; others are just closed.
constexpr uint64_t kOtherFiles = 256;        // Of this process: models, caches, history.
constexpr std::chrono::milliseconds kAcceptPause{100};  // When the system has no descriptors left.
constexpr std::chrono::milliseconds kLook{5};           // How long a stop may go unnoticed while somebody waits.
constexpr int kBacklog = 4096;

class Connection;

// One I/O thread's event loop and what belongs to it.
struct Loop final : Waker {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  std::array<char, kScratchBytes> scratch{};
  std::unordered_set<std::shared_ptr<Connection>> connections;
  bool draining = false;
  std::function<void()> on_closed;  // After each connection's end.

  void post(std::function<void()> task) override { asio::post(context, std::move(task)); }
};

// A socket and its session. Everything on the loop's thread; alive while a wait of the system or the loop's set holds
// it.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(const std::shared_ptr<Loop>& loop, tcp::socket socket, const Site& site, Counters& counters,
             const Clock& clock, std::string peer)
      : loop_(*loop),
        socket_(std::move(socket)),
        timer_(loop->context),
        clock_(clock),
        session_(
            site, counters, clock, loop,
            [this] {
              session_.collect(clock_.now());
              pump();
            },
            std::move(peer), clock.now()) {}

  Session& session() { return session_; }

  // Brings the socket in line with what the session wants. After every change of the session.
  void pump() {
    if (ended_) return;
    write();
    if (session_.is_closed()) {
      end();
      return;
    }
    if (session_.ends_after_sending() && !sending_ended_) {
      error_code ignored;
      sending_ended_ = true;
      socket_.shutdown(tcp::socket::shutdown_send, ignored);
    }
    wait_for_bytes();
    set_timer();
  }

 private:
  void write() {
    while (!session_.unsent().empty() && !writing_waits_) {
      const std::string_view unsent = session_.unsent();
      error_code error;
      const size_t bytes = socket_.write_some(asio::buffer(unsent.data(), unsent.size()), error);
      if (error == asio::error::would_block) {
        wait_for_room();
      } else if (error) {
        session_.cut(CancelReason::kClientGone);
      } else {
        session_.sent(bytes, clock_.now());
      }
    }
  }

  void wait_for_room() {
    writing_waits_ = true;
    socket_.async_wait(tcp::socket::wait_write, [self = shared_from_this()](error_code error) {
      self->writing_waits_ = false;
      if (error) self->session_.cut(CancelReason::kClientGone);
      self->pump();
    });
  }

  void wait_for_bytes() {
    if (reading_waits_ || !session_.wants_bytes()) return;
    reading_waits_ = true;
    socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](error_code error) {
      self->reading_waits_ = false;
      if (error) {
        self->session_.cut(CancelReason::kClientGone);
      } else {
        self->read();
      }
      self->pump();
    });
  }

  void read() {
    for (int i = 0; i < kReadsInARow && session_.wants_bytes(); ++i) {
      error_code error;
      const size_t bytes = socket_.read_some(asio::buffer(loop_.scratch), error);
      if (error == asio::error::would_block) return;
      if (error == asio::error::eof) return session_.peer_closed(clock_.now());
      if (error) return session_.cut(CancelReason::kClientGone);
      session_.receive({loop_.scratch.data(), bytes}, clock_.now());
      if (bytes < loop_.scratch.size()) return;
    }
  }

  // A timer that is set already may fire too early, which costs a look; setting it anew each time would cost more.
  void set_timer() {
    const Instant next = session_.deadline();
    if (next >= timer_set_to_) return;
    timer_set_to_ = next;
    timer_.expires_after(std::chrono::nanoseconds(std::max<int64_t>((next - clock_.now()).ns(), 0)));
    timer_.async_wait([self = shared_from_this()](error_code error) {
      if (error || self->ended_) return;
      self->timer_set_to_ = Instant::never();
      self->session_.tick(self->clock_.now());
      self->pump();
    });
  }

  void end() {
    ended_ = true;
    error_code ignored;
    socket_.close(ignored);
    timer_.cancel();
    const auto self = shared_from_this();
    loop_.connections.erase(self);
    loop_.on_closed();
  }

  Loop& loop_;
  tcp::socket socket_;
  asio::steady_timer timer_;
  const Clock& clock_;
  Session session_;
  Instant timer_set_to_ = Instant::never();
  bool reading_waits_ = false;
  bool writing_waits_ = false;
  bool sending_ended_ = false;
  bool ended_ = false;
};

Error listen_error(const ServerOptions& options, const error_code& error) {
  const std::string where = format("{}:{}", options.address, options.port);
  if (error == asio::error::address_in_use) {
    return Error{ErrorCode::kBusy,
                 format("{} is in use by another program (perhaps another inferos): stop that, or choose another port "
                        "with --port N, where 0 picks a free one",
                        where)};
  }
  if (error == asio::error::access_denied) {
    return Error{ErrorCode::kIo, format("not allowed to listen on {}: choose a port of 1024 and above", where)};
  }
  return Error{ErrorCode::kIo, format("cannot listen on {}: {}", where, error.message())};
}

bool is_out_of_descriptors(const error_code& error) {
  return error == asio::error::no_descriptors || error == asio::error::no_buffer_space ||
         error == boost::system::errc::too_many_files_open_in_system || error == asio::error::no_memory;
}

std::string peer_name(const tcp::socket& socket) {
  error_code error;
  const tcp::endpoint peer = socket.remote_endpoint(error);
  return error ? std::string("?") : format("{}:{}", peer.address().to_string(), peer.port());
}

}  // namespace

struct Server::State {
  State(Site a_site, const Clock& a_clock, Log& a_log) : site(std::move(a_site)), clock(a_clock), log(a_log) {}

  const Site site;
  const Clock& clock;
  Log& log;
  Counters counters;
  size_t connections_max = 0;
  tcp::endpoint endpoint;
  std::vector<std::shared_ptr<Loop>> loops;  // The first one accepts.
  std::unique_ptr<tcp::acceptor> acceptor;
  std::unique_ptr<asio::steady_timer> accept_pause;
  size_t next_loop = 0;
  std::promise<void> emptied;  // Draining, and the last connection has ended.
  std::future<void> when_emptied = emptied.get_future();
  std::atomic<bool> has_emptied{false};
  std::vector<std::unique_ptr<os::ServiceThread>> threads;  // Last: they end before what they use.

  Status listen(const ServerOptions& options);
  Status start_threads(int count);
  void run(Loop& loop);
  void accept();
  void begin(const std::shared_ptr<Loop>& loop, tcp::socket socket, bool is_over_limit);
  void after_close(const Loop& loop);
  void post_to_all(const std::function<void(Loop&)>& task);
};

Status Server::State::listen(const ServerOptions& options) {
  if (options.threads < 1 || options.threads > 16) {
    return Error{ErrorCode::kInvalidArgument, format("{} I/O threads: choose 1 to 16", options.threads)};
  }
  error_code error;
  const std::string literal = options.address == "localhost" ? "127.0.0.1" : options.address;
  const auto address = asio::ip::make_address(literal, error);
  if (error) {
    return Error{ErrorCode::kInvalidArgument,
                 format("'{}' is not an address to listen on: write 127.0.0.1, ::1, or 0.0.0.0 for all", literal)};
  }
  for (int i = 0; i < options.threads; ++i) loops.push_back(std::make_shared<Loop>());
  for (const auto& loop : loops) {
    loop->on_closed = [this, raw = loop.get()] { after_close(*raw); };
  }
  acceptor = std::make_unique<tcp::acceptor>(loops[0]->context);
  accept_pause = std::make_unique<asio::steady_timer>(loops[0]->context);
  endpoint = tcp::endpoint(address, options.port);
  acceptor->open(endpoint.protocol(), error);
#if !defined(_WIN32)  // There it would let two programs share a port.
  if (!error) acceptor->set_option(tcp::acceptor::reuse_address(true), error);
#endif
  if (!error) acceptor->set_option(asio::socket_base::send_buffer_size(kSendBufferBytes), error);
  if (!error) acceptor->bind(endpoint, error);
  if (!error) acceptor->listen(kBacklog, error);
  if (!error) endpoint = acceptor->local_endpoint(error);
  if (error) return listen_error(options, error);

  const size_t wanted = site.limits.connections;
  const uint64_t files = os::raise_open_file_limit(wanted + kRefusalsAtOnce + kOtherFiles);
  connections_max = wanted;
  if (files < wanted + kRefusalsAtOnce + kOtherFiles) {
    connections_max = files > 2 * (kRefusalsAtOnce + kOtherFiles) ? files - kRefusalsAtOnce - kOtherFiles : files / 2;
    log.write(LogLevel::kWarning,
              format("at most {} connections instead of {}: the system allows {} open files (raise it with ulimit -n)",
                     connections_max, wanted, files));
  }
  return {};
}

Status Server::State::start_threads(int count) {
  accept();
  for (int i = 0; i < count; ++i) {
    const std::shared_ptr<Loop> loop = loops[static_cast<size_t>(i)];
    INFER_ASSIGN(auto thread, os::ServiceThread::start([this, loop] { run(*loop); }, os::Turns::kShort));
    threads.push_back(std::move(thread));
  }
  return {};
}

// A handler that throws loses its own request only.
void Server::State::run(Loop& loop) {
  bool ended = false;
  while (!ended) {
    try {
      loop.context.run();
      ended = true;
    } catch (const std::exception& error) {
      log.write(LogLevel::kError, format("a request handler failed: {}", error.what()));
    }
  }
}

void Server::State::accept() {
  const std::shared_ptr<Loop> loop = loops[next_loop++ % loops.size()];
  acceptor->async_accept(loop->context, [this, loop](error_code error, tcp::socket socket) {
    if (error == asio::error::operation_aborted || !acceptor->is_open()) return;
    if (is_out_of_descriptors(error)) {
      log.write(LogLevel::kWarning, format("cannot take a connection: {}", error.message()));
      accept_pause->expires_after(kAcceptPause);
      accept_pause->async_wait([this](error_code cancelled) {
        if (!cancelled && acceptor->is_open()) accept();
      });
      return;
    }
    if (!error) {
      const uint64_t open = ++counters.connections_open;
      ++counters.connections_total;
      const bool is_over_limit = open > connections_max;
      if (is_over_limit) ++counters.connections_refused_total;
      if (open > connections_max + kRefusalsAtOnce) {
        --counters.connections_open;  // Closed with `socket`.
      } else {
        loop->post([this, loop, is_over_limit, held = std::make_shared<tcp::socket>(std::move(socket))] {
          begin(loop, std::move(*held), is_over_limit);
        });
      }
    }
    accept();
  });
}

void Server::State::begin(const std::shared_ptr<Loop>& loop, tcp::socket socket, bool is_over_limit) {
  error_code error;
  socket.non_blocking(true, error);
  if (!error) socket.set_option(tcp::no_delay(true), error);
  if (error) {
    after_close(*loop);
    return;
  }
  std::string peer = peer_name(socket);
  auto connection = std::make_shared<Connection>(loop, std::move(socket), site, counters, clock, std::move(peer));
  loop->connections.insert(connection);
  if (is_over_limit) {
    connection->session().refuse_connection(
        {503, format("there are {} connections already; try again in a second", connections_max)}, clock.now());
  }
  if (loop->draining) connection->session().drain(clock.now());
  connection->pump();
}

void Server::State::after_close(const Loop& loop) {
  if (--counters.connections_open == 0 && loop.draining && !has_emptied.exchange(true)) emptied.set_value();
}

void Server::State::post_to_all(const std::function<void(Loop&)>& task) {
  for (const auto& loop : loops) {
    loop->post([task, loop] { task(*loop); });
  }
}

// ---- The handle
// ------------------------------------------------------------------------------------------------------

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Server>> Server::start(const ServerOptions& options, Site site, const Clock& clock, Log& log) {
  auto state = std::unique_ptr<State>(new State(std::move(site), clock, log));
  try {
    INFER_TRY(state->listen(options));
  } catch (const std::exception& error) {  // Asio's contexts ask the system for descriptors.
    return Error{ErrorCode::kExhausted, format("cannot make a server: {}", error.what())};
  }
  auto server = std::unique_ptr<Server>(new Server(std::move(state)));  // Ends what was started, whatever comes.
  INFER_TRY(server->state_->start_threads(options.threads));
  return server;
}

Server::~Server() {  // NOLINT(bugprone-exception-escape): without memory for this the threads cannot be ended.
  State& state = *state_;
  state.loops[0]->post([&state] {
    error_code ignored;
    state.acceptor->close(ignored);
    state.accept_pause->cancel();
    state.post_to_all([](Loop& loop) {
      loop.draining = true;
      const auto connections = loop.connections;
      for (const auto& connection : connections) {
        connection->session().cut(CancelReason::kShutdown);
        connection->pump();
      }
      loop.work.reset();
    });
  });
  state.threads.clear();
}

uint16_t Server::port() const { return state_->endpoint.port(); }

std::string Server::url() const {
  const std::string address = state_->endpoint.address().to_string();
  return format(state_->endpoint.address().is_v6() ? "http://[{}]:{}" : "http://{}:{}", address, port());
}

const Counters& Server::counters() const { return state_->counters; }

Status Server::drain(const CallContext& call) {
  State& state = *state_;
  // First the door, then the guests: a connection that slips in meanwhile finds its loop draining.
  state.loops[0]->post([&state] {
    error_code ignored;
    state.acceptor->close(ignored);
    state.accept_pause->cancel();
    state.post_to_all([&state](Loop& loop) {
      loop.draining = true;
      const auto connections = loop.connections;
      for (const auto& connection : connections) {
        connection->session().drain(state.clock.now());
        connection->pump();
      }
      if (state.counters.connections_open == 0 && !state.has_emptied.exchange(true)) state.emptied.set_value();
    });
  });
  while (state.when_emptied.wait_for(kLook) != std::future_status::ready) {
    if (call.should_stop()) return call.check(format("finishing {} requests", state.counters.connections_open.load()));
  }
  return {};
}

}  // namespace infer::http
