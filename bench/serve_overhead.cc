// What the server adds to the engine's own time, while eight streams are read from it over loopback: from the end of a
// step to a client's socket, and from a client's request to the engine and its first token back.
//
// One process: server, engine and the one thread that reads share the machine. The system says when bytes were received
// (SO_TIMESTAMPNS), so that the wait of the reader for a processor, which is not the server's, does not count. Linux
// only. Every token but the first of an answer
// comes from the step behind that of the token before it, and a token cannot arrive before its step has ended; so the
// latest row of steps that this allows is the one that made an answer.
//
// Connections stay open, as those of clients do. In each round all ask at the same moment, and then each asks again as
// soon as its answer has ended, while the others are under way.
//
//   serve_overhead [--smoke] [MODEL.gguf]      figures as lines of text; the built-in model where none is
//   named
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "api/json.h"
#include "base/format.h"
#include "os/topology.h"
#include "testing/api_server.h"
#include "testing/hooked_runner.h"

namespace infer {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr int kClients = 8;

struct Sizes {
  int rounds = 12;
  int answers = 5;   // Of each client in a round.
  int tokens = 100;  // Of the shortest.
};

// One streamed answer as a client sees it.
struct Seen {
  bool is_first = false;  // Asked for at the same moment as those of the others.
  int asked_tokens = 0;
  Instant sent;
  std::vector<Instant> tokens{};
  double first_token_ms = 0;  // Of the engine: from its submission to the choice of the first token.
};

// When the system had received what is read, which may be long before the reader gets a processor.
struct Received {
  std::string_view bytes;
  Instant at;
  bool is_stamped = false;
};

class StampedSocket {
 public:
  StampedSocket(asio::io_context& context, const Clock& clock, uint16_t port) : socket_(context), clock_(clock) {
    socket_.connect({asio::ip::address_v4::loopback(), port});
    socket_.set_option(tcp::no_delay(true));
    const int on = 1;
    (void)::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
  }

  tcp::socket& socket() { return socket_; }

  // Something has come. `offset`: of the system's stamps from the clock.
  Received receive(Duration offset) {
    iovec into{buffer_.data(), buffer_.size()};
    alignas(cmsghdr) std::array<char, 256> control{};
    msghdr message{};
    message.msg_iov = &into;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(socket_.native_handle(), &message, 0);
    Received received{{buffer_.data(), static_cast<size_t>(std::max<ssize_t>(size, 0))}, clock_.now(), false};
    for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr; each = CMSG_NXTHDR(&message, each)) {
      if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SO_TIMESTAMPNS) continue;
      timespec stamp{};
      std::memcpy(&stamp, CMSG_DATA(each), sizeof(stamp));
      received.at = Instant::from_ns(int64_t{stamp.tv_sec} * 1'000'000'000 + stamp.tv_nsec - offset.ns());
      received.is_stamped = true;
    }
    return received;
  }

 private:
  tcp::socket socket_;
  const Clock& clock_;
  std::array<char, 64 << 10> buffer_{};
};

// Of the stamps from the clock: bytes are sent to oneself, and stamped between two looks at it.
Duration find_offset(const Clock& clock) {
  asio::io_context context{1};
  tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
  StampedSocket reader(context, clock, acceptor.local_endpoint().port());
  tcp::socket writer(context);
  acceptor.accept(writer);
  writer.set_option(tcp::no_delay(true));
  int64_t least = std::numeric_limits<int64_t>::min(), most = std::numeric_limits<int64_t>::max();
  for (int stamped = 0; stamped < 1000;) {  // The system begins to stamp a while after it was asked to.
    const Instant before = clock.now();
    asio::write(writer, asio::buffer("x", 1));
    const Received received = reader.receive({});
    const Instant after = clock.now();
    if (!received.is_stamped) continue;
    ++stamped;
    least = std::max(least, received.at.ns() - after.ns());
    most = std::min(most, received.at.ns() - before.ns());
  }
  return Duration::from_ns(least + (most - least) / 2);
}

// One stream; all are read by one thread.
class StreamReader {
 public:
  StreamReader(asio::io_context& context, const testing::ApiServer& server, Duration offset)
      : socket_(context, server.clock(), server.port()), clock_(server.clock()), offset_(offset) {}

  // `answers`, one after the other; their lengths differ, so that they do not end together.
  void ask(const Sizes& sizes, int number) {
    sizes_ = sizes;
    left_ = sizes.answers;
    number_ = number;
    seen.clear();
    ask_next();
  }

  std::vector<Seen> seen;

 private:
  void ask_next() {
    --left_;
    const int tokens = sizes_.tokens + (number_ * 7 + left_ * 13) % (sizes_.tokens / 2);
    const std::string body = api::Json::object()
                                 .set("prompt", format("{} Once upon a time there was a king who", number_))
                                 .set("max_tokens", tokens)
                                 .set("ignore_eos", true)
                                 .set("temperature", 0)
                                 .set("stream", true)
                                 .dump();
    const std::string head =
        format("POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n", body.size());
    seen.push_back({.is_first = seen.empty(), .asked_tokens = tokens, .sent = clock_.now()});
    asio::write(socket_.socket(), asio::buffer(head + body));
    wait();
  }

  void wait() {
    socket_.socket().async_wait(tcp::socket::wait_read, [this](boost::system::error_code error) {
      if (!error) read();
    });
  }

  // Events that were written together have one stamp, that of the last.
  void read() {
    constexpr std::string_view kBegin = "data: {", kFirst = "\"time_to_first_token_ms\":";
    Seen& answer = seen.back();
    const Received received = socket_.receive(offset_);
    const std::string_view bytes = received.bytes;
    for (size_t at = bytes.find(kBegin); at != bytes.npos; at = bytes.find(kBegin, at + 1)) {
      answer.tokens.push_back(received.at);
    }
    if (const size_t at = bytes.find(kFirst); at != bytes.npos) {
      answer.first_token_ms = std::strtod(bytes.data() + at + kFirst.size(), nullptr);
      answer.tokens.pop_back();  // That of the end, which brings no token.
    }
    if (bytes.empty()) return;
    if (!bytes.ends_with("0\r\n\r\n")) return wait();
    if (left_ > 0) ask_next();
  }

  Sizes sizes_;
  int left_ = 0;
  int number_ = 0;
  StampedSocket socket_;
  const Clock& clock_;
  const Duration offset_;
};

// Milliseconds from the end of each token's step to its arrival.
void add_delays(const Seen& seen, const std::vector<Instant>& steps, std::vector<double>& delays_ms) {
  const auto end_of = [&](size_t first, size_t token) { return steps[first + token]; };
  size_t first = 0;
  for (size_t at = 0; at + seen.tokens.size() <= steps.size(); ++at) {
    bool fits = true;
    for (size_t i = 0; fits && i < seen.tokens.size(); ++i) fits = end_of(at, i) <= seen.tokens[i];
    if (!fits) break;  // Nor does any later row.
    first = at;
  }
  for (size_t i = 0; i < seen.tokens.size(); ++i) delays_ms.push_back((seen.tokens[i] - end_of(first, i)).ms());
}

void print(const char* what, std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  const auto at = [&ms](double share) { return ms[static_cast<size_t>(share * static_cast<double>(ms.size() - 1))]; };
  std::printf("%-52s p50 %6.3f ms, p99 %6.3f ms, most %6.3f ms (%zu)\n", what, at(0.5), at(0.99), at(1), ms.size());
}

struct Figures {
  std::vector<double> out_ms, first_ms, burst_ms, step_ms;
};

// False, with a word about it, when the answer is not whole.
bool add(const Seen& answer, const std::vector<Instant>& steps, Figures& figures) {
  if (answer.tokens.size() != static_cast<size_t>(answer.asked_tokens) || steps.size() < answer.tokens.size()) {
    std::printf("an answer had %zu tokens in %zu steps instead of %d\n", answer.tokens.size(), steps.size(),
                answer.asked_tokens);
    return false;
  }
  add_delays(answer, steps, figures.out_ms);
  (answer.is_first ? figures.burst_ms : figures.first_ms)
      .push_back((answer.tokens[0] - answer.sent).ms() - answer.first_token_ms);
  return true;
}

bool run(const Sizes& sizes, const std::string& model_path) {
  std::vector<Instant> steps;
  const os::SystemClock clock;
  engine::EngineLimits limits;
  limits.running_max = kClients;
  limits.speculation.enabled = false;  // One token a step.
  testing::ApiServerOptions options{.context = 1024,
                                    .limits = limits,
                                    .service = {.seed = 7},
                                    .model_path = model_path,
                                    .threads = os::read_topology().compute_threads()};
  options.make_runner = [&](model::Model& model) {
    auto runner = std::make_unique<testing::HookedRunner>(model);
    runner->after_step = [&](const model::StepBatch&) { steps.push_back(clock.now()); };
    return runner;
  };
  const Duration offset = find_offset(clock);
  Figures figures;
  {
    const testing::ApiServer server(options);
    asio::io_context context{1};
    std::vector<std::unique_ptr<StreamReader>> readers;
    for (int i = 0; i < kClients; ++i) readers.push_back(std::make_unique<StreamReader>(context, server, offset));
    for (int round = 0; round <= sizes.rounds; ++round) {
      const size_t begin = steps.size();
      for (int i = 0; i < kClients; ++i) readers[static_cast<size_t>(i)]->ask(sizes, round * kClients + i);
      context.restart();
      context.run();
      while (server.engine().snapshot().running > 0) std::this_thread::yield();
      if (round == 0) continue;  // Warms up.
      const std::vector<Instant> own(steps.begin() + static_cast<ptrdiff_t>(begin), steps.end());
      for (const auto& reader : readers) {
        for (const Seen& answer : reader->seen) {
          if (!add(answer, own, figures)) return false;
        }
      }
      for (size_t i = 1; i < own.size(); ++i) figures.step_ms.push_back((own[i] - own[i - 1]).ms());
    }
  }
  print("a step", figures.step_ms);
  print("token out: end of its step to the client's socket", figures.out_ms);
  print("request in, and its first token out", figures.first_ms);
  print("the same, of eight at the same moment", figures.burst_ms);
  return true;
}

}  // namespace
}  // namespace infer

int main(int argc, char** argv) {
  infer::Sizes sizes;
  std::string model;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--smoke") {
      sizes = {.rounds = 1, .answers = 2, .tokens = 12};
    } else {
      model = word;
      sizes = {.rounds = 2, .answers = 4, .tokens = 40};  // A large one.
    }
  }
  try {
    return infer::run(sizes, model) ? 0 : 1;
  } catch (const std::exception& error) {  // Of the sockets.
    std::fprintf(stderr, "serve_overhead: %s\n", error.what());
    return 1;
  }
}
